#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| fireactions_guest_proto::host::fuzz::decoder(data));
