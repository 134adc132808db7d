//! `call-parameters-lowering.json`: the image of call parameters in memory.

use marine_runtime::{
    CallParameters, GuestMemory, HostApi, MemoryError, ParticleParameters, SecurityTetraplet,
};
use serde::Deserialize;

use super::{Report, expect, from_hex};

#[derive(Deserialize)]
pub(super) struct Document {
    value: Value,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Value {
    particle: ParticleParameters,
    service_id: String,
    service_creator_peer_id: String,
    host_id: String,
    worker_id: String,
    tetraplets: Vec<Vec<Tetraplet>>,
}

#[derive(Deserialize)]
struct Tetraplet {
    peer_pk: String,
    service_id: String,
    function_name: String,
    lens: String,
}

#[derive(Deserialize)]
struct Case {
    namespace: String,
    allocate_calls: Vec<Allocation>,
    result_ptr: u32,
    memory_from: u32,
    memory_hex: String,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
struct Allocation {
    size: u32,
    tag: u32,
    returned: u32,
}

/// Hands out memory from the front in steps of 16 bytes.
struct Bump {
    memory: Vec<u8>,
    next: u32,
    calls: Vec<Allocation>,
}

impl GuestMemory for Bump {
    fn memory(&mut self) -> &mut [u8] {
        &mut self.memory
    }

    fn allocate(&mut self, size: u32, tag: u32) -> Result<u32, MemoryError> {
        let returned = if size == 0 { 0 } else { self.next };
        self.next += size.next_multiple_of(16);
        self.memory.resize(self.next as usize, 0);
        self.calls.push(Allocation {
            size,
            tag,
            returned,
        });
        Ok(returned)
    }
}

pub(super) fn replay(document: &Document, report: &mut Report) -> Result<(), String> {
    let tetraplet = |tetraplet: &Tetraplet| SecurityTetraplet {
        peer_pk: tetraplet.peer_pk.clone(),
        service_id: tetraplet.service_id.clone(),
        function_name: tetraplet.function_name.clone(),
        lens: tetraplet.lens.clone(),
    };
    let value = &document.value;
    let parameters = CallParameters {
        particle: value.particle.clone(),
        service_id: value.service_id.clone(),
        service_creator_peer_id: value.service_creator_peer_id.clone(),
        host_id: value.host_id.clone(),
        worker_id: value.worker_id.clone(),
        tetraplets: value
            .tetraplets
            .iter()
            .map(|tetraplets| tetraplets.iter().map(tetraplet).collect())
            .collect(),
    };
    for case in &document.cases {
        let name = format!("call-parameters-lowering.json: {}", case.namespace);
        report.record(name, check(&parameters, case));
    }
    Ok(())
}

fn check(parameters: &CallParameters, case: &Case) -> Result<(), String> {
    let api = HostApi::from_namespace(&case.namespace)
        .ok_or_else(|| format!("unknown namespace {}", case.namespace))?;
    let mut guest = Bump {
        memory: Vec::new(),
        next: case.memory_from,
        calls: Vec::new(),
    };
    let pointer = parameters
        .lower(api, &mut guest)
        .map_err(|error| error.to_string())?;
    expect("allocations", guest.calls, case.allocate_calls.clone())?;
    expect("result", pointer, case.result_ptr)?;
    let expected = from_hex(&case.memory_hex)?;
    let start = case.memory_from as usize;
    // The record may end before the last step of the allocator does.
    let image = guest
        .memory
        .get(start..start + expected.len())
        .unwrap_or_default();
    expect("memory", image.to_vec(), expected)
}
