//! Overwriting what secrets leave behind.
//!
//! Values that hold secrets overwrite them when they are dropped: they are in a `zeroize::Zeroizing` or implement `Drop`. What
//! functions leave on the stack when they return belongs to no value: hash functions and ciphers copy keys there, and so does
//! the compiler where it moves them. Whoever has called such a function calls [`wipe_stack`].

use zeroize::Zeroize;

/// Calls `function`, and overwrites what it has left on the stack: its own frame, and those of what it called, up to
/// [`DEPTH`] bytes.
pub(crate) fn leaving_nothing_on_the_stack<T>(function: impl FnOnce() -> T) -> T {
    // Neither may become a part of this frame, or the two would not lie in the same place.
    #[inline(never)]
    fn call<T>(function: impl FnOnce() -> T) -> T {
        function()
    }
    let result = call(function);
    wipe_stack();
    result
}

/// Bytes of stack that are overwritten: more than a cipher or a hash function takes.
const DEPTH: usize = 8 << 10;

/// Overwrites [`DEPTH`] bytes below the caller's frame.
#[inline(never)]
pub(crate) fn wipe_stack() {
    let mut frame = [0_u64; DEPTH / size_of::<u64>()];
    // Written volatile, so not left out.
    frame.zeroize();
    std::hint::black_box(&frame);
}
