//! The OpenAPI document of a gateway.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::functions::Function;
use crate::types::object_schema;

/// Describes the functions, and the listeners by their routes.
pub(crate) fn document(
    functions: &BTreeMap<String, Function>,
    listeners: &BTreeMap<String, String>,
    with_keys: bool,
) -> Value {
    let calls = functions
        .values()
        .map(|function| (format!("/call/{}", function.name), path(function)));
    let routes = listeners
        .iter()
        .map(|(route, function)| (route.clone(), listener(route, function)));
    let paths: Map<String, Value> = calls.chain(routes).collect();
    let mut document = json!({
        "openapi": "3.1.0",
        "info": { "title": "Aqua functions", "version": env!("CARGO_PKG_VERSION") },
        "paths": paths,
        "components": { "schemas": { "Error": {
            "type": "object",
            "properties": { "error": {} },
            "required": ["error"],
        }}},
    });
    if with_keys && let Some(document) = document.as_object_mut() {
        document.insert("security".to_owned(), json!([{ "key": [] }]));
        if let Some(components) = document
            .get_mut("components")
            .and_then(Value::as_object_mut)
        {
            let scheme =
                json!({ "key": { "type": "apiKey", "in": "header", "name": "x-api-key" } });
            components.insert("securitySchemes".to_owned(), scheme);
        }
    }
    document
}

fn path(function: &Function) -> Value {
    let result = match function.results.as_slice() {
        [] => json!({ "type": "null" }),
        [only] => only.schema(),
        several => json!({
            "type": "array",
            "prefixItems": several.iter().map(|kind| kind.schema()).collect::<Vec<_>>(),
        }),
    };
    let events: Vec<&str> = function.events().map(|(name, _)| name).collect();
    let stream = match events.as_slice() {
        [] => "server-sent events: `result` or `error`".to_owned(),
        names => format!(
            "server-sent events: {}, then `result` or `error`",
            names.join(", ")
        ),
    };
    json!({ "post": {
        "operationId": function.name,
        "summary": function.description,
        "requestBody": { "required": true, "content": { "application/json": {
            "schema": object_schema(function.values()) } } },
        "responses": {
            "200": { "description": "The result.", "content": {
                "application/json": { "schema": result },
                "text/event-stream": { "schema": { "type": "string", "description": stream } },
            }},
            "400": failed("Arguments that are not of their types."),
            "401": failed("No key, or one that nobody has."),
            "429": failed("Too many calls with this key; `retry-after` says when to come back."),
            "502": failed("What the script reported, or no way to the relay."),
            "503": failed("Too many calls at a time."),
            "504": failed("It took longer than it may."),
        },
    }})
}

fn listener(route: &str, function: &str) -> Value {
    json!({ "post": {
        "operationId": format!("listener {route}"),
        "summary": format!("Gives the request to `{function}`, which nobody waits for; any method does."),
        "requestBody": { "content": { "*/*": {} } },
        "responses": {
            "202": { "description": "The particle that was made.", "content": { "application/json": {
                "schema": {
                    "type": "object",
                    "properties": { "particle": { "type": "string" } },
                    "required": ["particle"],
                },
            }}},
            "401": failed("No key, or one that nobody has."),
            "429": failed("Too many calls with this key; `retry-after` says when to come back."),
            "502": failed("No way to the relay."),
            "503": failed("Too many calls at a time."),
        },
    }})
}

fn failed(text: &str) -> Value {
    json!({
        "description": text,
        "content": { "application/json": {
            "schema": { "$ref": "#/components/schemas/Error" } } },
    })
}
