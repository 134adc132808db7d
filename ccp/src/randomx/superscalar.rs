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
pub(super) type Registers<const N: usize> = [[u64; 8]; N];

impl Program {
    /// The next program of a key.
    pub(super) fn generate(bytes: &mut ByteGenerator) -> Self {
        generate::generate(bytes)
    }

    #[expect(clippy::indexing_slicing, reason = "registers are reduced by 8")]
    #[inline(always)]
    pub(super) fn address<const N: usize>(&self, registers: &Registers<N>) -> [u64; N] {
        registers.map(|lane| lane[usize::from(self.address_register & 7)])
    }

    /// Executes the program on each lane.
    pub(super) fn execute<const N: usize>(&self, registers: &mut Registers<N>) {
        for instruction in &self.instructions {
            let c = instruction.constant;
            let (dst, src) = (
                usize::from(instruction.dst & 7),
                usize::from(instruction.src & 7),
            );
            let mut lanes = Lanes {
                registers,
                dst,
                src,
            };
            match instruction.operation {
                Operation::Sub => lanes.apply(u64::wrapping_sub),
                Operation::Xor => lanes.apply(|a, b| a ^ b),
                Operation::AddShifted => lanes.apply(|a, b| a.wrapping_add(b << (c & 3))),
                Operation::Mul => lanes.apply(u64::wrapping_mul),
                Operation::Rotate => lanes.apply(|a, _| a.rotate_right(c as u32 & 63)),
                Operation::AddConstant => lanes.apply(|a, _| a.wrapping_add(c)),
                Operation::XorConstant => lanes.apply(|a, _| a ^ c),
                Operation::MulHigh => lanes.apply(super::mul_high),
                Operation::MulHighSigned => lanes.apply(super::mul_high_signed),
                Operation::MulConstant => lanes.apply(|a, _| a.wrapping_mul(c)),
            }
        }
    }
}

/// An instruction's registers in all lanes.
struct Lanes<'a, const N: usize> {
    registers: &'a mut Registers<N>,
    dst: usize,
    src: usize,
}

impl<const N: usize> Lanes<'_, N> {
    #[expect(clippy::indexing_slicing, reason = "registers are reduced by 8")]
    #[inline(always)]
    fn apply(&mut self, operation: impl Fn(u64, u64) -> u64) {
        for lane in self.registers.iter_mut() {
            lane[self.dst & 7] = operation(lane[self.dst & 7], lane[self.src & 7]);
        }
    }
}
