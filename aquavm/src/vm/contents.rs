//! The stores: looking contents up by CID, adding new ones.

use particle::{
    Tetraplet,
    cid::{CidText, value_cid},
    data::{CanonElement, CanonResult, Content as _, ServiceResult},
};

use super::Vm;
use crate::{
    error::{Fatal, UncatchableError},
    value::{Aggregate, Canon, Json, Origin},
};

fn missing(kind: &'static str, cid: &str) -> UncatchableError {
    UncatchableError::ValueForCidNotFound {
        kind,
        cid: cid.to_owned(),
    }
}

impl<'x> Vm<'_, 'x> {
    #[inline]
    pub(super) fn service_result(&self, cid: &str) -> Result<(&'x str, ServiceResult<'x>), Fatal> {
        let found = self.stores.service_results.get_entry(cid);
        let (cid, result) = found.ok_or_else(|| missing("service result aggregate", cid))?;
        Ok((cid, *result))
    }

    #[inline]
    pub(super) fn stored_value(&self, cid: &str) -> Result<Json<'x>, Fatal> {
        let found = self.stores.values.get_entry(cid);
        let (cid, text) = found.ok_or_else(|| missing("value", cid))?;
        Ok(Json::stored(self.arena, cid, text))
    }

    pub(super) fn stored_origin(&mut self, cid: &str) -> Result<&'x Origin<'x>, Fatal> {
        if let Some(origin) = self.origins.get(cid) {
            return Ok(origin);
        }
        let found = self.stores.tetraplets.get_entry(cid);
        let (cid, tetraplet) = found.ok_or_else(|| missing("tetraplet", cid))?;
        let origin = Origin::with_cid(self.arena, *tetraplet, cid);
        self.origins.insert(cid, origin);
        Ok(origin)
    }

    /// The elements of a canon result and the tetraplet of its peer.
    pub(super) fn stored_canon(&mut self, cid: &str) -> Result<(&'x str, CanonResult<'x>), Fatal> {
        let found = self.stores.canon_results.get_entry(cid);
        let (cid, result) = found.ok_or_else(|| missing("canon result aggregate", cid))?;
        Ok((cid, result.clone()))
    }

    pub(super) fn stored_elements(
        &mut self,
        result: &CanonResult<'x>,
    ) -> Result<&'x [Aggregate<'x>], Fatal> {
        let mut elements = Vec::with_capacity(result.values.len());
        for cid in result.values.iter() {
            let element = *self
                .stores
                .canon_elements
                .get(cid)
                .ok_or_else(|| missing("canon aggregate", cid))?;
            let value = self.stored_value(element.value)?;
            let origin = self.stored_origin(element.tetraplet)?;
            elements.push(Aggregate::new(value, origin, element.provenance));
        }
        Ok(self.arena.alloc_slice(&elements))
    }

    /// Puts a value into its store.
    pub(super) fn store_value(&mut self, text: &'x str) -> &'x str {
        self.store_value_behind(text, &value_cid(text))
    }

    /// Puts a value whose CID is known into its store.
    pub(super) fn store_value_behind(&mut self, text: &'x str, cid: &CidText) -> &'x str {
        let arena = self.arena;
        self.stores
            .values
            .insert_with(cid.as_str(), |cid| arena.alloc_str(cid), || text)
    }

    pub(super) fn store_origin(&mut self, origin: &'x Origin<'x>) -> &'x str {
        let cid = origin.cid(self.arena, &mut self.scratch);
        self.stores
            .tetraplets
            .insert_with(cid, |_| cid, || origin.tetraplet)
    }

    /// Puts a service result into its store.
    pub(super) fn store_service_result(&mut self, result: ServiceResult<'x>) -> &'x str {
        let arena = self.arena;
        let cid = result.cid(&mut self.scratch);
        self.stores
            .service_results
            .insert_with(cid.as_str(), |cid| arena.alloc_str(cid), || result)
    }

    /// Puts the elements of a canon and its result into their stores.
    pub(super) fn store_canon(
        &mut self,
        elements: &'x [Aggregate<'x>],
    ) -> Result<Canon<'x>, Fatal> {
        let arena = self.arena;
        let origin = Origin::new(arena, Tetraplet::of_peer(self.current_peer));
        let tetraplet = self.store_origin(origin);
        let mut values = Vec::with_capacity(elements.len());
        self.stores.values.reserve(elements.len());
        self.stores.canon_elements.reserve(elements.len());
        for element in elements {
            let text = element.value.text(arena)?;
            let value = match element.value.known_cid() {
                Some(cid) if self.stores.values.contains(cid) => cid,
                _ => self.store_value(text),
            };
            let content = CanonElement {
                value,
                tetraplet: self.store_origin(element.origin(arena)),
                provenance: element.provenance,
            };
            let cid = content.cid(&mut self.scratch);
            values.push(self.stores.canon_elements.insert_with(
                cid.as_str(),
                |cid| arena.alloc_str(cid),
                || content,
            ));
        }
        let result = CanonResult {
            tetraplet,
            values: values.into(),
        };
        let cid = result.cid(&mut self.scratch);
        let cid = self.stores.canon_results.insert_with(
            cid.as_str(),
            |cid| arena.alloc_str(cid),
            || result,
        );
        Ok(Canon::new(elements, origin, cid))
    }

    /// This peer answers for a result if it is its own.
    #[inline]
    pub(super) fn register(&mut self, cid: &'x str, peer_id: &str) {
        if peer_id == self.current_peer {
            self.own_cids.push(cid);
        }
    }
}
