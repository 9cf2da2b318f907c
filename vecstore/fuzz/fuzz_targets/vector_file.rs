#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vecstore::internals::fuzzing::vector_file(bytes));
