#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| drop(fireactions_guest_proto::host::fuzz::session(data)));
