//! Programs that compute items of the dataset: generation for a simulated processor, execution.

mod generate;

use super::blake::ByteGenerator;

/// What an instruction does with its registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Sub,
    Xor,
    AddShifted,
    Mul,
    Rotate,
    AddConstant,
    XorConstant,
    MulHigh,
    MulHighSigned,
    /// With a constant that stands for the reciprocal of the generated one.
    MulConstant,
}

/// An instruction, ready to execute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Instruction {
    pub(super) operation: Operation,
    pub(super) dst: u8,
    pub(super) src: u8,
    /// Constant operand, or the number of bits to rotate or shift.
    pub(super) constant: u64,
}

/// A program.
#[derive(Clone, Debug)]
pub(super) struct Program {
    instructions: Vec<Instruction>,
    /// The register that chooses the next line of the cache.
    address_register: u8,
}

/// Registers of several items that are computed side by side.
pub(super) type Registers<const N: usize> = [[u64; N]; 8];

impl Program {
    /// The next program of a key.
    pub(super) fn generate(bytes: &mut ByteGenerator) -> Self {
        generate::generate(bytes)
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "registers are below 8 and lanes below N"
    )]
    #[inline(always)]
    pub(super) fn address<const N: usize>(&self, registers: &Registers<N>) -> [u64; N] {
        registers[usize::from(self.address_register & 7)]
    }

    /// Executes the program on each lane.
    #[expect(
        clippy::indexing_slicing,
        reason = "registers are below 8 and lanes below N"
    )]
    pub(super) fn execute<const N: usize>(&self, registers: &mut Registers<N>) {
        for instruction in &self.instructions {
            let constant = instruction.constant;
            let source = registers[usize::from(instruction.src & 7)];
            let target = &mut registers[usize::from(instruction.dst & 7)];
            let mut each = |operation: fn(u64, u64, u64) -> u64| {
                for lane in 0..N {
                    target[lane] = operation(target[lane], source[lane], constant);
                }
            };
            match instruction.operation {
                Operation::Sub => each(|a, b, _| a.wrapping_sub(b)),
                Operation::Xor => each(|a, b, _| a ^ b),
                Operation::AddShifted => each(|a, b, c| a.wrapping_add(b << (c & 3))),
                Operation::Mul => each(|a, b, _| a.wrapping_mul(b)),
                Operation::Rotate => each(|a, _, c| a.rotate_right(c as u32)),
                Operation::AddConstant => each(|a, _, c| a.wrapping_add(c)),
                Operation::XorConstant => each(|a, _, c| a ^ c),
                Operation::MulHigh => each(|a, b, _| super::mul_high(a, b)),
                Operation::MulHighSigned => each(|a, b, _| super::mul_high_signed(a, b)),
                Operation::MulConstant => each(|a, _, c| a.wrapping_mul(c)),
            }
        }
    }
}
