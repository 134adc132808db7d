//! The stores: looking contents up by CID, adding new ones.

use particle::{
    Tetraplet,
    cid::value_cid,
    data::{CanonElement, CanonResult, Provenance, ServiceResult},
};

use super::Vm;
use crate::{
    error::UncatchableError,
    value::{Aggregate, Canon, Json, Origin},
};

fn missing(kind: &'static str, cid: &str) -> UncatchableError {
    UncatchableError::ValueForCidNotFound {
        kind,
        cid: cid.to_owned(),
    }
}

impl<'x> Vm<'x> {
    pub(super) fn service_result(
        &self,
        cid: &str,
    ) -> Result<(&'x str, ServiceResult<'x>), UncatchableError> {
        let found = self.stores.service_results.get_entry(cid);
        let (cid, result) = found.ok_or_else(|| missing("service result aggregate", cid))?;
        Ok((cid, *result))
    }

    pub(super) fn stored_value(&self, cid: &str) -> Result<Json<'x>, UncatchableError> {
        let found = self.stores.values.get_entry(cid);
        let (cid, text) = found.ok_or_else(|| missing("value", cid))?;
        Ok(Json::stored(self.arena, cid, text))
    }

    pub(super) fn stored_origin(&mut self, cid: &str) -> Result<&'x Origin<'x>, UncatchableError> {
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
    pub(super) fn stored_canon(
        &mut self,
        cid: &str,
    ) -> Result<(&'x str, CanonResult<'x>), UncatchableError> {
        let found = self.stores.canon_results.get_entry(cid);
        let (cid, result) = found.ok_or_else(|| missing("canon result aggregate", cid))?;
        Ok((cid, result.clone()))
    }

    pub(super) fn stored_elements(
        &mut self,
        result: &CanonResult<'x>,
    ) -> Result<&'x [Aggregate<'x>], UncatchableError> {
        let mut elements = Vec::with_capacity(result.values.len());
        for cid in result.values.iter() {
            let element = *self
                .stores
                .canon_elements
                .get(cid)
                .ok_or_else(|| missing("canon aggregate", cid))?;
            elements.push(Aggregate {
                value: self.stored_value(element.value)?,
                origin: self.stored_origin(element.tetraplet)?,
                provenance: element.provenance,
                position: 0,
            });
        }
        Ok(self.arena.alloc_slice_copy(&elements))
    }

    /// Puts a value into its store.
    pub(super) fn store_value(&mut self, text: &'x str) -> &'x str {
        let arena = self.arena;
        let cid = value_cid(text);
        self.stores
            .values
            .insert_with(&cid, |cid| arena.alloc_str(cid), || text)
    }

    pub(super) fn store_origin(&mut self, origin: &'x Origin<'x>) -> &'x str {
        let cid = origin.cid(self.arena);
        self.stores
            .tetraplets
            .insert_with(cid, |_| cid, || origin.tetraplet)
    }

    /// Puts a service result into its store.
    pub(super) fn store_service_result(&mut self, result: ServiceResult<'x>) -> &'x str {
        let arena = self.arena;
        // CIDs need no escaping.
        let cid = value_cid(&format!(
            "{{\"value_cid\":\"{}\",\"argument_hash\":\"{}\",\"tetraplet_cid\":\"{}\"}}",
            result.value_cid, result.argument_hash, result.tetraplet_cid
        ));
        self.stores
            .service_results
            .insert_with(&cid, |cid| arena.alloc_str(cid), || result)
    }

    /// Puts the elements of a canon and its result into their stores.
    pub(super) fn store_canon(
        &mut self,
        elements: &'x [Aggregate<'x>],
    ) -> Result<Canon<'x>, UncatchableError> {
        let arena = self.arena;
        let origin = Origin::new(arena, Tetraplet::of_peer(self.current_peer));
        let tetraplet = self.store_origin(origin);
        let mut values = Vec::with_capacity(elements.len());
        let mut json = String::with_capacity(320);
        for element in elements {
            let text = element.value.text(arena)?;
            let value = match element.value.known_cid() {
                Some(cid) if self.stores.values.contains(cid) => cid,
                _ => self.store_value(text),
            };
            let content = CanonElement {
                value,
                tetraplet: self.store_origin(element.origin),
                provenance: element.provenance,
            };
            json.clear();
            push_element(&mut json, &content);
            let cid = value_cid(&json);
            values.push(self.stores.canon_elements.insert_with(
                &cid,
                |cid| arena.alloc_str(cid),
                || content,
            ));
        }
        json.clear();
        json.push_str("{\"tetraplet\":\"");
        json.push_str(tetraplet);
        json.push_str("\",\"values\":[");
        for (index, cid) in values.iter().enumerate() {
            json.push_str(if index == 0 { "\"" } else { ",\"" });
            json.push_str(cid);
            json.push('"');
        }
        json.push_str("]}");
        let cid = value_cid(&json);
        let cid = self.stores.canon_results.insert_with(
            &cid,
            |cid| arena.alloc_str(cid),
            || CanonResult {
                tetraplet,
                values: values.into(),
            },
        );
        Ok(Canon::new(elements, origin, cid))
    }

    /// This peer answers for a result if it is its own.
    pub(super) fn register(&mut self, cid: &'x str, peer_id: &str) {
        if peer_id == self.current_peer {
            self.own_cids.push(cid);
        }
    }
}

fn push_element(json: &mut String, element: &CanonElement<'_>) {
    json.push_str("{\"value\":\"");
    json.push_str(element.value);
    json.push_str("\",\"tetraplet\":\"");
    json.push_str(element.tetraplet);
    json.push_str("\",\"provenance\":{\"type\":\"");
    match element.provenance {
        Provenance::Literal => json.push_str("literal\"}}"),
        Provenance::ServiceResult(cid) => {
            json.push_str("service_result\",\"cid\":\"");
            json.push_str(cid);
            json.push_str("\"}}");
        }
        Provenance::Canon(cid) => {
            json.push_str("canon\",\"cid\":\"");
            json.push_str(cid);
            json.push_str("\"}}");
        }
    }
}
