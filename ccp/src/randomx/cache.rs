//! The cache of a key, from which every item of the dataset can be computed.

use argon2::{Algorithm, Argon2, Block, Params, Version};

use super::{
    MAX_CACHE_ACCESSES, Parameters,
    blake::ByteGenerator,
    superscalar::{Program, Registers},
};

/// The cache takes 256 MiB, which were not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cache of a key needs {needed} bytes of memory, which are not available")]
pub struct OutOfMemory {
    /// Bytes that are needed.
    pub needed: usize,
}

/// Memory in KiB, passes, lanes and salt of the fill.
const MEMORY: u32 = 262_144;
const PASSES: u32 = 3;
const LANES: u32 = 1;
const SALT: &[u8] = b"RandomX\x03";

/// Lines of 64 bytes.
const LINES: u64 = MEMORY as u64 * 16;
/// Lines of a block of Argon2.
const BLOCK_LINES: u64 = 16;

/// Memory and programs that belong to a key. It can be shared by any number of hashers.
pub struct Cache {
    memory: Vec<Block>,
    programs: Vec<Program>,
    parameters: Parameters,
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache")
            .field("parameters", &self.parameters)
            .finish_non_exhaustive()
    }
}

impl Cache {
    /// Fills the cache of `key`, which takes about a second.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn new(key: &[u8], parameters: Parameters) -> Result<Self, OutOfMemory> {
        let needed = MEMORY as usize * Block::SIZE;
        let out_of_memory = OutOfMemory { needed };
        let mut memory = Vec::new();
        memory
            .try_reserve_exact(MEMORY as usize)
            .map_err(|_| out_of_memory.clone())?;
        memory.resize(MEMORY as usize, Block::new());
        // These constants are within the limits of Argon2, and no key reaches its 4 GiB.
        let argon = Params::new(MEMORY, PASSES, LANES, None)
            .map(|params| Argon2::new(Algorithm::Argon2d, Version::V0x13, params));
        argon
            .and_then(|argon| argon.fill_memory(key, SALT, &mut memory))
            .map_err(|_| out_of_memory)?;
        let mut bytes = ByteGenerator::new(key);
        let programs = (0..MAX_CACHE_ACCESSES)
            .map(|_| Program::generate(&mut bytes))
            .collect();
        Ok(Self {
            memory,
            programs,
            parameters,
        })
    }

    /// The variant.
    #[must_use]
    pub fn parameters(&self) -> Parameters {
        self.parameters
    }

    /// The same cache for another variant: only the number of programs in use differs.
    #[must_use]
    pub fn with_parameters(self, parameters: Parameters) -> Self {
        Self { parameters, ..self }
    }

    /// Computes items of the dataset side by side, which costs less than one after another.
    pub(super) fn items<const N: usize>(&self, numbers: [u64; N]) -> [[u64; 8]; N] {
        #[cfg(test)]
        READ.with_borrow_mut(|read| read.extend(numbers));
        let mut registers: Registers<N> = numbers.map(|number| {
            let first = number.wrapping_add(1).wrapping_mul(MULTIPLIER);
            ADDENDS.map(|addend| first ^ addend)
        });
        let mut lines = numbers;
        for program in self.programs.iter().take(self.parameters.cache_accesses) {
            program.execute(&mut registers);
            for (lane, number) in registers.iter_mut().zip(lines) {
                for (register, word) in lane.iter_mut().zip(self.line(number)) {
                    *register ^= word;
                }
            }
            lines = program.address(&registers);
        }
        registers
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "the number is reduced to that of the lines"
    )]
    #[inline(always)]
    fn line(&self, number: u64) -> &[u64] {
        let number = number % LINES;
        let offset = (number % BLOCK_LINES) as usize * 8;
        &self.memory[(number / BLOCK_LINES) as usize].as_ref()[offset..offset + 8]
    }
}

const MULTIPLIER: u64 = 6_364_136_223_846_793_005;
const ADDENDS: [u64; 8] = [
    0,
    9_298_411_001_130_361_340,
    12_065_312_585_734_608_966,
    9_306_329_213_124_626_780,
    5_281_919_268_842_080_866,
    10_536_153_434_571_861_004,
    3_398_623_926_847_679_864,
    9_549_104_520_008_361_294,
];

#[cfg(test)]
std::thread_local! {
    /// Items that this thread has computed.
    pub(crate) static READ: std::cell::RefCell<Vec<u64>> = const { std::cell::RefCell::new(Vec::new()) };
}
