//! Requests of the scoring service of any bytes. What must hold is in `native/fuzz/src/lib.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fraudengine_fuzz::scoring(bytes));
