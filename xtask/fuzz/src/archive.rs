//! The archive inside of the data of a particle.

use particle::data::{Data, SignedCids, VerifyOptions, check_signatures};

use super::{bounded, described};

/// Bytes that reading, and each of the checks, may take for each byte of an archive.
const FACTOR: usize = 40;

/// Checks an archive without its envelope.
pub fn archive(input: &[u8]) {
    check(input);
}

/// What an archive holds, if it is one.
pub(crate) fn check(archive: &[u8]) -> Option<Data<'_>> {
    let size = archive.len();
    let decoded = bounded("an archive", size, FACTOR, || Data::decode_archive(archive));
    let data = match decoded {
        Ok(data) => data,
        Err(error) => {
            described(&error);
            return None;
        }
    };
    verify(&data, size);

    let written = data.clone().encode_archive().expect("data that were read");
    let again = Data::decode_archive(&written).expect("an archive of our own");
    assert_eq!(again, data);
    assert_eq!(again.encode_archive().as_ref(), Ok(&written));
    assert!(serde_json::to_string(&data).is_ok(), "no JSON view");

    let mut referenced = data.clone();
    referenced.drop_unreferenced();
    assert_eq!(referenced.trace, data.trace);
    let written = referenced.clone().encode_archive().expect("less than that");
    assert_eq!(
        Data::decode_archive(&written).as_ref(),
        Ok(&referenced),
        "without what nothing refers to"
    );
    Some(data)
}

/// The checks of stores and signatures end with a verdict; data that pass are not much longer when
/// they are written again, so that nobody can make particles grow by sending them.
fn verify(data: &Data<'_>, size: usize) {
    let options = VerifyOptions {
        referenced_values_are_json: true,
        generations_are_dense: true,
    };
    let verified = bounded("checking stores", size, FACTOR, || {
        data.verify_stores(options)
    });
    match verified {
        Ok(()) => {
            let written = data.clone().encode_archive().expect("data that were read");
            assert!(
                written.len() <= 8 * size,
                "{size} bytes became {}",
                written.len()
            );
        }
        Err(error) => {
            described(&error);
        }
    }
    bounded("checking signatures", size, FACTOR, || {
        if let Err(error) = SignedCids::collect(data) {
            described(&error);
        }
        if let Err(error) = check_signatures(&Data::default(), data, "particle-1", None) {
            described(&error);
        }
    });
}
