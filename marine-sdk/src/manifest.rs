//! What `module_manifest!` puts into a module.

#[doc(hidden)]
pub use marine_sdk_macros::build_time;

/// Records who made the module: authors, version, description, repository, and the time of the build.
///
/// Without arguments the first four are those of the package. Use it once, at the top of `main.rs`. The arguments are
/// constant texts; the version must be a semantic version. Nothing is recorded on targets other than wasm32.
///
/// ```
/// marine_sdk::module_manifest!("Ada", "1.2.3", "Counts words", "https://example.org/words");
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! module_manifest {
    () => {
        $crate::module_manifest!(
            env!("CARGO_PKG_AUTHORS"),
            env!("CARGO_PKG_VERSION"),
            env!("CARGO_PKG_DESCRIPTION"),
            env!("CARGO_PKG_REPOSITORY")
        );
    };
    ($authors:expr, $version:expr, $description:expr, $repository:expr $(,)?) => {
        #[allow(
            dead_code,
            unsafe_code,
            reason = "data in a named section, which counts as unsafe; unused on other targets"
        )]
        const _: () = {
            const FIELDS: [&str; 5] = [
                $authors,
                $version,
                $description,
                $repository,
                $crate::manifest::build_time!(),
            ];
            // The linker keeps it although nothing refers to it.
            #[cfg_attr(target_arch = "wasm32", used)]
            #[cfg_attr(
                target_arch = "wasm32",
                unsafe(link_section = "__fluence_wasm_module_manifest")
            )]
            static MANIFEST: [u8; $crate::manifest::size(&FIELDS)] =
                $crate::manifest::encode(&FIELDS);
        };
    };
}

/// Bytes of the section: a length of eight bytes before each field.
pub const fn size(fields: &[&str; 5]) -> usize {
    let [a, b, c, d, e] = fields;
    5 * 8 + a.len() + b.len() + c.len() + d.len() + e.len()
}

/// The section.
pub const fn encode<const SIZE: usize>(fields: &[&str; 5]) -> [u8; SIZE] {
    let mut section = [0; SIZE];
    let mut rest: &mut [u8] = &mut section;
    let mut fields: &[&str] = fields;
    while let [field, later @ ..] = fields {
        rest = put(rest, &(field.len() as u64).to_le_bytes());
        rest = put(rest, field.as_bytes());
        fields = later;
    }
    section
}

const fn put<'a>(mut into: &'a mut [u8], mut bytes: &[u8]) -> &'a mut [u8] {
    while let [byte, later @ ..] = bytes {
        let [slot, rest @ ..] = into else {
            return &mut [];
        };
        *slot = *byte;
        bytes = later;
        into = rest;
    }
    into
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::module_manifest!("a", "1.0.0", "", "r");

    #[test]
    fn the_fields_follow_each_other() {
        const FIELDS: [&str; 5] = ["Ada", "0.5.0", "", "", "t"];
        const SIZE: usize = size(&FIELDS);
        let section = encode::<SIZE>(&FIELDS);
        let expected = [
            &[3, 0, 0, 0, 0, 0, 0, 0][..],
            b"Ada",
            &[5, 0, 0, 0, 0, 0, 0, 0],
            b"0.5.0",
            &[0; 8],
            &[0; 8],
            &[1, 0, 0, 0, 0, 0, 0, 0],
            b"t",
        ];
        assert_eq!(section.as_slice(), expected.concat());
    }
}
