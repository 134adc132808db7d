//! Records.

use super::value::{Body, Cells, Value, lower_words, own};

/// A struct that carries `#[marine]`.
///
/// A struct without it has no interface type, and an alias is refused, because interfaces know
/// records by name:
///
/// ```compile_fail,E0277
/// struct Unmarked {
///     number: u8,
/// }
/// #[marine_sdk::marine]
/// fn take(value: Unmarked) -> u8 {
///     value.number
/// }
/// # fn main() {}
/// ```
/// ```compile_fail,E0080
/// #[marine_sdk::marine]
/// struct Named {
///     number: u8,
/// }
/// use Named as Alias;
/// #[marine_sdk::marine]
/// fn take(value: Alias) -> u8 {
///     value.number
/// }
/// # fn main() {}
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no interface type",
    label = "not a record",
    note = "put `#[marine]` on the struct, or use a number, `bool`, `String` or a `Vec` of such a type",
    note = "an alias does not help: `#[marine]` sees the name as it stands here"
)]
pub trait Record: Sized + 'static {
    /// The name in the interface.
    const NAME: &'static str;
    /// Bytes of all fields.
    const PACKED_SIZE: usize;

    /// Writes the fields in order.
    fn pack(&self, body: &mut Body);

    /// Reads the fields in order and takes what they point to.
    ///
    /// # Safety
    /// As for [`Value::load`].
    unsafe fn unpack(cells: &mut Cells<'_>) -> Self;

    /// Parks the packed form and returns its address. It points into `self`.
    fn lower(&self) -> usize {
        let mut body = Body::with_capacity(Self::PACKED_SIZE);
        self.pack(&mut body);
        body.finish()
    }

    /// Takes the record that the host lowered at this address.
    ///
    /// # Safety
    /// As for [`Value::load`], and the packed form itself was given away too.
    unsafe fn lift(pointer: usize) -> Self {
        // SAFETY: the host allocated the packed form as so many bytes.
        let bytes: Vec<u8> = unsafe { own(pointer, Self::PACKED_SIZE) };
        // SAFETY: the bytes are the cells of this record.
        unsafe { Self::unpack(&mut Cells::new(&bytes)) }
    }
}

impl<R: Record> Value for R {
    const SIZE: usize = size_of::<usize>();

    fn store(&self, body: &mut Body) {
        body.put(self.lower().to_le_bytes());
    }

    unsafe fn load(cells: &mut Cells<'_>) -> Self {
        // SAFETY: the cell holds the address of such a record.
        unsafe { R::lift(cells.take_word()) }
    }

    fn lower_items(items: &[Self]) -> (usize, usize) {
        lower_words(items.iter().map(Record::lower).collect(), items.len())
    }

    unsafe fn lift_items(pointer: usize, count: usize) -> Vec<Self> {
        // SAFETY: the host allocated one word for each item, with the tag that stands for words.
        let addresses: Vec<usize> = unsafe { own(pointer, count) };
        let lift = |address| {
            // SAFETY: the host lowered each item for this module.
            unsafe { R::lift(address) }
        };
        addresses.into_iter().map(lift).collect()
    }
}

/// Fails the build when a record is used under another name than its own.
pub const fn assert_name<R: Record>(name: &str) {
    assert!(
        same(R::NAME.as_bytes(), name.as_bytes()),
        "the interface knows a record by the name it was declared with: use it without renaming it"
    );
}

const fn same(mut one: &[u8], mut other: &[u8]) -> bool {
    loop {
        match (one, other) {
            ([], []) => return true,
            ([a, rest_of_one @ ..], [b, rest_of_other @ ..]) if *a == *b => {
                one = rest_of_one;
                other = rest_of_other;
            }
            _ => return false,
        }
    }
}
