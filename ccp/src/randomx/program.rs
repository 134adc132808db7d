//! Programs of the virtual machine: configuration and instructions from random bytes.

#![expect(
    clippy::indexing_slicing,
    reason = "indices are below the sizes of fixed arrays: registers are reduced by 8"
)]

use super::{
    DATASET_EXTRA_SIZE, LINE_SIZE, Parameters, aes::Generator4R, is_zero_or_power_of_two,
    reciprocal, sign_extend,
};

/// Instructions of a program.
pub(super) const SIZE: usize = 256;

/// Masks of addresses inside the levels of the scratchpad, for words of 8 bytes.
pub(super) const LEVEL_1: u32 = 16_384 - 8;
pub(super) const LEVEL_2: u32 = 262_144 - 8;
pub(super) const LEVEL_3: u32 = 2_097_152 - 8;

/// What an instruction does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    AddShifted,
    AddMemory,
    Sub,
    SubConstant,
    SubMemory,
    Mul,
    MulConstant,
    MulMemory,
    MulHigh,
    MulHighMemory,
    MulHighSigned,
    MulHighSignedMemory,
    Negate,
    Xor,
    XorConstant,
    XorMemory,
    RotateRight,
    RotateRightConstant,
    RotateLeft,
    RotateLeftConstant,
    Swap,
    SwapLanes,
    FloatAdd,
    FloatAddMemory,
    FloatSub,
    FloatSubMemory,
    FloatScale,
    FloatMul,
    FloatDivMemory,
    FloatSqrt,
    Branch,
    SetRounding,
    Store,
    Nothing,
}

/// An instruction, ready to execute.
#[derive(Clone, Copy, Debug)]
pub(super) struct Instruction {
    pub(super) operation: Operation,
    pub(super) dst: u8,
    pub(super) src: u8,
    /// Bits to shift by.
    pub(super) shift: u8,
    /// The instruction to go to (a branch).
    pub(super) target: u16,
    /// Mask of the address, or of the condition of a branch.
    pub(super) mask: u32,
    /// The source is zero and not a register.
    pub(super) absolute: bool,
    pub(super) constant: u64,
}

/// A program with its configuration.
pub(super) struct Program {
    pub(super) instructions: Vec<Instruction>,
    /// Constant registers, low and high lane.
    pub(super) a: [[f64; 2]; 4],
    /// Address of the first read of the dataset, and what the next one is made from.
    pub(super) ma: u32,
    pub(super) mx: u32,
    /// Registers that addresses are made from.
    pub(super) address_registers: [usize; 4],
    /// Where the program's part of the dataset begins, in bytes.
    pub(super) dataset_offset: u64,
    /// Exponents of divisors and of group E.
    pub(super) exponents: [u64; 2],
}

/// Bits of the mantissa of a double.
const MANTISSA_BITS: u32 = 52;
const MANTISSA: u64 = (1 << MANTISSA_BITS) - 1;
const EXPONENT_BIAS: u64 = 1023;
/// Exponent bits of group E: constant ones, then four from the configuration, then four of the value.
const CONSTANT_EXPONENT: u64 = 0x300;
const DYNAMIC_EXPONENT_BITS: u32 = 4;

impl Program {
    /// The program that a seed makes.
    pub(super) fn generate(seed: &[u8; 64], parameters: Parameters) -> Self {
        let mut words = Generator4R::new(seed);
        let mut entropy = [0; 16];
        for chunk in entropy.as_chunks_mut::<8>().0 {
            *chunk = words.next();
        }
        let mut decoder = Decoder {
            last_change: [0; 8],
        };
        let mut instructions = Vec::with_capacity(SIZE);
        while instructions.len() < SIZE {
            for word in words.next() {
                instructions.push(decoder.decode(word, instructions.len()));
            }
        }
        let registers = entropy[12];
        let register = |index: u64| (2 * index + (registers >> index & 1)) as usize;
        Self {
            instructions,
            a: std::array::from_fn(|index| {
                [
                    small_positive(entropy[2 * index]),
                    small_positive(entropy[2 * index + 1]),
                ]
            }),
            ma: entropy[8] as u32 & line_mask(parameters),
            mx: entropy[10] as u32,
            address_registers: [register(0), register(1), register(2), register(3)],
            dataset_offset: entropy[13] % (DATASET_EXTRA_SIZE / LINE_SIZE + 1) * LINE_SIZE,
            exponents: [exponent_mask(entropy[14]), exponent_mask(entropy[15])],
        }
    }
}

/// Keeps an address inside the base part of the dataset, at the start of a line.
pub(super) fn line_mask(parameters: Parameters) -> u32 {
    (parameters.dataset_base_size - LINE_SIZE) as u32
}

/// A number from 1 up to 2³².
fn small_positive(entropy: u64) -> f64 {
    let exponent = (entropy >> 59) + EXPONENT_BIAS;
    f64::from_bits(exponent << MANTISSA_BITS | entropy & MANTISSA)
}

fn exponent_mask(entropy: u64) -> u64 {
    let exponent = CONSTANT_EXPONENT | entropy >> 60 << DYNAMIC_EXPONENT_BITS;
    entropy & ((1 << 22) - 1) | exponent << MANTISSA_BITS
}

/// Decodes instructions one after another.
struct Decoder {
    /// For each register the instruction after the one that changed it last: where branches go.
    last_change: [u16; 8],
}

/// Offset of the lowest bit that a branch looks at, and the number of bits.
const BRANCH_OFFSET: u32 = 8;
const BRANCH_BITS: u32 = 8;
/// Stores with a condition of at least this go to level 3.
const STORE_LEVEL_3: u8 = 14;
/// This register takes a constant in a shifted addition.
const DISPLACED: u8 = 5;

impl Decoder {
    fn decode(&mut self, word: u64, position: usize) -> Instruction {
        let [opcode, dst, src, modifier, ..] = word.to_le_bytes();
        let immediate = (word >> 32) as u32;
        let (dst, src) = (dst & 7, src & 7);
        let operation = OPERATIONS[usize::from(opcode)];
        let level = if modifier & 3 == 0 { LEVEL_2 } else { LEVEL_1 };
        let next = position as u16 + 1;
        let same = src == dst;
        let mut instruction = Instruction {
            operation,
            dst,
            src,
            shift: 0,
            target: 0,
            mask: level,
            absolute: false,
            constant: sign_extend(immediate),
        };
        match operation {
            Operation::AddShifted => {
                instruction.shift = modifier >> 2 & 3;
                if dst != DISPLACED {
                    instruction.constant = 0;
                }
            }
            Operation::AddMemory
            | Operation::SubMemory
            | Operation::MulMemory
            | Operation::MulHighMemory
            | Operation::MulHighSignedMemory
            | Operation::XorMemory
                if same =>
            {
                instruction.mask = LEVEL_3;
                instruction.absolute = true;
            }
            Operation::Sub if same => instruction.operation = Operation::SubConstant,
            Operation::Mul if same => instruction.operation = Operation::MulConstant,
            Operation::Xor if same => instruction.operation = Operation::XorConstant,
            Operation::RotateRight if same => {
                instruction.operation = Operation::RotateRightConstant
            }
            Operation::RotateLeft if same => instruction.operation = Operation::RotateLeftConstant,
            // Listed for the multiplication by a reciprocal.
            Operation::MulConstant if is_zero_or_power_of_two(immediate) => {
                instruction.operation = Operation::Nothing;
            }
            Operation::MulConstant => instruction.constant = reciprocal(immediate),
            Operation::Swap if same => instruction.operation = Operation::Nothing,
            Operation::Swap => self.last_change[usize::from(src)] = next,
            Operation::Branch => {
                let shift = u32::from(modifier >> 4) + BRANCH_OFFSET;
                // The lowest condition bit is added, the bit below it is not.
                instruction.constant = (instruction.constant | 1 << shift) & !(1 << (shift - 1));
                instruction.mask = ((1 << BRANCH_BITS) - 1) << shift;
                instruction.target = self.last_change[usize::from(dst)];
                self.last_change = [next; 8];
            }
            Operation::SetRounding => instruction.shift = (immediate & 63) as u8,
            Operation::Store if modifier >> 4 >= STORE_LEVEL_3 => instruction.mask = LEVEL_3,
            _ => {}
        }
        if changes_integer(instruction.operation) {
            self.last_change[usize::from(dst)] = next;
        }
        instruction
    }
}

/// Whether the target is an integer register that is written.
fn changes_integer(operation: Operation) -> bool {
    !matches!(
        operation,
        Operation::SwapLanes
            | Operation::FloatAdd
            | Operation::FloatAddMemory
            | Operation::FloatSub
            | Operation::FloatSubMemory
            | Operation::FloatScale
            | Operation::FloatMul
            | Operation::FloatDivMemory
            | Operation::FloatSqrt
            | Operation::Branch
            | Operation::SetRounding
            | Operation::Store
            | Operation::Nothing
    )
}

/// How many of 256 opcodes each operation has.
const FREQUENCIES: [(Operation, usize); 29] = [
    (Operation::AddShifted, 16),
    (Operation::AddMemory, 7),
    (Operation::Sub, 16),
    (Operation::SubMemory, 7),
    (Operation::Mul, 16),
    (Operation::MulMemory, 4),
    (Operation::MulHigh, 4),
    (Operation::MulHighMemory, 1),
    (Operation::MulHighSigned, 4),
    (Operation::MulHighSignedMemory, 1),
    (Operation::MulConstant, 8),
    (Operation::Negate, 2),
    (Operation::Xor, 15),
    (Operation::XorMemory, 5),
    (Operation::RotateRight, 8),
    (Operation::RotateLeft, 2),
    (Operation::Swap, 4),
    (Operation::SwapLanes, 4),
    (Operation::FloatAdd, 16),
    (Operation::FloatAddMemory, 5),
    (Operation::FloatSub, 16),
    (Operation::FloatSubMemory, 5),
    (Operation::FloatScale, 6),
    (Operation::FloatMul, 32),
    (Operation::FloatDivMemory, 4),
    (Operation::FloatSqrt, 6),
    (Operation::Branch, 25),
    (Operation::SetRounding, 1),
    (Operation::Store, 16),
];

static OPERATIONS: [Operation; 256] = operations();

const fn operations() -> [Operation; 256] {
    let mut table = [Operation::Nothing; 256];
    let (mut opcode, mut index) = (0, 0);
    while index < FREQUENCIES.len() {
        let (operation, count) = FREQUENCIES[index];
        let end = opcode + count;
        while opcode < end {
            table[opcode] = operation;
            opcode += 1;
        }
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_opcode_has_an_operation() {
        assert_eq!(
            FREQUENCIES.iter().map(|(_, count)| count).sum::<usize>(),
            256
        );
        assert!(!OPERATIONS.contains(&Operation::Nothing));
        assert_eq!(OPERATIONS[255], Operation::Store);
    }

    #[test]
    fn branches_go_behind_the_last_change() {
        let mut decoder = Decoder {
            last_change: [0; 8],
        };
        let word = |opcode: u8, dst: u8, src: u8, modifier: u8, immediate: u32| {
            u64::from(u32::from_le_bytes([opcode, dst, src, modifier])) | u64::from(immediate) << 32
        };
        let branch = OPERATIONS
            .iter()
            .position(|o| *o == Operation::Branch)
            .unwrap() as u8;
        let first = decoder.decode(word(branch, 3, 0, 0x20, 0), 0);
        assert_eq!((first.target, first.mask), (0, 0xff << 10));
        assert_eq!(first.constant, 1 << 10);
        decoder.decode(word(0, 3, 1, 0, 0), 1);
        let second = decoder.decode(word(branch, 3, 0, 0xf0, u32::MAX), 2);
        assert_eq!((second.target, second.mask), (2, 0xff << 23));
        assert_eq!(second.constant, !(1 << 22));
        let third = decoder.decode(word(branch, 4, 0, 0, 0), 9);
        assert_eq!(third.target, 3);
    }
}
