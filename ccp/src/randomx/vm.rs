//! The virtual machine: eight programs over a scratchpad of 2 MiB make a hash.

#![expect(
    clippy::indexing_slicing,
    reason = "registers are reduced by 8 or 4, addresses masked to the size of the scratchpad"
)]

use super::{
    LINE_SIZE,
    aes::{self, Generator1R},
    blake::{blake2b_256, blake2b_512},
    cache::Cache,
    float::Rounding,
    program::{Instruction, LEVEL_3, Operation, Program, line_mask},
};

/// Words of the scratchpad.
const SCRATCHPAD: usize = 2_097_152 / 8;
/// Masks an address to the start of a line of the scratchpad.
const LINE: u32 = LEVEL_3 & !63;
/// Programs of a hash, and how often each runs.
const PROGRAMS: usize = 8;
const ITERATIONS: usize = 2048;

/// Two lanes of a floating-point register.
type Pair = [f64; 2];

/// Computes hashes with a cache.
#[derive(Clone)]
pub struct Hasher<'a> {
    cache: &'a Cache,
    scratchpad: Vec<u64>,
}

impl std::fmt::Debug for Hasher<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hasher")
            .field("cache", &self.cache)
            .finish_non_exhaustive()
    }
}

impl<'a> Hasher<'a> {
    /// A hasher with a scratchpad of its own.
    #[must_use]
    pub fn new(cache: &'a Cache) -> Self {
        Self {
            cache,
            scratchpad: vec![0; SCRATCHPAD],
        }
    }

    /// The hash of `input`.
    #[must_use]
    pub fn hash(&mut self, input: &[u8]) -> [u8; 32] {
        let mut filler = Generator1R::new(&blake2b_512(input));
        for line in self.scratchpad.as_chunks_mut::<8>().0 {
            *line = filler.next();
        }
        let mut seed = filler.state();
        let mut rounding = Rounding::Nearest;
        let mut file = RegisterFile::default();
        for index in 0..PROGRAMS {
            let program = Program::generate(&seed, self.cache.parameters());
            file = self.run(&program, &mut rounding);
            if index + 1 < PROGRAMS {
                seed = blake2b_512(&file.to_bytes());
            }
        }
        let fingerprint = aes::hash(&self.scratchpad);
        for (pair, words) in file.a.iter_mut().zip(fingerprint.as_chunks::<2>().0) {
            *pair = words.map(f64::from_bits);
        }
        blake2b_256(&file.to_bytes())
    }

    fn run(&mut self, program: &Program, rounding: &mut Rounding) -> RegisterFile {
        let Ok(scratchpad) = self.scratchpad.as_mut_slice().try_into() else {
            // The scratchpad has this size since it was made.
            return RegisterFile::default();
        };
        let mut machine = Machine {
            scratchpad,
            registers: RegisterFile {
                a: program.a,
                ..RegisterFile::default()
            },
            exponents: program.exponents,
            rounding: *rounding,
        };
        let (mut ma, mut mx) = (program.ma, program.mx);
        let (mut first, mut second) = (mx, ma);
        let mut ahead = None;
        let [read_first, read_second, next_first, next_second] = program.address_registers;
        for _ in 0..ITERATIONS {
            let registers = &machine.registers.r;
            let mix = registers[read_first] ^ registers[read_second];
            first = (first ^ mix as u32) & LINE;
            second = (second ^ (mix >> 32) as u32) & LINE;
            machine.load(first, second);
            machine.execute(&program.instructions);

            let registers = &machine.registers.r;
            mx ^= (registers[next_first] ^ registers[next_second]) as u32;
            mx &= line_mask(self.cache.parameters());
            let item = ahead.take().unwrap_or_else(|| {
                // The item of the next iteration is known already: two cost less than one and one.
                let number =
                    |address: u32| (program.dataset_offset + u64::from(address)) / LINE_SIZE;
                let [now, next] = self.cache.items([number(ma), number(mx)]);
                ahead = Some(next);
                now
            });
            for (register, word) in machine.registers.r.iter_mut().zip(item) {
                *register ^= word;
            }
            std::mem::swap(&mut ma, &mut mx);
            machine.store(first, second);
            (first, second) = (0, 0);
        }
        *rounding = machine.rounding;
        machine.registers
    }
}

/// All registers.
#[derive(Clone, Copy, Default)]
struct RegisterFile {
    /// Integers.
    r: [u64; 8],
    /// Sums.
    f: [Pair; 4],
    /// Products, always positive.
    e: [Pair; 4],
    /// Constants.
    a: [Pair; 4],
}

impl RegisterFile {
    fn to_bytes(self) -> [u8; 256] {
        let floats = [self.f, self.e, self.a];
        let words = self
            .r
            .into_iter()
            .chain(floats.into_iter().flatten().flatten().map(f64::to_bits));
        let mut bytes = [0; 256];
        for (target, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(words) {
            *target = word.to_le_bytes();
        }
        bytes
    }
}

struct Machine<'a> {
    scratchpad: &'a mut [u64; SCRATCHPAD],
    registers: RegisterFile,
    exponents: [u64; 2],
    rounding: Rounding,
}

/// Bits of a memory operand that stay in group E: sign and upper exponent are replaced.
const DYNAMIC_MANTISSA: u64 = (1 << 56) - 1;
/// What scaling flips: the sign and bits of the exponent.
const SCALE: u64 = 0x80f0_0000_0000_0000;

impl Machine<'_> {
    /// A word at an address that is a multiple of 8.
    #[inline(always)]
    fn word(&self, address: u32) -> u64 {
        self.scratchpad[address as usize / 8 % SCRATCHPAD]
    }

    #[inline(always)]
    fn address(&self, instruction: &Instruction, register: u8) -> u32 {
        let base = self.registers.r[usize::from(register & 7)];
        base.wrapping_add(instruction.constant) as u32 & instruction.mask
    }

    /// The operand of an integer instruction that reads memory.
    #[inline(always)]
    fn integer(&self, instruction: &Instruction) -> u64 {
        self.word(if instruction.absolute {
            instruction.constant as u32 & instruction.mask
        } else {
            self.address(instruction, instruction.src)
        })
    }

    /// The operand of a floating-point instruction that reads memory.
    #[inline(always)]
    fn float(&self, instruction: &Instruction) -> Pair {
        to_pair(self.word(self.address(instruction, instruction.src)))
    }

    /// The same as a member of group E.
    #[inline(always)]
    fn positive(&self, pair: Pair) -> Pair {
        let lane = |index: usize| {
            f64::from_bits(pair[index].to_bits() & DYNAMIC_MANTISSA | self.exponents[index])
        };
        [lane(0), lane(1)]
    }

    /// Begins an iteration.
    fn load(&mut self, first: u32, second: u32) {
        for index in 0..8 {
            self.registers.r[index] ^= self.word(first + 8 * index as u32);
        }
        for index in 0..4 {
            self.registers.f[index] = to_pair(self.word(second + 8 * index as u32));
            let pair = to_pair(self.word(second + 8 * (4 + index as u32)));
            self.registers.e[index] = self.positive(pair);
        }
    }

    /// Ends an iteration.
    fn store(&mut self, first: u32, second: u32) {
        let (first, second) = (first as usize / 8, second as usize / 8);
        for index in 0..8 {
            self.scratchpad[(second + index) % SCRATCHPAD] = self.registers.r[index];
        }
        for index in 0..4 {
            for lane in 0..2 {
                let bits = self.registers.f[index][lane].to_bits()
                    ^ self.registers.e[index][lane].to_bits();
                self.registers.f[index][lane] = f64::from_bits(bits);
                self.scratchpad[(first + 2 * index + lane) % SCRATCHPAD] = bits;
            }
        }
    }

    fn execute(&mut self, instructions: &[Instruction]) {
        let mut position = 0;
        while let Some(instruction) = instructions.get(position) {
            position += 1;
            let dst = usize::from(instruction.dst & 7);
            let (src, constant) = (
                self.registers.r[usize::from(instruction.src & 7)],
                instruction.constant,
            );
            let rounding = self.rounding;
            match instruction.operation {
                Operation::AddShifted => {
                    let sum = (src << (instruction.shift & 3)).wrapping_add(constant);
                    self.change(dst, |r| r.wrapping_add(sum));
                }
                Operation::AddMemory => {
                    let operand = self.integer(instruction);
                    self.change(dst, |r| r.wrapping_add(operand));
                }
                Operation::Sub => self.change(dst, |r| r.wrapping_sub(src)),
                Operation::SubConstant => self.change(dst, |r| r.wrapping_sub(constant)),
                Operation::SubMemory => {
                    let operand = self.integer(instruction);
                    self.change(dst, |r| r.wrapping_sub(operand));
                }
                Operation::Mul => self.change(dst, |r| r.wrapping_mul(src)),
                Operation::MulConstant => self.change(dst, |r| r.wrapping_mul(constant)),
                Operation::MulMemory => {
                    let operand = self.integer(instruction);
                    self.change(dst, |r| r.wrapping_mul(operand));
                }
                Operation::MulHigh => self.change(dst, |r| super::mul_high(r, src)),
                Operation::MulHighMemory => {
                    let operand = self.integer(instruction);
                    self.change(dst, |r| super::mul_high(r, operand));
                }
                Operation::MulHighSigned => self.change(dst, |r| super::mul_high_signed(r, src)),
                Operation::MulHighSignedMemory => {
                    let operand = self.integer(instruction);
                    self.change(dst, |r| super::mul_high_signed(r, operand));
                }
                Operation::Negate => self.change(dst, u64::wrapping_neg),
                Operation::Xor => self.change(dst, |r| r ^ src),
                Operation::XorConstant => self.change(dst, |r| r ^ constant),
                Operation::XorMemory => {
                    let operand = self.integer(instruction);
                    self.change(dst, |r| r ^ operand);
                }
                Operation::RotateRight => self.change(dst, |r| r.rotate_right(src as u32 & 63)),
                Operation::RotateRightConstant => {
                    self.change(dst, |r| r.rotate_right(constant as u32 & 63));
                }
                Operation::RotateLeft => self.change(dst, |r| r.rotate_left(src as u32 & 63)),
                Operation::RotateLeftConstant => {
                    self.change(dst, |r| r.rotate_left(constant as u32 & 63));
                }
                Operation::Swap => self.registers.r.swap(dst, usize::from(instruction.src & 7)),
                Operation::SwapLanes => {
                    let group = if dst < 4 {
                        &mut self.registers.f
                    } else {
                        &mut self.registers.e
                    };
                    group[dst & 3].swap(0, 1);
                }
                Operation::FloatAdd => {
                    let operand = self.registers.a[usize::from(instruction.src & 3)];
                    join(&mut self.registers.f[dst & 3], operand, |a, b| {
                        rounding.add(a, b)
                    });
                }
                Operation::FloatAddMemory => {
                    let operand = self.float(instruction);
                    join(&mut self.registers.f[dst & 3], operand, |a, b| {
                        rounding.add(a, b)
                    });
                }
                Operation::FloatSub => {
                    let operand = self.registers.a[usize::from(instruction.src & 3)];
                    join(&mut self.registers.f[dst & 3], operand, |a, b| {
                        rounding.sub(a, b)
                    });
                }
                Operation::FloatSubMemory => {
                    let operand = self.float(instruction);
                    join(&mut self.registers.f[dst & 3], operand, |a, b| {
                        rounding.sub(a, b)
                    });
                }
                Operation::FloatScale => {
                    let pair = &mut self.registers.f[dst & 3];
                    *pair = pair.map(|lane| f64::from_bits(lane.to_bits() ^ SCALE));
                }
                Operation::FloatMul => {
                    let operand = self.registers.a[usize::from(instruction.src & 3)];
                    join(&mut self.registers.e[dst & 3], operand, |a, b| {
                        rounding.mul(a, b)
                    });
                }
                Operation::FloatDivMemory => {
                    let operand = self.positive(self.float(instruction));
                    join(&mut self.registers.e[dst & 3], operand, |a, b| {
                        rounding.div(a, b)
                    });
                }
                Operation::FloatSqrt => {
                    let pair = &mut self.registers.e[dst & 3];
                    *pair = pair.map(|lane| rounding.sqrt(lane));
                }
                Operation::Branch => {
                    let sum = self.registers.r[dst].wrapping_add(constant);
                    self.registers.r[dst] = sum;
                    if sum as u32 & instruction.mask == 0 {
                        position = usize::from(instruction.target);
                    }
                }
                Operation::SetRounding => {
                    self.rounding =
                        Rounding::from_bits(src.rotate_right(u32::from(instruction.shift)));
                }
                Operation::Store => {
                    let address = self.address(instruction, instruction.dst);
                    self.scratchpad[address as usize / 8 % SCRATCHPAD] = src;
                }
                Operation::Nothing => {}
            }
        }
    }

    #[inline(always)]
    fn change(&mut self, register: usize, operation: impl FnOnce(u64) -> u64) {
        let target = &mut self.registers.r[register & 7];
        *target = operation(*target);
    }
}

#[inline(always)]
fn join(target: &mut Pair, operand: Pair, operation: impl Fn(f64, f64) -> f64) {
    *target = [
        operation(target[0], operand[0]),
        operation(target[1], operand[1]),
    ];
}

/// Two 32-bit integers as floating-point numbers.
#[inline(always)]
fn to_pair(word: u64) -> Pair {
    [
        f64::from(word as u32 as i32),
        f64::from((word >> 32) as u32 as i32),
    ]
}
