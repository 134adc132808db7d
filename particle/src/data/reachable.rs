//! Leaving out what nothing refers to.

use hashbrown::HashSet;

use super::{CallState, CidInfo, Data, Provenance, State, Store};

impl<'a> Data<'a> {
    /// Drops contents to which neither a state nor a content that is kept refers. Readers accept
    /// that; without it data only grow, and anybody can make them.
    pub fn drop_unreferenced(&mut self) {
        let kept = Kept::of(&self.trace, &self.cid_info);
        let info = &mut self.cid_info;
        retain(&mut info.values, &kept.values);
        retain(&mut info.tetraplets, &kept.tetraplets);
        retain(&mut info.canon_elements, &kept.canon_elements);
        retain(&mut info.canon_results, &kept.canon_results);
        retain(&mut info.service_results, &kept.service_results);
    }
}

fn retain<V: Clone>(store: &mut Store<'_, V>, kept: &HashSet<&str>) {
    if store.len() > kept.len() {
        let entries = store.iter().filter(|(cid, _)| kept.contains(cid));
        *store = entries.map(|(cid, value)| (cid, value.clone())).collect();
    }
}

/// CIDs that something refers to.
#[derive(Default)]
struct Kept<'a> {
    values: HashSet<&'a str>,
    tetraplets: HashSet<&'a str>,
    canon_elements: HashSet<&'a str>,
    canon_results: HashSet<&'a str>,
    service_results: HashSet<&'a str>,
}

impl<'a> Kept<'a> {
    fn of(trace: &[State<'a>], info: &CidInfo<'a>) -> Self {
        let mut kept = Self::default();
        // Canons refer to results, and to canons before them.
        let mut open: Vec<Provenance<'a>> = trace
            .iter()
            .filter_map(|state| match state {
                State::Call(
                    CallState::Scalar(cid) | CallState::Stream { cid, .. } | CallState::Failed(cid),
                ) => Some(Provenance::ServiceResult(cid)),
                State::Canon(cid) => Some(Provenance::Canon(cid)),
                _ => None,
            })
            .collect();
        while let Some(reference) = open.pop() {
            match reference {
                Provenance::ServiceResult(cid) if kept.service_results.insert(cid) => {
                    if let Some(result) = info.service_results.get(cid) {
                        kept.values.insert(result.value_cid);
                        kept.tetraplets.insert(result.tetraplet_cid);
                    }
                }
                Provenance::Canon(cid) if kept.canon_results.insert(cid) => {
                    let Some(result) = info.canon_results.get(cid) else {
                        continue;
                    };
                    kept.tetraplets.insert(result.tetraplet);
                    for cid in result.values.iter() {
                        if !kept.canon_elements.insert(cid) {
                            continue;
                        }
                        if let Some(element) = info.canon_elements.get(cid) {
                            kept.values.insert(element.value);
                            kept.tetraplets.insert(element.tetraplet);
                            open.push(element.provenance);
                        }
                    }
                }
                _ => {}
            }
        }
        kept
    }
}
