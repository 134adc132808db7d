//! JSON-RPC over a WebSocket, at the port of HTTP: a message is a request, and its answer a message.

use std::time::Duration;

use axum::{
    body::Bytes,
    extract::{
        State,
        ws::{Message, WebSocket, WebSocketUpgrade, rejection::WebSocketUpgradeRejection},
    },
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use tokio::time::timeout;

use super::http::{MAX_REQUEST, PATIENCE, Shared};

/// Silence after which a sign of life is asked for; after as much again the connection ends.
const SILENCE: Duration = Duration::from_secs(60);

/// Opens a WebSocket.
pub(super) async fn open(
    State(shared): State<Shared>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    if let Err(refusal) = shared.allow(&headers) {
        return refusal.into_response();
    }
    let Ok(upgrade) = upgrade else {
        let wanted = [(header::UPGRADE, "websocket")];
        let reason = "expected POST, or a WebSocket";
        return (StatusCode::UPGRADE_REQUIRED, wanted, reason).into_response();
    };
    // Browsers say this for every page, and let any page connect to the machine of its reader.
    if headers.contains_key(header::ORIGIN) {
        let reason = "pages of browsers have no access";
        return (StatusCode::FORBIDDEN, reason).into_response();
    }
    upgrade
        .max_message_size(MAX_REQUEST)
        .max_frame_size(MAX_REQUEST)
        .on_upgrade(|socket| converse(socket, shared))
}

/// Answers one request after the other until the other side goes, or breaks a rule.
async fn converse(mut socket: WebSocket, shared: Shared) {
    let mut asked = false;
    loop {
        let message = match timeout(SILENCE, socket.recv()).await {
            Ok(Some(Ok(message))) => message,
            Ok(Some(Err(_)) | None) => return,
            Err(_) if asked => return,
            Err(_) => {
                asked = true;
                if !send(&mut socket, Message::Ping(Bytes::new())).await {
                    return;
                }
                continue;
            }
        };
        asked = false;
        let request = match message {
            Message::Text(text) => Bytes::from(text),
            Message::Binary(bytes) => bytes,
            // The library answers these.
            Message::Ping(_) | Message::Pong(_) => continue,
            Message::Close(_) => return,
        };
        let Ok(answer) = shared.answer(request).await else {
            return;
        };
        if let Some(answer) = answer
            && !send(&mut socket, Message::Text(answer.into())).await
        {
            return;
        }
    }
}

/// Whether the other side took it in time.
async fn send(socket: &mut WebSocket, message: Message) -> bool {
    matches!(timeout(PATIENCE, socket.send(message)).await, Ok(Ok(())))
}
