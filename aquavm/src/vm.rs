//! The machine that executes one run.
//!
//! Instructions are executed in a loop with an explicit stack of frames, so neither nested scripts
//! nor long folds can overflow the stack of the thread. An instruction either ends at once, or
//! names the instruction to go on with and leaves a frame that is resumed with its outcome.

mod ap;
mod call;
mod canon;
mod contents;
mod control;
mod fold;
mod lens;
mod resolve;
mod watch;

use std::{collections::BTreeSet, num::NonZero, rc::Rc};

use particle::{
    Tetraplet,
    data::{CidInfo, State, Store},
    merge::{Merge, MergeError},
};

use crate::{
    arena::Arena,
    error::{CatchableError, Fatal, UncatchableError},
    parameters::{Compat, Limits, Policy, RunParameters},
    registers::{Place, Registers},
    requests::RequestSink,
    results::Answers,
    scope::{Corrupted, Scopes},
    script::{Op, OpId, Output, Program, Slot},
    stream::Streams,
    value::{Aggregate, Canon, CanonMap, Origin},
};
use fold::ActiveFold;
pub(crate) use watch::{Seen, Watch};

/// What the machine starts with.
pub(crate) struct Inputs<'t, 'x> {
    pub(crate) program: &'x Program<'x>,
    pub(crate) arena: &'x Arena,
    pub(crate) parameters: &'x RunParameters,
    pub(crate) previous: &'t [State<'x>],
    pub(crate) current: &'t [State<'x>],
    pub(crate) stores: CidInfo<'x>,
    /// The largest call id issued so far.
    pub(crate) last_call_id: u32,
    pub(crate) results: &'x Answers<'x>,
    pub(crate) requests: &'x mut dyn RequestSink,
    /// Set where the run is watched.
    pub(crate) watch: Option<Watch<'x>>,
}

/// What the machine leaves.
pub(crate) struct Finished<'x> {
    /// The error that reached the root.
    pub(crate) error: Option<Rc<CatchableError>>,
    pub(crate) trace: Vec<State<'x>>,
    pub(crate) stores: CidInfo<'x>,
    pub(crate) last_call_id: u32,
    /// What this peer is to sign.
    pub(crate) own_cids: Vec<&'x str>,
    pub(crate) next_peers: BTreeSet<&'x str>,
    pub(crate) watch: Option<Watch<'x>>,
}

/// Why execution did not finish.
pub(crate) enum Abort {
    /// Nothing of the run counts.
    Uncatchable(UncatchableError),
    /// Streams could not be numbered at the end.
    Compactification(UncatchableError),
}

/// Why an instruction did not do its work.
///
/// Errors are rare and large.
#[derive(Debug)]
enum Stop {
    Catchable(Box<CatchableError>),
    Uncatchable(Fatal),
}

/// What comes after an instruction's first step.
enum Flow {
    Enter(OpId),
    Done,
    Failed(Rc<CatchableError>),
}

/// An instruction that waits for one below it.
#[derive(Debug)]
enum Frame<'x> {
    Seq {
        right: OpId,
    },
    Xor {
        right: OpId,
    },
    XorRight,
    ParLeft {
        right: OpId,
        right_is_next: bool,
        op: OpId,
    },
    ParRight {
        left_complete: bool,
        left_failed: bool,
        op: OpId,
    },
    NewVariable {
        slot: Slot,
    },
    NewStream {
        slot: Slot,
    },
    Fold {
        slot: Slot,
    },
    StreamFold(Box<fold::StreamFold<'x>>),
    Next {
        slot: Slot,
    },
}

/// What a name stands for.
#[derive(Clone, Debug)]
enum Bound<'x> {
    Scalar(Aggregate<'x>),
    Canon(&'x Canon<'x>),
    Map(Rc<CanonMap<'x>>),
}

struct Vm<'t, 'x> {
    program: &'x Program<'x>,
    arena: &'x Arena,
    merge: Merge<'t, 'x>,
    stores: CidInfo<'x>,
    results: &'x Answers<'x>,
    requests: &'x mut dyn RequestSink,
    last_call_id: u32,
    own_cids: Vec<&'x str>,
    next_peers: BTreeSet<&'x str>,

    current_peer: &'x str,
    init_peer: &'x str,
    /// JSON texts of the parameters.
    init_peer_text: &'x str,
    timestamp_text: &'x str,
    ttl_text: &'x str,
    /// Provenance of literals.
    literal: &'x Origin<'x>,
    /// Tetraplets of the stores, by CID.
    origins: Store<'x, &'x Origin<'x>>,

    scopes: Scopes<Bound<'x>>,
    folds: Vec<Option<Box<ActiveFold<'x>>>>,
    streams: Streams<'x>,
    registers: Registers<'x>,
    /// Whether what was just executed is complete.
    complete: bool,
    frames: Vec<Frame<'x>>,
    /// Tetraplet of the call that is being executed, once it is known.
    call_origin: Option<&'x Origin<'x>>,
    /// Tetraplet of the last call: loops make the same call again and again.
    recent_call: Option<&'x Origin<'x>>,
    /// Texts of the arguments of the call that is being executed.
    argument_texts: Vec<&'x str>,
    /// Their JSON array, where it is hashed.
    arguments: String,
    /// JSON text of the content whose CID is made.
    scratch: Vec<u8>,
    /// Whether they are all known.
    arguments_known: bool,
    limits: Limits,
    compat: Compat,
    policy: Policy,
    watch: Option<Watch<'x>>,
}

/// Executes the script.
pub(crate) fn execute<'x>(inputs: Inputs<'_, 'x>) -> Result<Finished<'x>, Abort> {
    let mut vm = Vm::new(inputs);
    let error = vm.run().map_err(|error| Abort::Uncatchable(*error))?;
    let Vm {
        mut merge, streams, ..
    } = vm;
    for stream in streams.into_all() {
        stream
            .compactify(&mut merge)
            .map_err(|error| Abort::Compactification(UncatchableError::Compactification(*error)))?;
    }
    Ok(Finished {
        error,
        trace: merge.into_trace(),
        stores: vm.stores,
        last_call_id: vm.last_call_id,
        own_cids: vm.own_cids,
        next_peers: vm.next_peers,
        watch: vm.watch,
    })
}

impl<'t, 'x> Vm<'t, 'x> {
    fn new(inputs: Inputs<'t, 'x>) -> Self {
        let Inputs {
            program,
            arena,
            parameters,
            ..
        } = inputs;
        let mut init_peer_text = String::new();
        crate::json::write_string(&mut init_peer_text, &parameters.init_peer_id);
        Self {
            program,
            arena,
            merge: Merge::new(inputs.previous, inputs.current),
            stores: inputs.stores,
            results: inputs.results,
            requests: inputs.requests,
            last_call_id: inputs.last_call_id,
            own_cids: Vec::new(),
            next_peers: BTreeSet::new(),
            current_peer: &parameters.current_peer_id,
            init_peer: &parameters.init_peer_id,
            init_peer_text: arena.alloc_str(&init_peer_text),
            timestamp_text: arena.alloc_str(&parameters.timestamp.to_string()),
            ttl_text: arena.alloc_str(&parameters.ttl.to_string()),
            literal: Origin::new(arena, Tetraplet::of_peer(&parameters.init_peer_id)),
            origins: Store::default(),
            scopes: Scopes::new(program.slots()),
            folds: (0..program.slots()).map(|_| None).collect(),
            streams: Streams::new(program),
            registers: Registers::new(),
            complete: true,
            frames: Vec::new(),
            call_origin: None,
            recent_call: None,
            argument_texts: Vec::new(),
            arguments: String::new(),
            scratch: Vec::new(),
            arguments_known: false,
            limits: parameters.limits,
            compat: parameters.compat,
            policy: parameters.policy,
            watch: inputs.watch,
        }
    }

    /// Executes from the root; the result is the error that reached it.
    fn run(&mut self) -> Result<Option<Rc<CatchableError>>, Fatal> {
        let mut op = 0;
        let mut steps = 0_u64;
        loop {
            steps += 1;
            let limit = self.limits.steps;
            if steps > limit {
                return Err(Box::new(UncatchableError::TooManySteps { limit }));
            }
            self.arena.room_for(0)?;
            let before = self.watch.is_some().then(|| self.before());
            let mut flow = self.enter(op)?;
            let limit = self.limits.trace;
            if self.merge.position() > limit {
                return Err(self.trace_error(op, MergeError::TooLong { limit }.into()));
            }
            if let Some(before) = before
                && self.watched(op, before)?
            {
                return Ok(None);
            }
            op = loop {
                match flow {
                    Flow::Enter(next) => break next,
                    Flow::Done => match self.frames.pop() {
                        Some(frame) => flow = self.resume(frame, None)?,
                        None => return Ok(None),
                    },
                    Flow::Failed(error) => match self.frames.pop() {
                        Some(frame) => flow = self.resume(frame, Some(error))?,
                        None => return Ok(Some(error)),
                    },
                }
            };
        }
    }

    /// Starts an instruction.
    fn enter(&mut self, id: OpId) -> Result<Flow, Fatal> {
        let op = self.program.op(id);
        let first = id + 1;
        let flow = match op {
            Op::Seq { right } => {
                self.complete = true;
                self.frames.push(Frame::Seq { right });
                return Ok(Flow::Enter(first));
            }
            Op::Xor { right } => {
                self.complete = true;
                self.frames.push(Frame::Xor { right });
                return Ok(Flow::Enter(first));
            }
            Op::Par { right, next } => return self.par(id, right, next),
            Op::NewVariable { slot } => {
                self.scopes.new_start(slot);
                self.frames.push(Frame::NewVariable { slot });
                return Ok(Flow::Enter(first));
            }
            Op::NewStream { slot, scope } => {
                self.streams.open(slot, scope);
                self.frames.push(Frame::NewStream { slot });
                return Ok(Flow::Enter(first));
            }
            Op::Next { iterator } => return self.next(id, iterator),
            Op::Never => {
                self.complete = false;
                return Ok(Flow::Done);
            }
            Op::Null => return Ok(Flow::Done),
            Op::Call {
                operands,
                arguments,
                output,
            } => {
                self.call_origin = None;
                self.arguments_known = false;
                let output = match output {
                    true => self.program.output(operands + 3 + arguments),
                    false => Output::None,
                };
                self.call(id, operands, arguments, output)
            }
            Op::Canon { operands } => {
                self.call_origin = None;
                self.canon(id, operands)
            }
            Op::Ap { operands } => self.ap(id, operands),
            Op::ApMap { operands } => self.ap_map(id, operands),
            Op::Match { operands, equal } => self.comparison(id, operands, equal),
            Op::FailLiteral { code, message } => {
                self.fail_literal(id, self.program.code(code), message)
            }
            Op::Fail { operand } => {
                // `fail :error:` raises an error that was shared before.
                match self.fail(operand) {
                    Ok(error) => return Ok(self.failed(id, op, error)),
                    Err(stop) => Err(stop),
                }
            }
            Op::Fold { operands, last } => self.fold(id, operands, last.map(NonZero::get)),
        };
        match flow {
            Ok(flow) => Ok(flow),
            Err(Stop::Catchable(error)) => Ok(self.failed(id, op, Rc::new(*error))),
            Err(Stop::Uncatchable(error)) => Err(error),
        }
    }

    /// Records an error of an instruction.
    fn failed(&mut self, id: OpId, op: Op, error: Rc<CatchableError>) -> Flow {
        let origin = match op {
            Op::Call { .. } => self.call_origin,
            _ => None,
        };
        self.registers.record(
            &error,
            Place {
                op: id,
                peer_id: origin.map_or(self.current_peer, |origin| origin.tetraplet.peer_pk),
                has_peer: matches!(op, Op::Call { .. } | Op::Canon { .. }),
                origin,
            },
        );
        Flow::Failed(error)
    }

    /// Goes on with an instruction after the one below it ended.
    fn resume(
        &mut self,
        frame: Frame<'x>,
        error: Option<Rc<CatchableError>>,
    ) -> Result<Flow, Fatal> {
        match frame {
            Frame::Seq { right } => Ok(match error {
                None if self.complete => Flow::Enter(right),
                error => ended(error),
            }),
            Frame::Xor { right } => Ok(match error {
                None => Flow::Done,
                Some(error) => {
                    self.registers.xor_left_failed(&error);
                    self.complete = true;
                    self.frames.push(Frame::XorRight);
                    Flow::Enter(right)
                }
            }),
            Frame::XorRight => {
                self.registers.xor_right_ended(error.is_none());
                Ok(ended(error))
            }
            Frame::ParLeft {
                right,
                right_is_next,
                op,
            } => self.par_left_ended(op, right, right_is_next, error),
            Frame::ParRight {
                left_complete,
                left_failed,
                op,
            } => self.par_right_ended(op, left_complete, left_failed, error),
            Frame::NewVariable { slot } => {
                if let Err(Corrupted { depth }) = self.scopes.new_end(slot)
                    && error.is_none()
                {
                    return Err(UncatchableError::ScopesCorrupted {
                        name: self.program.name(slot).to_owned(),
                        depth,
                    }
                    .into());
                }
                Ok(ended(error))
            }
            Frame::NewStream { slot } => {
                let closed = match self.streams.close(slot) {
                    Some(stream) => stream.compactify(&mut self.merge),
                    None => Ok(()),
                };
                match closed {
                    Err(error_of_closing) if error.is_none() => {
                        Err(UncatchableError::Compactification(*error_of_closing).into())
                    }
                    _ => Ok(ended(error)),
                }
            }
            Frame::Fold { slot } => {
                self.leave_fold(slot);
                Ok(ended(error))
            }
            Frame::StreamFold(fold) => self.nest_ended(fold),
            Frame::Next { slot } => self.next_returned(slot, error),
        }
    }

    /// The error of a merge at an instruction.
    #[cold]
    #[expect(clippy::boxed_local, reason = "as `map_err` hands it over")]
    fn trace_error(&self, op: OpId, source: Box<MergeError>) -> Fatal {
        Box::new(UncatchableError::Trace {
            instruction: self.program.instruction_text(op),
            source: *source,
        })
    }

    fn name(&self, slot: Slot) -> String {
        self.program.name(slot).to_owned()
    }
}

fn ended(error: Option<Rc<CatchableError>>) -> Flow {
    error.map_or(Flow::Done, Flow::Failed)
}

impl Stop {
    /// Whether it means that a value may still come.
    fn is_joinable(&self) -> bool {
        matches!(
            self,
            Self::Catchable(error) if matches!(**error, CatchableError::VariableNotFound { .. })
        )
    }
}

impl From<CatchableError> for Stop {
    fn from(error: CatchableError) -> Self {
        Self::Catchable(Box::new(error))
    }
}

impl From<Fatal> for Stop {
    fn from(error: Fatal) -> Self {
        Self::Uncatchable(error)
    }
}

impl From<UncatchableError> for Stop {
    fn from(error: UncatchableError) -> Self {
        Self::Uncatchable(Box::new(error))
    }
}

/// Makes an instruction wait when a value is not there yet.
macro_rules! or_join {
    ($vm:expr, $result:expr) => {
        match $result {
            Ok(value) => value,
            Err(stop) if stop.is_joinable() => {
                $vm.complete = false;
                return Ok(crate::vm::Flow::Done);
            }
            Err(stop) => return Err(stop),
        }
    };
}
use or_join;
