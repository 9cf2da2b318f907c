#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vecstore::internals::fuzzing::cells(bytes));
