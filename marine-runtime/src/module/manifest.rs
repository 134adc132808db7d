//! The manifest section: five length-prefixed texts.

use semver::Version;

/// What the author of a module says about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Who wrote it.
    pub authors: String,
    /// The module's own version.
    pub version: Version,
    /// What it is for.
    pub description: String,
    /// Where its source is.
    pub repository: String,
    /// When it was built, as RFC 3339 text.
    pub build_time: String,
}

/// A manifest that cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// There are several manifests.
    #[error(
        "the module contains {count} sections with name '__fluence_wasm_module_manifest' - it's corrupted"
    )]
    Repeated {
        /// How many.
        count: usize,
    },
    /// No room for the length of a field.
    #[error(
        "{field} can't be read: embedded manifest doesn't contain enough bytes to read field size from prefix"
    )]
    NoLength {
        /// The field.
        field: &'static str,
    },
    /// No room for a field.
    #[error(
        "{field} can't be read: embedded manifest doesn't contain enough bytes to read field of size {size}"
    )]
    Truncated {
        /// The field.
        field: &'static str,
        /// Its announced size in bytes.
        size: u64,
    },
    /// A length that no address can hold.
    #[error("{field} has too big size: {size}")]
    TooBig {
        /// The field.
        field: &'static str,
        /// Its announced size in bytes.
        size: u64,
    },
    /// A field that is not UTF-8.
    #[error("{field} is an invalid Utf8 string: {source}")]
    NotUtf8 {
        /// The field.
        field: &'static str,
        /// Where it ends to be UTF-8.
        source: std::str::Utf8Error,
    },
    /// The version is not a version.
    #[error("embedded to the Wasm file version is corrupted: '{source}'")]
    Version {
        /// What is wrong with it.
        source: semver::Error,
    },
    /// The build time is not RFC 3339.
    #[error("build time can't be parsed: {reason}")]
    BuildTime {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Bytes after the last field.
    #[error("embedded manifest is corrupted: there are some trailing characters")]
    Trailing,
}

impl Manifest {
    /// Decodes the payload of the section.
    ///
    /// # Errors
    /// Any payload that is not five texts, the second a version, the last a time.
    pub fn decode(payload: &[u8]) -> Result<Self, ManifestError> {
        let mut rest = payload;
        let authors = field("authors", &mut rest)?.to_owned();
        let version = field("version", &mut rest)?;
        let version =
            Version::parse(version).map_err(|source| ManifestError::Version { source })?;
        let description = field("description", &mut rest)?.to_owned();
        let repository = field("repository", &mut rest)?.to_owned();
        let build_time = field("build time", &mut rest)?;
        check_time(build_time).map_err(|reason| ManifestError::BuildTime { reason })?;
        if !rest.is_empty() {
            return Err(ManifestError::Trailing);
        }
        Ok(Self {
            authors,
            version,
            description,
            repository,
            build_time: build_time.to_owned(),
        })
    }

    /// The payload of the section.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let version = self.version.to_string();
        let fields = [
            &self.authors,
            &version,
            &self.description,
            &self.repository,
            &self.build_time,
        ];
        let mut payload = Vec::new();
        for field in fields {
            payload.extend_from_slice(&(field.len() as u64).to_le_bytes());
            payload.extend_from_slice(field.as_bytes());
        }
        payload
    }
}

fn field<'a>(field: &'static str, rest: &mut &'a [u8]) -> Result<&'a str, ManifestError> {
    let (prefix, tail) = rest
        .split_first_chunk::<8>()
        .ok_or(ManifestError::NoLength { field })?;
    let size = u64::from_le_bytes(*prefix);
    if size.checked_add(8).is_none() {
        return Err(ManifestError::TooBig { field, size });
    }
    let (text, tail) = usize::try_from(size)
        .ok()
        .and_then(|size| tail.split_at_checked(size))
        .ok_or(ManifestError::Truncated { field, size })?;
    *rest = tail;
    std::str::from_utf8(text).map_err(|source| ManifestError::NotUtf8 { field, source })
}

/// Checks the shape `YYYY-MM-DDThh:mm:ss[.fraction](Z|±hh:mm)`.
fn check_time(text: &str) -> Result<(), &'static str> {
    const SHAPE: &[u8] = b"0000-00-00T00:00:00";
    let bytes = text.as_bytes();
    let Some((start, mut rest)) = bytes.split_at_checked(SHAPE.len()) else {
        return Err("premature end of input");
    };
    let fits = |shape: &u8, found: &u8| match shape {
        b'0' => found.is_ascii_digit(),
        b'T' => matches!(found, b'T' | b't' | b' '),
        other => other == found,
    };
    if !SHAPE
        .iter()
        .zip(start)
        .all(|(shape, found)| fits(shape, found))
    {
        return Err("input contains invalid characters");
    }
    if let [b'.', fraction @ ..] = rest {
        let digits = fraction
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        if digits == 0 {
            return Err("input contains invalid characters");
        }
        rest = fraction.get(digits..).unwrap_or_default();
    }
    match rest {
        [b'Z' | b'z'] => Ok(()),
        [b'+' | b'-', hours @ .., b':', tens, ones]
            if hours.len() == 2 && hours.iter().chain([tens, ones]).all(u8::is_ascii_digit) =>
        {
            Ok(())
        }
        [] => Err("premature end of input"),
        _ => Err("input contains invalid characters"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Manifest {
        Manifest {
            authors: String::new(),
            version: Version::new(0, 5, 0),
            description: "a café".to_owned(),
            repository: String::new(),
            build_time: "2023-09-05T13:33:55.574389268+00:00".to_owned(),
        }
    }

    #[test]
    fn round_trip() {
        assert_eq!(Manifest::decode(&sample().encode()).unwrap(), sample());
    }

    #[test]
    fn every_truncation_is_an_error_that_names_the_field() {
        let bytes = sample().encode();
        for end in 0..bytes.len() {
            let error = Manifest::decode(&bytes[..end]).unwrap_err().to_string();
            assert!(error.contains("can't be read"), "{error}");
        }
    }

    #[test]
    fn lying_lengths_and_bad_contents() {
        let mut bytes = sample().encode();
        bytes[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        assert_eq!(
            Manifest::decode(&bytes).unwrap_err().to_string(),
            "authors has too big size: 18446744073709551615"
        );
        let mut trailing = sample().encode();
        trailing.push(0);
        assert!(matches!(
            Manifest::decode(&trailing),
            Err(ManifestError::Trailing)
        ));
        let late = Manifest {
            build_time: "yesterday".to_owned(),
            ..sample()
        };
        assert!(matches!(
            Manifest::decode(&late.encode()),
            Err(ManifestError::BuildTime { .. })
        ));
    }
}
