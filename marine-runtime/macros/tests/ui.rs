//! What the macros say about code that they refuse, as the compiler shows it.

#[test]
fn refusals_name_the_place_and_the_remedy() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/bindings.rs");
    cases.compile_fail("tests/ui/marine_test.rs");
}
