#![no_main]

use decoders::Target;

libfuzzer_sys::fuzz_target!(|file: &[u8]| {
    Target::Batch.read(file);
});
