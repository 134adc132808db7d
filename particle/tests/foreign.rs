//! Bytes that other programs made.

#[cfg(feature = "rsa")]
use particle::{PeerId, PublicKey, Verifier as _};
use particle::{
    data::{ArchiveError, Data, MAX_SHARED_TEXT_LEN},
    frame::{self, Message},
};

const JS_CLIENT_FRAME: &str = "cf02810488a6616374696f6ea85061727469636c65a46461746190a26964d92464323035643134382d346366\
     312d346537362d386636652d666365393831306635653663ac696e69745f706565725f6964d934313244334b\
     6f6f574c4c463767514b623737785848565a6e334b58613134787033524269416b626e4b3255425270446152\
     384b62a6736372697074d9392863616c6c2025696e69745f706565725f696425202822676574446174615372\
     762220222d72656c61792d2229205b5d202d72656c61792d29a97369676e6174757265dc00406fccb65c014e\
     2ccce14b72716dcce03cccf513ccb6cc981acc8d6dccb932ccbfccefccbc7a32ccbf67153578ccd81fccd516\
     ccf0ccc24eccd3ccf0ccc0cca2ccdc14ccaa7919ccc83fccf5cc9711ccfdcc9cccf2cc8dcc81ccd9cccdccb5\
     cc9ccce70aa974696d657374616d70cf0000018bf22a95d3a374746c00";

/// Made by OpenSSL over `message`.
#[cfg(feature = "rsa")]
const RSA_KEY: &str = "30820122300d06092a864886f70d01010105000382010f003082010a0282010100b304d6f4524198c62ed0a5\
     dbc5a809d5ae12444e675875ee30d36a362af30f8db3b6991ada81d85a716db264e393438c3a039c4cf04041\
     ac637733189d5fe4c4260c5f0744d359a077e493c266c4b63a3cc35c116f7b8647e646db28f6efc8186fbea8\
     ff33a1117941288666316e393b623c06695e79e52a91e2165f5d44c0b6800e63656402fbcd66c4ca3b8d2241\
     663be5a60310d70204d832c9764b506ebc3e9e93c58c75181c84f08736b9752aeaaaf9065c489eaa3e7a35c7\
     0576e0927e4a30f9f4577fe8ec0213d75be4e0fd3e496c732f6d5e44170e1fc3b50b52b2eda5d9a3f2cd4344\
     8cd1ec5c6ef03325013ea5b110012a4925bcf8879dfe799c7d0203010001";
#[cfg(feature = "rsa")]
const RSA_SIGNATURE: &str = "5948f6fb970398ea18b011939489170d8a9aeec12068f5d4c4806568910692f9a69c133bc8a44d1b67d72cd1\
     74a2e4b2e9e44466bd5d5778f910ae6b2b8b33cdda0a061044f18399c094ef1b208b2e5360155a9740e02a51\
     d21df01f18ef2b11c8b90f4e2d9d5ba55b7b278a22bd76af8024b607d749263c82ce1939dc7ddc5829a0f5c4\
     cf3ffa68c13982816e3918f0c67df2e69fef432cef284ad514fb05a4ec36f003ad49c524ee2ed75e2739bcd6\
     44716befae0e87e16933810b09605119209e9850ff64fa88626c833e173c77833bd8162d81acfb1dee4884f5\
     239b73010341e4288a15c6aa83556c16cf024177ab1b47010305dd89e6d16503ec07a1ba";

#[test]
fn a_frame_of_the_js_client() {
    let bytes = hex::decode(JS_CLIENT_FRAME).unwrap();
    let Some((Message::Particle(particle), length)) = frame::decode(&bytes).unwrap() else {
        panic!("a particle");
    };
    assert_eq!(length, 337);
    assert_eq!(particle.id, "d205d148-4cf1-4e76-8f6e-fce9810f5e6c");
    assert_eq!(
        particle.init_peer_id.to_string(),
        "12D3KooWLLF7gQKb77xXHVZn3KXa14xp3RBiAkbnK2UBRpDaR8Kb"
    );
    assert_eq!((particle.timestamp, particle.ttl), (1_700_574_959_059, 0));
    assert_eq!(
        particle.script,
        "(call %init_peer_id% (\"getDataSrv\" \"-relay-\") [] -relay-)"
    );
    assert_eq!(particle.signature.as_bytes().len(), 64);
    assert!(particle.data.is_empty());
    // Written again with binaries in place of the arrays it is shorter.
    let again = frame::encode(&particle);
    assert!(again.len() < bytes.len());
    assert_eq!(
        frame::decode(&again).unwrap(),
        Some((Message::Particle(particle), again.len()))
    );
}

#[cfg(feature = "rsa")]
#[test]
fn rsa_signatures_verify() {
    let der = hex::decode(RSA_KEY).unwrap();
    let mut message = vec![0x08, 0x00, 0x12, 0xa6, 0x02];
    message.extend_from_slice(&der);
    let key = PublicKey::from_protobuf(&message).unwrap();
    assert_eq!(key.to_protobuf(), message);
    let signature = hex::decode(RSA_SIGNATURE).unwrap();
    assert_eq!(key.verify(b"message", &signature), Ok(()));
    assert!(key.verify(b"massage", &signature).is_err());
    assert!(key.verify(b"message", &signature[1..]).is_err());

    // The peer id is a hash of the key, so nobody can verify a particle of such a peer.
    let peer_id = key.peer_id();
    assert!(peer_id.to_string().starts_with("Qm"));
    assert!(peer_id.public_key().is_err());
    assert_eq!(peer_id.to_string().parse::<PeerId>(), Ok(peer_id));
}

/// An archive of one text and of states that all point to it.
fn pointers_to_one_text(text: usize, states: usize) -> Vec<u8> {
    let mut archive = vec![b'a'; text];
    for _ in 0..states {
        let field = archive.len() + 8;
        archive.extend_from_slice(&[4, 0, 0, 0, 1, 0, 0, 0]);
        archive.extend_from_slice(&(-(field as i32)).to_be_bytes());
        archive.extend_from_slice(&(text as u32).to_be_bytes());
        archive.extend_from_slice(&[0; 8]);
    }
    let root = archive.len();
    let list = |archive: &mut Vec<u8>, target: usize, count: usize| {
        let offset = target as i32 - archive.len() as i32;
        archive.extend_from_slice(&offset.to_be_bytes());
        archive.extend_from_slice(&(count as u32).to_be_bytes());
    };
    list(&mut archive, text, states);
    archive.extend_from_slice(&[0; 4]);
    for _ in 0..6 {
        list(&mut archive, root, 0);
    }
    archive
}

#[test]
fn many_pointers_to_one_text_stay_cheap() {
    let mut archive = pointers_to_one_text(MAX_SHARED_TEXT_LEN, 100_000);
    let data = Data::decode_archive(&archive).unwrap();
    assert_eq!(data.trace.len(), 100_000);
    assert_eq!(data.clone().encode_archive().unwrap(), archive);

    let longer = pointers_to_one_text(MAX_SHARED_TEXT_LEN + 4, 1);
    let error = Data::decode_archive(&longer).unwrap_err();
    assert!(matches!(error, ArchiveError::TooLong { .. }), "{error}");

    // A list that lies about its length.
    let root = archive.len() - 60;
    archive[root + 4..root + 8].copy_from_slice(&[0xff; 4]);
    let error = Data::decode_archive(&archive).unwrap_err();
    assert!(matches!(error, ArchiveError::OutOfBounds { .. }), "{error}");
}
