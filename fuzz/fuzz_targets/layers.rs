#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| drop(fireactions_image::fuzz::layers(data)));
