//! The two modules as a service, with stubs of both.

use marine_runtime::{CallParameters, ParticleParameters};
use marine_runtime_macros::marine_test;

fn called_by(peer: &str) -> CallParameters {
    CallParameters {
        particle: ParticleParameters {
            init_peer_id: peer.to_owned(),
            ..ParticleParameters::default()
        },
        ..CallParameters::default()
    }
}

#[marine_test(config_path = "../../Config.toml")]
fn visits_are_counted(
    mut front: marine_test_env::front::ModuleInterface,
    mut counter: marine_test_env::counter::ModuleInterface,
) {
    assert_eq!(front.visit_cp(called_by("ada")).count, 1);
    assert_eq!(front.visit_cp(called_by("ada")).count, 2);
    assert_eq!(front.visit().name, "");
    // Records of the same shape are one type.
    let count: marine_test_env::front::Count = counter.add("bob".to_owned(), 5);
    assert_eq!(count.count, 5);
    let names: Vec<_> = counter
        .counts()
        .into_iter()
        .map(|count| count.name)
        .collect();
    assert_eq!(names, ["", "ada", "bob"]);
}

#[marine_test(config_path = "../../Config.toml")]
fn each_test_has_a_fresh_service(mut counter: marine_test_env::counter::ModuleInterface) {
    assert!(counter.counts().is_empty());
}

#[marine_test(
    one(config_path = "../../Config.toml"),
    two(config_path = "../../Config.toml")
)]
fn two_services_share_nothing() {
    let mut one = marine_test_env::one::ServiceInterface::new();
    let mut two = marine_test_env::two::ServiceInterface::new();
    assert_eq!(one.visit_cp(called_by("ada")).count, 1);
    assert!(two.modules.counter.counts().is_empty());
    let expected = marine_test_env::one::modules::counter::Count {
        name: "ada".to_owned(),
        count: 1,
    };
    assert_eq!(one.modules.counter.counts(), [expected]);
}

#[marine_test(visits(config_path = "../../Config.toml"))]
mod several_tests {
    use super::called_by;

    fn service() -> marine_test_env::visits::ServiceInterface {
        marine_test_env::visits::ServiceInterface::new()
    }

    #[test]
    fn the_first() {
        assert_eq!(service().visit_cp(called_by("ada")).count, 1);
    }

    #[test]
    fn the_second() {
        assert_eq!(service().visit_cp(called_by("ada")).count, 1);
    }
}
