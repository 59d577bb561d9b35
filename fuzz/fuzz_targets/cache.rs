#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    fireactions_cache::fuzz::cache(data);
});
