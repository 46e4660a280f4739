//! Ranges of files, mapped into memory while they are read.
#![allow(unsafe_code)]

use memmap2::MmapOptions;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::ops::Range;

/// What `read` makes of the bytes of a range of a file. The range is unmapped again when this returns.
///
/// `read` has to copy what it needs before it checks it: another process may write to the file meanwhile.
///
/// # Errors
/// [`ErrorKind::UnexpectedEof`] if the file ends within the range; any other that mapping has.
pub(super) fn with_mapped<R>(file: &File, range: Range<u64>, read: impl FnOnce(&[u8]) -> R) -> io::Result<R> {
    // A page beyond the end of a file can be mapped, but not read.
    if range.end > file.metadata()?.len() {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    let length = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
    // SAFETY: `map` asks for a file that does not change while it is mapped, which no program can promise of other
    // processes. What such a change can do here is bounded. The mapping is read-only, `read` gets it as bytes, of which
    // every value is valid, for a length that does not depend on them, and the slice cannot outlive this call. The
    // callers in this crate read each byte once, into memory of their own, and check that copy: a byte that changes is
    // one that was read before or after the change. A file that is cut short in between ends the process by SIGBUS;
    // it never gives access to other memory.
    let mapping = unsafe { MmapOptions::new().offset(range.start).len(length).map(file)? };
    Ok(read(&mapping))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn ranges_need_not_begin_at_a_page() {
        let mut file = tempfile::tempfile().unwrap();
        let bytes: Vec<u8> = (0..10_000_u32).map(|index| index as u8).collect();
        file.write_all(&bytes).unwrap();
        for range in [0..10_000, 1..2, 4095..4097, 5000..5000] {
            let copy = with_mapped(&file, range.start..range.end, <[u8]>::to_vec).unwrap();
            assert_eq!(copy, bytes[range.start as usize..range.end as usize]);
        }
        for beyond in [0..10_001, 20_000..20_001] {
            let error = with_mapped(&file, beyond, <[u8]>::to_vec).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        }
    }
}
