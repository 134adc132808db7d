//! Tokens of particles: the host's signature over the particle's, in base58. Services name the
//! particle's vault by it.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use particle::{KeyPair, Signature, Signer as _};

/// Particles whose tokens are remembered.
const MAX_TOKENS: usize = 1_024;

/// Makes the tokens of a host.
pub(crate) struct Tokens {
    key: Arc<KeyPair>,
    known: Mutex<HashMap<Signature, Arc<str>>>,
}

impl Tokens {
    pub(crate) fn new(key: Arc<KeyPair>) -> Self {
        Self {
            key,
            known: Mutex::default(),
        }
    }

    pub(crate) fn key(&self) -> &KeyPair {
        &self.key
    }

    pub(crate) fn of(&self, signature: &Signature) -> Arc<str> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(token) = known.get(signature) {
            return token.clone();
        }
        let token = self.key.sign(signature.as_bytes());
        let token: Arc<str> = bs58::encode(token.as_bytes()).into_string().into();
        if known.len() >= MAX_TOKENS {
            known.clear();
        }
        known.insert(signature.clone(), token.clone());
        token
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Tokens({})", self.key.peer_id())
    }
}
