//! The page, and what it asks for.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{Html, IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures::stream::{self, Stream, StreamExt as _};
use tokio::sync::broadcast::error::RecvError;

use crate::board::Board;

const PAGE: &str = include_str!("page.html");
/// The page needs nothing from elsewhere, and gets nothing from there.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
                      connect-src 'self'; img-src data:";
/// Pages that are served at a time.
const MAX_READERS: usize = 32;

/// `/` is the page, `/events` a stream of what happens, `/particles/<id>` all about one particle.
pub(crate) fn router(board: Arc<Board>) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/events", get(events))
        .route("/particles/{id}", get(particle))
        .with_state(board)
}

async fn page() -> Response {
    ([(header::CONTENT_SECURITY_POLICY, POLICY)], Html(PAGE)).into_response()
}

async fn particle(State(board): State<Arc<Board>>, Path(id): Path<String>) -> Response {
    match board.particle(&id) {
        Some(trail) => Json(trail).into_response(),
        None => (
            StatusCode::NOT_FOUND,
            "there is no such particle any more\n",
        )
            .into_response(),
    }
}

async fn events(State(board): State<Arc<Board>>) -> Response {
    if board.readers() >= MAX_READERS {
        let text = format!("{MAX_READERS} pages are being served\n");
        return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    }
    Sse::new(stream_of(board))
        .keep_alive(KeepAlive::default())
        .into_response()
}

/// First how everything stands, then what changes. Who reads too slowly learns again how
/// everything stands.
fn stream_of(board: Arc<Board>) -> impl Stream<Item = Result<Event, Infallible>> {
    let changes = board.changes();
    let first = message("state", &board.state());
    let rest = stream::unfold((board, changes), |(board, mut changes)| async move {
        let event = match changes.recv().await {
            Ok(text) => message("changes", &text),
            Err(RecvError::Lagged(_)) => message("state", &board.state()),
            Err(RecvError::Closed) => return None,
        };
        Some((event, (board, changes)))
    });
    stream::iter([first]).chain(rest).map(Ok)
}

/// JSON in one line: no text in it can look like the end of a message.
fn message(name: &str, json: &str) -> Event {
    Event::default().event(name).data(json)
}
