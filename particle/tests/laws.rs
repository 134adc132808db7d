//! Laws of the codecs: what is written is read again, and nothing that is read panics.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests stand outside of test functions"
)]

use particle::{
    KeyPair, Particle, Tetraplet,
    data::{
        CallState, CanonElement, CanonResult, CidInfo, Data, Envelope, FoldLore, Generations,
        Provenance, ServiceResult, Signatures, State, Store, Subtrace, VerifyOptions, Versions,
        check_signatures,
    },
    frame::{self, Message},
};
use proptest::{collection::vec, prelude::*, sample::Index};

/// Owned parts that generated data borrows.
#[derive(Debug)]
struct Pool {
    texts: Vec<String>,
    blobs: Vec<Vec<u8>>,
}

fn pools() -> impl Strategy<Value = Pool> {
    let text = prop_oneof![
        4 => "[a-z0-9]{0,12}",
        2 => "bagaaihra[a-z2-7]{52}",
        1 => "\\PC{0,40}",
        1 => "[a-c]{130,200}",
    ];
    (vec(text, 1..12), vec(vec(any::<u8>(), 0..70), 1..4))
        .prop_map(|(texts, blobs)| Pool { texts, blobs })
}

/// A number that chooses shapes and parts of generated data.
struct Choices<'a> {
    pool: &'a Pool,
    numbers: std::slice::Iter<'a, u32>,
}

impl<'a> Choices<'a> {
    fn number(&mut self) -> u32 {
        self.numbers.next().copied().unwrap_or_default()
    }

    fn below(&mut self, limit: u32) -> u32 {
        self.number() % limit
    }

    fn text(&mut self) -> &'a str {
        let index = self.number() as usize % self.pool.texts.len();
        &self.pool.texts[index]
    }

    fn blob(&mut self) -> &'a [u8] {
        let index = self.number() as usize % self.pool.blobs.len();
        &self.pool.blobs[index]
    }

    fn list<T>(&mut self, item: impl Fn(&mut Self) -> T) -> Vec<T> {
        (0..self.below(4)).map(|_| item(self)).collect()
    }

    fn state(&mut self) -> State<'a> {
        match self.below(11) {
            0 => State::Par {
                left: self.number(),
                right: self.number(),
            },
            1 => State::Call(CallState::SentBy(self.text())),
            2 => State::Call(CallState::SentByWithId {
                peer_id: self.text(),
                call_id: self.number(),
            }),
            3 => State::Call(CallState::Scalar(self.text())),
            4 => State::Call(CallState::Stream {
                cid: self.text(),
                generation: self.number(),
            }),
            5 => State::Call(CallState::Unused(self.text())),
            6 => State::Call(CallState::Failed(self.text())),
            7 => State::Fold(self.list(Self::lore).into()),
            8 => State::Ap(Generations::from(self.list(Self::number))),
            9 => State::CanonSentBy(self.text()),
            _ => State::Canon(self.text()),
        }
    }

    fn lore(&mut self) -> FoldLore {
        let subtrace = |choices: &mut Self| Subtrace {
            begin_pos: choices.number(),
            len: choices.number(),
        };
        FoldLore {
            value_pos: self.number(),
            subtraces: self.list(subtrace).into(),
        }
    }

    fn store<V>(&mut self, item: impl Fn(&mut Self) -> V) -> Store<'a, V> {
        self.list(|choices| (choices.text(), item(choices)))
            .into_iter()
            .collect()
    }

    fn element(&mut self) -> CanonElement<'a> {
        CanonElement {
            value: self.text(),
            tetraplet: self.text(),
            provenance: match self.below(3) {
                0 => Provenance::Literal,
                1 => Provenance::ServiceResult(self.text()),
                _ => Provenance::Canon(self.text()),
            },
        }
    }

    fn data(&mut self) -> Data<'a> {
        let states = self.below(12);
        Data {
            trace: (0..states).map(|_| self.state()).collect(),
            last_call_request_id: self.number(),
            cid_info: CidInfo {
                values: self.store(Self::text),
                tetraplets: self.store(|choices| Tetraplet {
                    peer_pk: choices.text(),
                    service_id: choices.text(),
                    function_name: choices.text(),
                    lens: choices.text(),
                }),
                canon_elements: self.store(Self::element),
                canon_results: self.store(|choices| CanonResult {
                    tetraplet: choices.text(),
                    values: choices.list(Self::text).into(),
                }),
                service_results: self.store(|choices| ServiceResult {
                    value_cid: choices.text(),
                    argument_hash: choices.text(),
                    tetraplet_cid: choices.text(),
                }),
            },
            signatures: self
                .list(|choices| (choices.blob(), choices.blob()))
                .into_iter()
                .collect::<Signatures<'_>>(),
        }
    }
}

/// Reads bytes as far as they go.
fn read(bytes: &[u8]) {
    let Ok(envelope) = Envelope::decode(bytes) else {
        return;
    };
    let Ok(data) = envelope.data() else { return };
    let options = VerifyOptions {
        referenced_values_are_json: true,
        generations_are_dense: true,
    };
    let _ = data.verify_stores(options);
    let _ = check_signatures(&data, &data, "particle", None);
    serde_json::to_string(&data).expect("a JSON view");
    let again = data.clone().encode(&envelope.versions).expect("encodes");
    let envelope = Envelope::decode(&again).expect("reads what it wrote");
    assert_eq!(envelope.data().expect("reads what it wrote"), data);
}

fn versions() -> Versions {
    Versions::of_interpreter("0.64.1".parse().expect("a version"))
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(
        pool in pools(),
        numbers in vec(any::<u32>(), 0..400),
    ) {
        let data = Choices { pool: &pool, numbers: numbers.iter() }.data();
        let bytes = data.clone().encode(&versions()).unwrap();
        let envelope = Envelope::decode(&bytes).unwrap();
        prop_assert_eq!(&envelope.versions, &versions());
        let decoded = envelope.data().unwrap();
        prop_assert_eq!(&decoded, &data);
        // The same content gives the same bytes, whatever the order of the stores was.
        prop_assert_eq!(decoded.encode(&versions()).unwrap(), bytes);
    }

    #[test]
    fn damaged_data_never_panics(
        pool in pools(),
        numbers in vec(any::<u32>(), 0..400),
        damage in vec((any::<Index>(), any::<u8>()), 1..6),
        cut in any::<Index>(),
    ) {
        let data = Choices { pool: &pool, numbers: numbers.iter() }.data();
        let mut bytes = data.encode(&versions()).unwrap();
        read(&bytes[..cut.index(bytes.len())]);
        for (position, value) in damage {
            let position = position.index(bytes.len());
            bytes[position] = value;
            read(&bytes);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..400)) {
        read(&bytes);
        let _ = Data::decode_archive(&bytes);
        let _ = frame::decode(&bytes);
        let _ = frame::decode_payload(&bytes);
    }

    #[test]
    fn particles_travel(
        seed in any::<[u8; 32]>(),
        id in "\\PC{0,40}",
        script in "\\PC{0,300}",
        timestamp in any::<u64>(),
        ttl in any::<u32>(),
        data in vec(any::<u8>(), 0..300),
        damage in (any::<Index>(), any::<u8>()),
    ) {
        let key = KeyPair::from_seed(&seed);
        let mut particle = Particle::new(&key, id, timestamp, ttl, script);
        particle.data = data.into();
        prop_assert_eq!(particle.verify(), Ok(()));
        let mut bytes = frame::encode(&particle);
        let read = frame::decode(&bytes).unwrap();
        prop_assert_eq!(read, Some((Message::Particle(Box::new(particle)), bytes.len())));
        let position = damage.0.index(bytes.len());
        bytes[position] = damage.1;
        if let Ok(Some((Message::Particle(particle), _))) = frame::decode(&bytes) {
            let _ = particle.verify();
        }
    }

    #[test]
    fn canonical_texts_are_stable(number in any::<i32>(), bits in any::<u64>(), text in "\\PC{0,20}") {
        // Reading may be off in the last place, but not for short decimals.
        let number = f64::from(number) / 8.0;
        let value = serde_json::json!({ "n": number, "a": [text], "i": bits });
        let printed = particle::value::print(&value).unwrap();
        prop_assert_eq!(particle::value::normalize(&printed).unwrap(), printed.as_str());
    }

    #[test]
    fn canonical_texts_are_those_of_the_slow_way(
        tokens in vec(
            prop_oneof![
                Just("{"), Just("}"), Just("["), Just("]"), Just(","), Just(":"), Just("\"a\""),
                Just("\"b\""), Just("1"), Just("1.5"), Just("null"), Just("-"), Just("0"),
                Just("e2"), Just(" "), Just("\"\\n\""), Just("\"\\/\""),
            ],
            0..9,
        ),
    ) {
        let text = tokens.concat();
        let slow = serde_json::from_str::<serde_json::Value>(&text);
        match particle::value::normalize(&text) {
            Ok(fast) => prop_assert_eq!(&*fast, &particle::value::print(&slow.unwrap()).unwrap()),
            Err(_) => prop_assert!(slow.is_err()),
        }
    }
}
