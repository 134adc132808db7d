//! The generator simulates a superscalar processor with three execution ports and emits
//! instructions that keep its ports busy, so that programs take the same time on real ones.

#![expect(
    clippy::indexing_slicing,
    reason = "registers are below 8; cycles are compared with the length of the map"
)]

use super::{super::blake::ByteGenerator, Instruction, Operation, Program};
use crate::randomx::{is_zero_or_power_of_two, reciprocal, sign_extend};

/// Cycles that a program takes on the simulated processor.
const LATENCY: usize = 170;
/// Cycles that the map of ports covers.
const MAP_SIZE: usize = LATENCY + 4;
/// Cycles to wait for an operand.
const LOOK_FORWARD: usize = 4;
/// Instructions to discard before a decode buffer is given up.
const MAX_DISCARDED: usize = 256;
/// Instructions of a program at most.
const MAX_INSTRUCTIONS: usize = 3 * LATENCY + 2;
/// This register cannot be the target of a shifted addition (a limit of x86 addressing).
const NO_SHIFTED_TARGET: usize = 5;

/// Execution ports as bits.
const P0: u8 = 1;
const P1: u8 = 2;
const P5: u8 = 4;

/// A step of the simulated processor.
#[derive(Clone, Copy)]
struct MacroOp {
    latency: usize,
    /// The ports of each part: none for moves, which cost nothing.
    first: u8,
    second: u8,
    /// Waits for the step before it.
    dependent: bool,
}

const fn step(latency: usize, first: u8, second: u8) -> MacroOp {
    MacroOp {
        latency,
        first,
        second,
        dependent: false,
    }
}

const MOVE: MacroOp = step(0, 0, 0);
const ANY: MacroOp = step(1, P0 | P1 | P5, 0);
const SHIFTED: MacroOp = step(1, P0 | P1, 0);
const ROTATE: MacroOp = step(1, P0 | P5, 0);
const MULTIPLY: MacroOp = step(3, P1, 0);
const MULTIPLY_HIGH: MacroOp = step(4, P1, P5);
const MULTIPLY_LOADED: MacroOp = MacroOp {
    dependent: true,
    ..MULTIPLY
};

/// Instructions before constants are unified: constants come in three sizes of code.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sub,
    Xor,
    AddShifted,
    Mul,
    Rotate,
    AddConstant,
    XorConstant,
    MulHigh,
    MulHighSigned,
    MulReciprocal,
}

impl Kind {
    fn steps(self) -> &'static [MacroOp] {
        match self {
            Self::Sub | Self::Xor | Self::AddConstant | Self::XorConstant => &[ANY],
            Self::AddShifted => &[SHIFTED],
            Self::Mul => &[MULTIPLY],
            Self::Rotate => &[ROTATE],
            Self::MulHigh | Self::MulHighSigned => &[MOVE, MULTIPLY_HIGH, MOVE],
            Self::MulReciprocal => &[ANY, MULTIPLY_LOADED],
        }
    }

    /// The steps at which the result is written, the target and the source are chosen.
    fn operand_steps(self) -> (usize, usize, Option<usize>) {
        match self {
            Self::Sub | Self::Xor | Self::AddShifted | Self::Mul => (0, 0, Some(0)),
            Self::Rotate | Self::AddConstant | Self::XorConstant => (0, 0, None),
            Self::MulHigh | Self::MulHighSigned => (1, 0, Some(1)),
            Self::MulReciprocal => (1, 1, None),
        }
    }

    fn is_multiplication(self) -> bool {
        matches!(
            self,
            Self::Mul | Self::MulHigh | Self::MulHighSigned | Self::MulReciprocal
        )
    }
}

/// What was last done to a register: instructions of one group and parameter must not follow each
/// other, since they could be merged.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Group {
    kind: Kind,
    /// A register, a random number, or nothing.
    parameter: i32,
}

/// An instruction that is being issued.
struct Draft {
    kind: Kind,
    group: Group,
    /// Its target may be its source.
    can_reuse: bool,
    /// Its source is the parameter of its group.
    source_is_parameter: bool,
    src: Option<usize>,
    dst: usize,
    immediate: u32,
    shift: u8,
}

impl Draft {
    fn new(kind: Kind, bytes: &mut ByteGenerator) -> Self {
        let mut draft = Self {
            kind,
            group: Group {
                kind,
                parameter: -1,
            },
            can_reuse: false,
            source_is_parameter: false,
            src: None,
            dst: 0,
            immediate: 0,
            shift: 0,
        };
        match kind {
            Kind::Sub => {
                draft.group.kind = Kind::AddShifted;
                draft.source_is_parameter = true;
            }
            Kind::Xor | Kind::Mul => draft.source_is_parameter = true,
            Kind::AddShifted => {
                draft.shift = bytes.byte() >> 2 & 3;
                draft.source_is_parameter = true;
            }
            Kind::Rotate => {
                while draft.immediate == 0 {
                    draft.immediate = u32::from(bytes.byte() & 63);
                }
            }
            Kind::AddConstant | Kind::XorConstant => draft.immediate = bytes.word(),
            Kind::MulHigh | Kind::MulHighSigned => {
                draft.can_reuse = true;
                draft.group.parameter = bytes.word().cast_signed();
            }
            Kind::MulReciprocal => {
                while is_zero_or_power_of_two(draft.immediate) {
                    draft.immediate = bytes.word();
                }
            }
        }
        draft
    }

    fn finish(&self) -> Instruction {
        let operation = match self.kind {
            Kind::Sub => Operation::Sub,
            Kind::Xor => Operation::Xor,
            Kind::AddShifted => Operation::AddShifted,
            Kind::Mul => Operation::Mul,
            Kind::Rotate => Operation::Rotate,
            Kind::AddConstant => Operation::AddConstant,
            Kind::XorConstant => Operation::XorConstant,
            Kind::MulHigh => Operation::MulHigh,
            Kind::MulHighSigned => Operation::MulHighSigned,
            Kind::MulReciprocal => Operation::MulConstant,
        };
        let constant = match self.kind {
            Kind::AddShifted => u64::from(self.shift),
            Kind::Rotate => u64::from(self.immediate),
            Kind::MulReciprocal => reciprocal(self.immediate),
            _ => sign_extend(self.immediate),
        };
        let dst = self.dst as u8;
        let src = self.src.map_or(dst, |src| src as u8);
        Instruction {
            operation,
            dst,
            src,
            constant,
        }
    }
}

/// Sizes of the instructions that one decode cycle fetches, in bytes.
type Buffer = &'static [u8];

const BUFFER_484: Buffer = &[4, 8, 4];
const BUFFER_7333: Buffer = &[7, 3, 3, 3];
const BUFFER_3733: Buffer = &[3, 7, 3, 3];
const BUFFER_493: Buffer = &[4, 9, 3];
const BUFFER_4444: Buffer = &[4, 4, 4, 4];
const BUFFER_3310: Buffer = &[3, 3, 10];

fn next_buffer(
    last: Option<Kind>,
    cycle: usize,
    multiplications: usize,
    bytes: &mut ByteGenerator,
) -> Buffer {
    match last {
        // The rest of a wide multiplication needs two small slots.
        Some(Kind::MulHigh | Kind::MulHighSigned) => BUFFER_3310,
        _ if multiplications < cycle + 1 => BUFFER_4444,
        // The multiplication by a reciprocal goes on with a slot of four bytes.
        Some(Kind::MulReciprocal) if bytes.byte() & 1 == 1 => BUFFER_484,
        Some(Kind::MulReciprocal) => BUFFER_493,
        _ => [BUFFER_484, BUFFER_7333, BUFFER_3733, BUFFER_493][usize::from(bytes.byte() & 3)],
    }
}

/// An instruction whose first step fits into a slot.
fn kind_for_slot(size: u8, buffer: Buffer, last: bool, bytes: &mut ByteGenerator) -> Kind {
    let mut either = |first, second| if bytes.byte() & 1 == 0 { first } else { second };
    match size {
        3 if last => [Kind::Sub, Kind::Xor, Kind::MulHigh, Kind::MulHighSigned]
            [usize::from(bytes.byte() & 3)],
        3 => either(Kind::Sub, Kind::Xor),
        4 if buffer == BUFFER_4444 && !last => Kind::Mul,
        4 => either(Kind::Rotate, Kind::AddShifted),
        7..=9 => either(Kind::XorConstant, Kind::AddConstant),
        _ => Kind::MulReciprocal,
    }
}

#[derive(Clone, Copy, Default)]
struct Register {
    /// The cycle in which its value is there.
    ready: usize,
    group: Option<Group>,
}

/// Which ports are taken in which cycle.
struct Ports([[bool; 3]; MAP_SIZE]);

impl Ports {
    /// The first cycle from `cycle` on in which `part` can run, and its port.
    fn find(&self, part: u8, cycle: usize) -> Option<(usize, usize)> {
        (cycle..MAP_SIZE).find_map(|cycle| {
            // The multiplication port last, for it is the scarcest.
            [(P5, 2), (P0, 0), (P1, 1)]
                .into_iter()
                .find(|(bit, port)| part & bit != 0 && !self.0[cycle][*port])
                .map(|(_, port)| (cycle, port))
        })
    }

    /// The first cycle from `cycle` on in which all of a step can run.
    fn schedule(
        &mut self,
        step: MacroOp,
        cycle: usize,
        ready: usize,
        commit: bool,
    ) -> Option<usize> {
        let start = if step.dependent {
            cycle.max(ready)
        } else {
            cycle
        };
        if step.first == 0 {
            return Some(start);
        }
        if step.second == 0 {
            let (cycle, port) = self.find(step.first, start)?;
            self.0[cycle][port] |= commit;
            return Some(cycle);
        }
        (start..MAP_SIZE).find_map(|cycle| {
            let (first, first_port) = self.find(step.first, cycle)?;
            let (second, second_port) = self.find(step.second, cycle)?;
            if first != second {
                return None;
            }
            self.0[first][first_port] |= commit;
            self.0[second][second_port] |= commit;
            Some(first)
        })
    }
}

/// Why an instruction gets no operand.
struct NoOperand;

struct Generator<'a> {
    bytes: &'a mut ByteGenerator,
    registers: [Register; 8],
}

impl Generator<'_> {
    fn choose(&mut self, available: &[usize]) -> Option<usize> {
        match available {
            [] => None,
            [only] => Some(*only),
            _ => {
                let index = self.bytes.word() as usize % available.len();
                available.get(index).copied()
            }
        }
    }

    fn choose_source(&mut self, draft: &mut Draft, cycle: usize) -> bool {
        let available: Vec<usize> = (0..8)
            .filter(|i| self.registers[*i].ready <= cycle)
            .collect();
        // Of two, the one that cannot be a target should be the source.
        let forced = draft.kind == Kind::AddShifted
            && available.len() == 2
            && available.contains(&NO_SHIFTED_TARGET);
        let chosen = if forced {
            Some(NO_SHIFTED_TARGET)
        } else {
            self.choose(&available)
        };
        let Some(source) = chosen else { return false };
        draft.src = Some(source);
        if draft.source_is_parameter {
            draft.group.parameter = source as i32;
        }
        true
    }

    fn choose_target(&mut self, draft: &mut Draft, cycle: usize, chained_mul: bool) -> bool {
        let available: Vec<usize> = (0..8)
            .filter(|index| {
                let register = &self.registers[*index];
                let last_is_mul = register.group.is_some_and(|group| group.kind == Kind::Mul);
                register.ready <= cycle
                    && (draft.can_reuse || Some(*index) != draft.src)
                    && (chained_mul || draft.group.kind != Kind::Mul || !last_is_mul)
                    && register.group != Some(draft.group)
                    && (draft.kind != Kind::AddShifted || *index != NO_SHIFTED_TARGET)
            })
            .collect();
        let Some(target) = self.choose(&available) else {
            return false;
        };
        draft.dst = target;
        true
    }

    /// Chooses what the step needs; each failed attempt costs a cycle.
    fn choose_operands(
        &mut self,
        draft: &mut Draft,
        step: usize,
        scheduled: &mut usize,
        cycle: &mut usize,
        discarded: usize,
    ) -> Result<(), NoOperand> {
        let (_, target_step, source_step) = draft.kind.operand_steps();
        if source_step == Some(step) {
            self.wait(scheduled, cycle, |this, at| this.choose_source(draft, at))?;
        }
        if target_step == step {
            self.wait(scheduled, cycle, |this, at| {
                this.choose_target(draft, at, discarded > 0)
            })?;
        }
        Ok(())
    }

    fn wait(
        &mut self,
        scheduled: &mut usize,
        cycle: &mut usize,
        mut choose: impl FnMut(&mut Self, usize) -> bool,
    ) -> Result<(), NoOperand> {
        for _ in 0..LOOK_FORWARD {
            if choose(self, *scheduled) {
                return Ok(());
            }
            *scheduled += 1;
            *cycle += 1;
        }
        Err(NoOperand)
    }
}

pub(super) fn generate(bytes: &mut ByteGenerator) -> Program {
    let mut generator = Generator {
        bytes,
        registers: [Register::default(); 8],
    };
    let mut ports = Ports([[false; 3]; MAP_SIZE]);
    let mut instructions = Vec::new();
    // The instruction that is being issued with the next of its steps; `last` outlives it.
    let (mut current, mut last): (Option<(Draft, usize)>, Option<Kind>) = (None, None);
    let (mut cycle, mut ready, mut multiplications, mut discarded) = (0, 0, 0, 0);
    let mut saturated = false;

    for decode_cycle in 0..LATENCY {
        if saturated || instructions.len() >= MAX_INSTRUCTIONS {
            break;
        }
        let buffer = next_buffer(last, decode_cycle, multiplications, generator.bytes);
        let mut slot = 0;
        while let Some(size) = buffer.get(slot) {
            let top = cycle;
            let (mut draft, index) = match current.take() {
                Some(issued) => issued,
                None if saturated || instructions.len() >= MAX_INSTRUCTIONS => break,
                None => {
                    let is_last = slot + 1 == buffer.len();
                    let kind = kind_for_slot(*size, buffer, is_last, generator.bytes);
                    last = Some(kind);
                    (Draft::new(kind, generator.bytes), 0)
                }
            };
            let step = draft.kind.steps()[index];
            let Some(mut scheduled) = ports.schedule(step, cycle, ready, false) else {
                saturated = true;
                break;
            };
            let operands =
                generator.choose_operands(&mut draft, index, &mut scheduled, &mut cycle, discarded);
            if operands.is_err() {
                if discarded < MAX_DISCARDED {
                    discarded += 1;
                    continue;
                }
                last = None;
                break;
            }
            discarded = 0;
            let Some(scheduled) = ports.schedule(step, scheduled, scheduled, true) else {
                saturated = true;
                break;
            };
            ready = scheduled + step.latency;
            let (result_step, _, _) = draft.kind.operand_steps();
            if result_step == index {
                generator.registers[draft.dst] = Register {
                    ready,
                    group: Some(draft.group),
                };
            }
            slot += 1;
            saturated |= scheduled >= LATENCY;
            cycle = top;
            if index + 1 < draft.kind.steps().len() {
                current = Some((draft, index + 1));
            } else {
                instructions.push(draft.finish());
                multiplications += usize::from(draft.kind.is_multiplication());
            }
        }
        cycle += 1;
    }
    let address_register = address_register(&instructions);
    Program {
        instructions,
        address_register,
    }
}

/// The register with the longest chain of operations, if each took one cycle.
fn address_register(instructions: &[Instruction]) -> u8 {
    let mut latencies = [0_u32; 8];
    for instruction in instructions {
        let (dst, src) = (usize::from(instruction.dst), usize::from(instruction.src));
        let source = if dst == src { 0 } else { latencies[src] + 1 };
        latencies[dst] = (latencies[dst] + 1).max(source);
    }
    let longest = latencies.iter().max().copied().unwrap_or(0);
    (0..8)
        .find(|index| latencies[usize::from(*index)] == longest)
        .unwrap_or(0)
}
