//! What the macros say about code that they refuse, as the compiler shows it.

#[test]
fn refusals_name_the_place_and_the_remedy() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/bindings.rs");
    cases.compile_fail("tests/ui/bound_files.rs");
    cases.compile_fail("tests/ui/services.rs");
    cases.compile_fail("tests/ui/test_arguments.rs");
    cases.compile_fail("tests/ui/test_items.rs");
}
