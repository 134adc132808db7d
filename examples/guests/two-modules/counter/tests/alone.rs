//! The module of this package alone, without a configuration.

use marine_runtime_macros::marine_test;

#[marine_test]
fn nothing_is_counted_at_first(mut counter: marine_test_env::counter::ModuleInterface) {
    assert!(counter.counts().is_empty());
}

#[marine_test]
#[should_panic(expected = "call to Marine failed: counter.add")]
fn without_a_folder_nothing_can_be_kept(mut counter: marine_test_env::counter::ModuleInterface) {
    counter.add("ada".to_owned(), 1);
}
