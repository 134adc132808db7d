//! Data from its JSON view.

use particle::{
    Tetraplet,
    data::{
        CallState, CanonElement, CanonResult, CidInfo, Data, FoldLore, Generations, Provenance,
        ServiceResult, Signatures, State, Store, Subtrace,
    },
};
use serde_json::Value;

/// Reads the JSON view of data.
pub(crate) fn data(json: &Value) -> Result<Data<'_>, String> {
    let info = field(json, "cid_info")?;
    let mut signatures = Vec::new();
    for (key, signature) in object(field(json, "signatures")?)? {
        signatures.push((base58(key)?, base58(string(signature)?)?));
    }
    Ok(Data {
        trace: array(field(json, "trace")?)?
            .iter()
            .map(state)
            .collect::<Result<_, _>>()?,
        last_call_request_id: number(field(json, "lcid")?)?,
        cid_info: CidInfo {
            values: store(field(info, "value_store")?, string)?,
            tetraplets: store(field(info, "tetraplet_store")?, tetraplet)?,
            canon_elements: store(field(info, "canon_element_store")?, element)?,
            canon_results: store(field(info, "canon_result_store")?, canon_result)?,
            service_results: store(field(info, "service_result_store")?, service_result)?,
        },
        signatures: signatures.into_iter().collect::<Signatures<'_>>(),
    })
}

/// A replay is short, and the data borrows its bytes: they may stay.
fn base58(text: &str) -> Result<&'static [u8], String> {
    let bytes = bs58::decode(text)
        .into_vec()
        .map_err(|error| format!("{text}: {error}"))?;
    Ok(bytes.leak())
}

fn state(json: &Value) -> Result<State<'_>, String> {
    let (kind, content) = variant(json)?;
    Ok(match kind {
        "par" => match array(content)?.as_slice() {
            [left, right] => State::Par {
                left: number(left)?,
                right: number(right)?,
            },
            _ => return Err(format!("par {content}")),
        },
        "call" => State::Call(call(content)?),
        "fold" => State::Fold(
            array(field(content, "lore")?)?
                .iter()
                .map(lore)
                .collect::<Result<_, _>>()?,
        ),
        "ap" => State::Ap(Generations::from(
            array(field(content, "gens")?)?
                .iter()
                .map(number)
                .collect::<Result<Vec<_>, _>>()?,
        )),
        "canon" => match variant(content)? {
            ("sent_by", peer_id) => State::CanonSentBy(string(peer_id)?),
            ("executed", cid) => State::Canon(string(cid)?),
            (other, _) => return Err(format!("canon {other}")),
        },
        other => return Err(format!("state {other}")),
    })
}

fn call(json: &Value) -> Result<CallState<'_>, String> {
    let (kind, content) = variant(json)?;
    if kind == "failed" {
        return Ok(CallState::Failed(string(content)?));
    }
    Ok(match (kind, variant(content)?) {
        ("sent_by", ("PeerId", peer_id)) => CallState::SentBy(string(peer_id)?),
        ("sent_by", ("PeerIdWithCallId", sender)) => CallState::SentByWithId {
            peer_id: string(field(sender, "peer_id")?)?,
            call_id: number(field(sender, "call_id")?)?,
        },
        ("executed", ("scalar", cid)) => CallState::Scalar(string(cid)?),
        ("executed", ("unused", cid)) => CallState::Unused(string(cid)?),
        ("executed", ("stream", value)) => CallState::Stream {
            cid: string(field(value, "cid")?)?,
            generation: number(field(value, "generation")?)?,
        },
        _ => return Err(format!("call {json}")),
    })
}

fn lore(json: &Value) -> Result<FoldLore, String> {
    let mut subtraces = Vec::new();
    for subtrace in array(field(json, "desc")?)? {
        subtraces.push(Subtrace {
            begin_pos: number(field(subtrace, "pos")?)?,
            len: number(field(subtrace, "len")?)?,
        });
    }
    Ok(FoldLore {
        value_pos: number(field(json, "pos")?)?,
        subtraces: subtraces.into(),
    })
}

fn tetraplet(json: &Value) -> Result<Tetraplet<'_>, String> {
    Ok(Tetraplet {
        peer_pk: string(field(json, "peer_pk")?)?,
        service_id: string(field(json, "service_id")?)?,
        function_name: string(field(json, "function_name")?)?,
        lens: string(field(json, "lens")?)?,
    })
}

fn element(json: &Value) -> Result<CanonElement<'_>, String> {
    let provenance = field(json, "provenance")?;
    Ok(CanonElement {
        value: string(field(json, "value")?)?,
        tetraplet: string(field(json, "tetraplet")?)?,
        provenance: match string(field(provenance, "type")?)? {
            "literal" => Provenance::Literal,
            "service_result" => Provenance::ServiceResult(string(field(provenance, "cid")?)?),
            "canon" => Provenance::Canon(string(field(provenance, "cid")?)?),
            other => return Err(format!("provenance {other}")),
        },
    })
}

fn canon_result(json: &Value) -> Result<CanonResult<'_>, String> {
    Ok(CanonResult {
        tetraplet: string(field(json, "tetraplet")?)?,
        values: array(field(json, "values")?)?
            .iter()
            .map(string)
            .collect::<Result<_, _>>()?,
    })
}

fn service_result(json: &Value) -> Result<ServiceResult<'_>, String> {
    Ok(ServiceResult {
        value_cid: string(field(json, "value_cid")?)?,
        argument_hash: string(field(json, "argument_hash")?)?,
        tetraplet_cid: string(field(json, "tetraplet_cid")?)?,
    })
}

fn store<'a, V>(
    json: &'a Value,
    content: impl Fn(&'a Value) -> Result<V, String>,
) -> Result<Store<'a, V>, String> {
    object(json)?
        .iter()
        .map(|(cid, value)| Ok((cid.as_str(), content(value)?)))
        .collect()
}

/// The one field of an object that stands for a variant.
fn variant(json: &Value) -> Result<(&str, &Value), String> {
    let mut fields = object(json)?.iter();
    match (fields.next(), fields.next()) {
        (Some((name, content)), None) => Ok((name, content)),
        _ => Err(format!("expected one field in {json}")),
    }
}

fn field<'a>(json: &'a Value, name: &str) -> Result<&'a Value, String> {
    json.get(name).ok_or_else(|| format!("no field {name}"))
}

fn object(json: &Value) -> Result<&serde_json::Map<String, Value>, String> {
    json.as_object()
        .ok_or_else(|| format!("expected an object, found {json}"))
}

fn array(json: &Value) -> Result<&Vec<Value>, String> {
    json.as_array()
        .ok_or_else(|| format!("expected an array, found {json}"))
}

fn string(json: &Value) -> Result<&str, String> {
    json.as_str()
        .ok_or_else(|| format!("expected a text, found {json}"))
}

fn number(json: &Value) -> Result<u32, String> {
    json.as_u64()
        .and_then(|number| u32::try_from(number).ok())
        .ok_or_else(|| format!("expected a number, found {json}"))
}
