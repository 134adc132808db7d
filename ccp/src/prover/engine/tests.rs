use super::*;
use crate::{Puzzle, ToyPuzzle, prover::MemoryBudget};

const A: UnitId = UnitId([0xa; 32]);
const B: UnitId = UnitId([0xb; 32]);

/// An engine with two cores of one thread, and what its threads would do.
struct Rig {
    engine: Engine,
    puzzle: ToyPuzzle,
    budget: MemoryBudget,
}

impl Rig {
    fn new() -> Self {
        let mut engine = Engine::default();
        for core in 0..3 {
            assert!(engine.add_worker(worker(core), None));
        }
        Self {
            engine,
            puzzle: ToyPuzzle::default(),
            budget: MemoryBudget::new(|| None),
        }
    }

    fn commit(&mut self, nonce: u8, difficulty: u8, allocation: &[(u32, UnitId)]) {
        self.engine.commit(Commitment {
            epoch: EpochParameters {
                global_nonce: GlobalNonce([nonce; 32]),
                difficulty: Difficulty([difficulty; 32]),
            },
            allocation: allocation
                .iter()
                .map(|(core, unit)| (PhysicalCore(*core), *unit))
                .collect(),
        });
    }

    /// The new order of a core, as a short text.
    fn take(&mut self, core: u32) -> Option<String> {
        let order = self.engine.take(worker(core))?;
        Some(match order {
            Order::Rest => "rest".to_owned(),
            Order::Create { unit, .. } => format!("create {}", name(unit)),
            Order::Fill { unit, .. } => format!("fill {}", name(unit)),
            Order::Prove { unit, target, .. } => {
                let epoch = target.epoch();
                let (nonce, difficulty) = (epoch.global_nonce.0[0], epoch.difficulty.0[0]);
                format!("prove {} {nonce} {difficulty}", name(unit))
            }
        })
    }

    /// All new orders, core after core.
    fn orders(&mut self) -> Vec<(u32, String)> {
        (0..3)
            .filter_map(|core| Some((core, self.take(core)?)))
            .collect()
    }

    fn created(&mut self, core: u32, nonce: u8, unit: UnitId) {
        let key = PuzzleKey::new(&GlobalNonce([nonce; 32]), &unit);
        let preparation = self.puzzle.begin(&key).unwrap();
        let reservation = self.budget.reserve(1).unwrap();
        self.engine
            .created(worker(core), &key, preparation, reservation);
    }

    fn ready(&mut self, nonce: u8, unit: UnitId) {
        let key = PuzzleKey::new(&GlobalNonce([nonce; 32]), &unit);
        let prepared = self.puzzle.prepare(&key).unwrap();
        self.engine.ready(&key, prepared);
    }

    /// Brings a unit whose creation was ordered from `core` to proving.
    fn prepare(&mut self, core: u32, nonce: u8, unit: UnitId) {
        self.created(core, nonce, unit);
        self.orders();
        self.ready(nonce, unit);
    }
}

fn worker(core: u32) -> WorkerId {
    WorkerId {
        core: PhysicalCore(core),
        thread: 0,
    }
}

fn name(unit: UnitId) -> char {
    if unit == A { 'a' } else { 'b' }
}

fn texts(orders: &[(u32, &str)]) -> Vec<(u32, String)> {
    orders
        .iter()
        .map(|(core, text)| (*core, (*text).to_owned()))
        .collect()
}

#[test]
fn cores_of_one_unit_share_its_memory() {
    let mut rig = Rig::new();
    rig.commit(1, 9, &[(0, A), (1, A), (2, B)]);
    assert_eq!(rig.orders(), texts(&[(0, "create a"), (2, "create b")]));
    rig.created(0, 1, A);
    assert_eq!(rig.orders(), texts(&[(0, "fill a"), (1, "fill a")]));
    rig.created(2, 1, B);
    assert_eq!(rig.orders(), texts(&[(2, "fill b")]));
    rig.ready(1, A);
    assert_eq!(
        rig.orders(),
        texts(&[(0, "prove a 1 9"), (1, "prove a 1 9")])
    );
}

#[test]
fn a_new_difficulty_interrupts_nobody() {
    let mut rig = Rig::new();
    rig.commit(1, 9, &[(0, A)]);
    rig.orders();
    rig.prepare(0, 1, A);
    let Some(Order::Prove { target, .. }) = rig.engine.take(worker(0)) else {
        panic!("nothing to prove");
    };
    let version = target.version();
    rig.commit(1, 5, &[(0, A)]);
    assert_eq!(rig.orders(), []);
    assert_ne!(target.version(), version);
    assert_eq!(target.epoch().difficulty, Difficulty([5; 32]));
}

#[test]
fn a_new_epoch_waits_until_memory_is_free() {
    let mut rig = Rig::new();
    rig.commit(1, 9, &[(0, A), (1, B)]);
    rig.orders();
    rig.prepare(0, 1, A);
    rig.prepare(1, 1, B);
    rig.orders();
    rig.commit(2, 9, &[(0, A), (1, B)]);
    // Both hold what nobody wants any more; the first to leave has to wait for the other.
    assert_eq!(rig.take(0).as_deref(), Some("rest"));
    assert_eq!(rig.take(0), None);
    assert_eq!(rig.take(1).as_deref(), Some("rest"));
    assert_eq!(rig.orders(), texts(&[(0, "create a"), (1, "create b")]));
    // What comes late from the old epoch changes nothing.
    rig.ready(1, A);
    rig.created(0, 1, A);
    assert_eq!(rig.orders(), []);
    rig.prepare(0, 2, A);
    assert_eq!(rig.orders(), texts(&[(0, "prove a 2 9")]));
}

#[test]
fn units_that_change_cores_keep_their_memory() {
    let mut rig = Rig::new();
    rig.commit(1, 9, &[(0, A), (1, B)]);
    rig.orders();
    rig.prepare(0, 1, A);
    rig.prepare(1, 1, B);
    rig.orders();
    rig.commit(1, 9, &[(0, B), (1, A)]);
    assert_eq!(
        rig.orders(),
        texts(&[(0, "prove b 1 9"), (1, "prove a 1 9")])
    );
    // Shrink, grow, move to a new core.
    rig.commit(1, 9, &[(0, B)]);
    assert_eq!(rig.orders(), texts(&[(1, "rest")]));
    rig.commit(1, 9, &[(0, B), (2, B)]);
    assert_eq!(rig.orders(), texts(&[(2, "prove b 1 9")]));
    rig.commit(1, 9, &[(1, B)]);
    assert_eq!(
        rig.orders(),
        texts(&[(0, "rest"), (1, "prove b 1 9"), (2, "rest")])
    );
    rig.engine.withdraw();
    assert_eq!(rig.orders(), texts(&[(1, "rest")]));
    assert!(rig.engine.units().is_empty());
}

#[test]
fn a_core_that_leaves_before_it_began_is_replaced() {
    let mut rig = Rig::new();
    rig.commit(1, 9, &[(0, A), (1, A)]);
    // Core 0 is to create A, but goes to B before it looks.
    rig.commit(1, 9, &[(0, B), (1, A)]);
    assert_eq!(rig.orders(), texts(&[(0, "create b"), (1, "create a")]));
    // One that has begun is not replaced when it leaves.
    rig.commit(1, 9, &[(1, B), (2, A)]);
    assert_eq!(rig.take(2), None);
    rig.created(1, 1, A);
    assert_eq!(rig.take(2).as_deref(), Some("fill a"));
}

#[test]
fn pauses_keep_memory() {
    let mut rig = Rig::new();
    rig.commit(1, 9, &[(0, A)]);
    assert!(rig.engine.set_paused(&A, true));
    assert_eq!(rig.orders(), texts(&[(0, "rest")]));
    assert!(rig.engine.set_paused(&A, false));
    assert_eq!(rig.orders(), texts(&[(0, "create a")]));
    rig.prepare(0, 1, A);
    assert_eq!(rig.orders(), texts(&[(0, "prove a 1 9")]));
    assert!(rig.engine.set_paused(&A, true));
    assert_eq!(rig.orders(), texts(&[(0, "rest")]));
    assert_eq!(rig.engine.units()[0].phase, Phase::Paused);
    assert!(rig.engine.set_paused(&A, false));
    assert_eq!(rig.orders(), texts(&[(0, "prove a 1 9")]));
    assert!(!rig.engine.set_paused(&B, true));
}

#[test]
fn failures_concern_nobody_else_and_can_be_tried_again() {
    let mut rig = Rig::new();
    rig.commit(1, 9, &[(0, A), (1, B)]);
    rig.orders();
    let refused = PuzzleError::Refused {
        needed: 2,
        available: 1,
    };
    let key = |unit| PuzzleKey::new(&GlobalNonce([1; 32]), &unit);
    rig.engine.unit_failed(worker(0), &key(A), refused.clone());
    assert!(matches!(rig.engine.units()[0].phase, Phase::Failed(_)));
    assert_eq!(rig.orders(), texts(&[(0, "rest")]));
    rig.prepare(1, 1, B);
    assert_eq!(rig.orders(), texts(&[(1, "prove b 1 9")]));
    rig.engine.retry();
    assert_eq!(rig.orders(), texts(&[(0, "create a")]));
    // A thread without memory of its own.
    rig.engine.worker_failed(worker(1), &key(B), refused);
    assert_eq!(rig.orders(), texts(&[(1, "rest")]));
    assert!(matches!(
        rig.engine.workers()[1].unit.as_ref().unwrap().phase,
        Phase::Failed(_)
    ));
    rig.engine.retry();
    assert_eq!(rig.orders(), texts(&[(1, "prove b 1 9")]));
}
