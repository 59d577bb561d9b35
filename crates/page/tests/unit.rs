//! The tests of the page's own code, which need no browser (web/tests/unit).

use std::process::Command;

use fireactions_testkit::browser;

#[test]
fn the_pages_own_tests_pass() {
    let Some(web) = browser::tools("unit::the_pages_own_tests_pass") else { return };
    let ran = Command::new("node").arg(web.join("tests/unit.mjs")).output();
    let ran = ran.unwrap_or_else(|error| panic!("node: {error}"));
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{said}\n{}", String::from_utf8_lossy(&ran.stderr));
    assert!(said.contains("# pass ") && !said.contains("# pass 0"), "{said}");
}
