//! What `#[marine]` says about code that it refuses, as the compiler shows it.

#[test]
fn refusals_name_the_place_and_the_remedy() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/accepted.rs");
    cases.compile_fail("tests/ui/functions.rs");
    cases.compile_fail("tests/ui/imports.rs");
    cases.compile_fail("tests/ui/items.rs");
    cases.compile_fail("tests/ui/records.rs");
    cases.compile_fail("tests/ui/types.rs");
}
