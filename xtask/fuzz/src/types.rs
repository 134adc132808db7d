//! Interface types, values of them, and the records that they are made of.

use std::sync::Arc;

use marine_runtime::{IType, IValue, RecordType, Records, module::Argument};

use super::choices::Choices;

/// Records by their position.
#[derive(Debug)]
pub(crate) struct Table(pub(crate) Vec<RecordType>);

impl Records for Table {
    fn record(&self, id: u32) -> Option<&RecordType> {
        self.0.get(id as usize)
    }
}

const SCALARS: [IType; 11] = [
    IType::Boolean,
    IType::S8,
    IType::S16,
    IType::S32,
    IType::S64,
    IType::U8,
    IType::U16,
    IType::U32,
    IType::U64,
    IType::F32,
    IType::F64,
];

/// Up to four records; each is made of those before it.
pub(crate) fn table(choices: &mut Choices<'_>) -> Table {
    let mut records = Vec::new();
    for id in 0..choices.below(5) {
        let count = 1 + choices.below(4);
        let fields = (0..count).map(|_| ty(choices, id)).collect();
        records.push(RecordType {
            name: format!("R{id}"),
            fields: named(fields),
        });
    }
    Table(records)
}

/// A type in which there are `known` records.
pub(crate) fn ty(choices: &mut Choices<'_>, known: usize) -> IType {
    match choices.byte() {
        kind @ 0..=10 => SCALARS
            .get(usize::from(kind))
            .cloned()
            .unwrap_or(IType::Boolean),
        11..=15 => IType::ByteArray,
        16..=31 if known > 0 => IType::Record(choices.below(known) as u32),
        32..=47 if !choices.is_empty() => match ty(choices, known) {
            // The SDK has one name for both.
            IType::U8 => IType::ByteArray,
            element if depth(&element) < 4 => IType::Array(Arc::new(element)),
            deep => deep,
        },
        _ => IType::String,
    }
}

fn depth(ty: &IType) -> usize {
    ty.innermost().0
}

/// Names for types: `a`, `b`, …
pub(crate) fn named(types: Vec<IType>) -> Vec<Argument> {
    ('a'..)
        .zip(types)
        .map(|(name, ty)| Argument {
            name: name.to_string(),
            ty,
        })
        .collect()
}

/// A value of the type.
pub(crate) fn value(choices: &mut Choices<'_>, ty: &IType, records: &impl Records) -> IValue {
    match ty {
        IType::Boolean => IValue::Boolean(choices.byte() % 2 == 1),
        IType::S8 => IValue::S8(choices.byte().cast_signed()),
        IType::S16 => IValue::S16(choices.short().cast_signed()),
        IType::S32 => IValue::S32(choices.number().cast_signed()),
        IType::S64 => IValue::S64(long(choices).cast_signed()),
        IType::I32 => IValue::I32(choices.number().cast_signed()),
        IType::I64 => IValue::I64(long(choices).cast_signed()),
        IType::U8 => IValue::U8(choices.byte()),
        IType::U16 => IValue::U16(choices.short()),
        IType::U32 => IValue::U32(choices.number()),
        IType::U64 => IValue::U64(long(choices)),
        // Floats that are written with few digits: readers may take the neighbour of a long one.
        IType::F32 => IValue::F32(f32::from(choices.short().cast_signed()) / 8.0),
        IType::F64 => IValue::F64(f64::from(choices.number().cast_signed()) / 8.0),
        IType::String => IValue::String(text(choices)),
        IType::ByteArray => {
            let length = choices.below(24);
            IValue::ByteArray((0..length).map(|_| choices.byte()).collect())
        }
        IType::Array(element) => {
            let length = choices.below(5);
            let values = (0..length).map(|_| value(choices, element, records));
            IValue::Array(values.collect())
        }
        IType::Record(id) => {
            let fields = records.record(*id).map_or(&[][..], |record| &record.fields);
            let values = fields.iter();
            IValue::Record(
                values
                    .map(|field| value(choices, &field.ty, records))
                    .collect(),
            )
        }
    }
}

fn long(choices: &mut Choices<'_>) -> u64 {
    u64::from(choices.number()) << 32 | u64::from(choices.number())
}

/// Text with everything in it that JSON escapes, and characters of all lengths.
fn text(choices: &mut Choices<'_>) -> String {
    const CHARACTERS: [char; 16] = [
        'a', 'b', ' ', '"', '\\', '/', '\0', '\u{1f}', '\n', '\u{7f}', 'ü', '€', '\u{2028}', '😀',
        '\u{ffff}', '}',
    ];
    let length = choices.below(40);
    (0..length).map(|_| choices.of(&CHARACTERS)).collect()
}
