#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    fireactions_github::fuzz::webhook(data);
    fireactions_gitea::fuzz::webhook(data);
});
