//! Who may write what.

use marine_sdk::CallParameters;

use crate::error::SpellError;

/// Who calls. The order of tests matters: on the host itself, host and worker are the same peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A particle of this spell.
    Spell,
    /// The host.
    Host,
    /// The worker that the spell lives on.
    Worker,
    /// Anybody else.
    Outsider,
}

impl Role {
    /// The role of who calls.
    pub fn of(call: &CallParameters) -> Self {
        let init = &call.particle.init_peer_id;
        let own = call
            .particle
            .id
            .strip_prefix("spell_")
            .and_then(|rest| rest.strip_prefix(call.service_id.as_str()))
            .is_some_and(|rest| rest.starts_with('_'));
        if own && *init == call.worker_id {
            Self::Spell
        } else if *init == call.host_id {
            Self::Host
        } else if *init == call.worker_id {
            Self::Worker
        } else {
            Self::Outsider
        }
    }

    /// Whether the key is one that the role may write: its prefix names who shares it with the spell.
    ///
    /// # Errors
    /// It is not.
    pub fn check_write(self, key: &str) -> Result<(), SpellError> {
        let prefix = key.split_once('_').map_or("", |(prefix, _)| prefix);
        let allowed = match self {
            Self::Spell => true,
            Self::Host => matches!(prefix, "h" | "hw"),
            Self::Worker => matches!(prefix, "w" | "hw"),
            Self::Outsider => false,
        };
        if allowed {
            return Ok(());
        }
        Err(SpellError::KeyForbidden {
            key: key.to_owned(),
            role: self,
        })
    }
}

#[cfg(test)]
mod tests {
    use marine_sdk::ParticleParameters;

    use super::*;

    fn role(particle: &str, init: &str, host: &str, worker: &str) -> Role {
        Role::of(&CallParameters {
            particle: ParticleParameters {
                id: particle.to_owned(),
                init_peer_id: init.to_owned(),
                ..ParticleParameters::default()
            },
            service_id: "sid".to_owned(),
            host_id: host.to_owned(),
            worker_id: worker.to_owned(),
            ..CallParameters::default()
        })
    }

    #[test]
    fn who_is_who() {
        assert_eq!(role("spell_sid_0", "W", "H", "W"), Role::Spell);
        // A name alone proves nothing.
        assert_eq!(role("spell_sid_0", "S", "H", "W"), Role::Outsider);
        assert_eq!(role("spell_sid_0", "H", "H", "W"), Role::Host);
        for other in ["spell_sid", "spell_other_0", "spell_sid2_0", "xspell_sid_0"] {
            assert_eq!(role(other, "W", "H", "W"), Role::Worker, "{other}");
        }
        assert_eq!(role("p", "H", "H", "H"), Role::Host);
        assert_eq!(role("spell_sid_0", "H", "H", "H"), Role::Spell);
    }

    #[test]
    fn prefixes_of_keys() {
        let allowed = |role: Role| {
            let keys = ["x", "h_x", "w_x", "hw_x", "_x", "hw", "hx_", "h_", ""];
            keys.into_iter()
                .filter(|key| role.check_write(key).is_ok())
                .collect::<Vec<_>>()
        };
        assert_eq!(allowed(Role::Spell).len(), 9);
        assert_eq!(allowed(Role::Host), ["h_x", "hw_x", "h_"]);
        assert_eq!(allowed(Role::Worker), ["w_x", "hw_x"]);
        assert!(allowed(Role::Outsider).is_empty());
    }
}
