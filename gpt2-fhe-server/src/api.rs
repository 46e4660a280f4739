//! The API: paths, and what is answered at each.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts, Path, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use futures_util::stream::{self, Stream, StreamExt};
use serde::Deserialize;
use serde_json::json as object;
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio_util::io::ReaderStream;

use crate::access::Access;
use crate::failure::{Failure, json};
use crate::folder::Part;
use crate::hub::state::RequestStatus;
use crate::hub::{Hub, Target};
use crate::name::Name;
use crate::upload::{Expected, receive};

/// How often those who follow a request learn how far it is.
const EVENT_INTERVAL: Duration = Duration::from_millis(500);

type Shared = State<Arc<Hub>>;

/// What answers every request.
pub(crate) fn router(hub: Arc<Hub>, access: Access) -> Router {
    let watched = hub.clone();
    let guard = move |request: Request, next: Next| guarded(watched.clone(), access.clone(), request, next);
    Router::new()
        .route("/healthz", get(|| async { json(StatusCode::OK, &object!({ "status": "ok" })) }))
        .route("/metrics", get(metrics))
        .route("/v1/programs", get(programs))
        .route("/v1/keys", put(put_keys))
        .route("/v1/keys/{name}", get(get_keys).delete(delete_keys))
        .route("/v1/texts", post(post_text))
        .route("/v1/texts/{name}", axum::routing::delete(delete_text))
        .route("/v1/requests", post(post_request))
        .route("/v1/requests/{name}", get(get_request).delete(delete_request))
        .route("/v1/requests/{name}/events", get(get_events))
        .route("/v1/requests/{name}/answer", get(get_answer))
        .fallback(|| async { Failure::not_found("there is nothing at this path: the API begins with /v1") })
        .method_not_allowed_fallback(|| async {
            Failure::new(StatusCode::METHOD_NOT_ALLOWED, "this path does not know this method")
        })
        .layer(middleware::from_fn(guard))
        .with_state(hub)
}

/// Asks who asks, and notes what was answered.
async fn guarded(hub: Arc<Hub>, access: Access, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let is_free = path == "/healthz";
    let mut response = match access.check(request.headers()) {
        Err(failure) if !is_free => failure.into_response(),
        _ => next.run(request).await,
    };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let (status, milliseconds) = (response.status().as_u16(), begun.elapsed().as_millis() as u64);
    hub.metrics.responded(status);
    // Of a path that is none, only so much as one can read.
    let path: String = path.chars().filter(|c| !c.is_control()).take(200).collect();
    if status >= 400 {
        tracing::info!(%method, path, status, milliseconds, "mistake answered");
    }
    response
}

/// Runs what uses the disk, or takes its time, where it holds up nobody. It goes on if whoever asked is gone.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> Result<T, Failure> + Send + 'static) -> Result<T, Failure> {
    let failed = |error| {
        tracing::error!(%error, "a task has failed");
        Failure::internal("this failed by a mistake in the server; its log has more")
    };
    tokio::task::spawn_blocking(work).await.map_err(failed)?
}

/// The name in a path.
struct Named(Name);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let name = path.ok().and_then(|Path(text)| Name::parse(&text));
        name.map(Self).ok_or_else(|| Failure::not_found("names have 32 or 64 digits in hex, and this path has none"))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TargetQuery {
    keys: Option<String>,
    text: Option<String>,
}

/// `?keys=NAME&text=NAME`.
impl<S: Send + Sync> FromRequestParts<S> for Target {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Failure> {
        let wrong = |_| Failure::bad_request("the query can have keys=NAME and text=NAME, each once");
        let Query(query) = Query::<TargetQuery>::try_from_uri(&parts.uri).map_err(wrong)?;
        let parse = |text: String| {
            Name::parse(&text).ok_or_else(|| Failure::bad_request("names in the query have 32 or 64 digits in hex"))
        };
        let keys = query.keys.ok_or_else(|| Failure::bad_request("say whose keys: ?keys=NAME"))?;
        Ok(Self { keys: parse(keys)?, text: query.text.map(parse).transpose()? })
    }
}

async fn metrics(State(hub): Shared) -> Result<Response, Failure> {
    let text = hub
        .metrics
        .text(&hub.levels(), &hub.engine_counts())
        .map_err(|_| Failure::internal("figures cannot be written"))?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

async fn programs(State(hub): Shared) -> Response {
    let machine = &hub.machine;
    let limits = object!({ "key_bytes": machine.key_limit(), "request_bytes": machine.request_limit() });
    json(StatusCode::OK, &object!({ "programs": machine.programs(), "limits": limits }))
}

/// Something is deleted, or will be when a computation has stopped.
fn deleted(is_stopping: bool) -> StatusCode {
    if is_stopping { StatusCode::ACCEPTED } else { StatusCode::NO_CONTENT }
}

async fn put_keys(State(hub): Shared, request: Request) -> Result<Response, Failure> {
    hub.state().check_open()?;
    let expected = Expected { part: Part::Keys, what: "a file of keys", limit: hub.machine.key_limit() };
    let (incoming, hash) = receive(&hub, expected, request, Sha256::new()).await?;
    let (name, bytes) = (Name::of_hash(hash), incoming.bytes());
    let body = object!({ "keys": name, "bytes": bytes });
    let is_new = aside(move || hub.admit_keys(incoming, &name)).await?;
    Ok(json(if is_new { StatusCode::CREATED } else { StatusCode::OK }, &body))
}

async fn get_keys(State(hub): Shared, Named(name): Named) -> Result<Response, Failure> {
    let (bytes, texts, unfinished) = hub.describe_keys(&name)?;
    let body = object!({ "keys": name, "bytes": bytes, "texts": texts, "unfinished_requests": unfinished });
    Ok(json(StatusCode::OK, &body))
}

async fn delete_keys(State(hub): Shared, Named(name): Named) -> Result<StatusCode, Failure> {
    aside(move || hub.delete_keys(&name)).await.map(deleted)
}

async fn post_text(State(hub): Shared, target: Target) -> Result<Response, Failure> {
    if target.text.is_some() {
        return Err(Failure::bad_request("the name of a new text is the server's to choose: leave text=NAME out"));
    }
    let text = aside(move || hub.begin_text(&target.keys)).await?;
    Ok(json(StatusCode::CREATED, &object!({ "text": text })))
}

async fn delete_text(State(hub): Shared, Named(name): Named) -> Result<StatusCode, Failure> {
    aside(move || hub.delete_text(&name)).await.map(deleted)
}

async fn post_request(State(hub): Shared, target: Target, request: Request) -> Result<Response, Failure> {
    hub.check_target(&target)?;
    // The name is of what is asked, and with what: the same again is the same request.
    let mut hash = Sha256::new();
    hash.update(target.keys.as_str());
    hash.update([0]);
    hash.update(target.text.as_ref().map_or("", Name::as_str));
    hash.update([0]);
    let expected = Expected { part: Part::Requests, what: "a request", limit: hub.machine.request_limit() };
    let (incoming, hash) = receive(&hub, expected, request, hash).await?;
    let name = Name::of_hash(hash);
    aside(move || {
        let is_new = hub.submit(incoming, &name, &target)?;
        let code = if is_new { StatusCode::ACCEPTED } else { StatusCode::OK };
        Ok(json(code, &hub.status(&name)?))
    })
    .await
}

async fn get_request(State(hub): Shared, Named(name): Named) -> Result<Response, Failure> {
    hub.status(&name).map(|status| json(StatusCode::OK, &status))
}

async fn delete_request(State(hub): Shared, Named(name): Named) -> Result<StatusCode, Failure> {
    aside(move || hub.delete_request(&name)).await.map(deleted)
}

async fn get_answer(State(hub): Shared, Named(name): Named) -> Result<Response, Failure> {
    let opened = hub.clone();
    let (file, bytes) = aside(move || opened.answer(&name)).await?;
    let counted = move |piece: &std::io::Result<axum::body::Bytes>| {
        if let Ok(piece) = piece {
            hub.metrics.bytes_out.inc_by(piece.len() as u64);
        }
    };
    let stream = ReaderStream::new(tokio::fs::File::from_std(file)).inspect(counted);
    let mut response = Body::from_stream(stream).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes));
    Ok(response)
}

async fn get_events(
    State(hub): Shared,
    Named(name): Named,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Failure> {
    hub.status(&name)?;
    let follower = Follower { changed: hub.watch(), hub, name, last: None, is_over: false };
    let events = stream::unfold(follower, |mut follower| async {
        let event = follower.next().await?;
        Some((Ok(event), follower))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

/// Whoever follows a request.
struct Follower {
    hub: Arc<Hub>,
    name: Name,
    changed: watch::Receiver<()>,
    last: Option<RequestStatus>,
    is_over: bool,
}

impl Follower {
    /// What is next to be told: the state, when there is news. The last event is `done`, `failed` or, of a request that was deleted, `gone`.
    async fn next(&mut self) -> Option<Event> {
        while !self.is_over {
            self.changed.mark_unchanged();
            let Ok(status) = self.hub.status(&self.name) else {
                self.is_over = true;
                return Some(Event::default().event("gone").data("{}"));
            };
            // That time has passed is no news.
            let told = self.last.as_ref().map(|last| RequestStatus { seconds: status.seconds, ..last.clone() });
            if told.as_ref() != Some(&status) {
                self.is_over = matches!(status.state, "done" | "failed");
                let data = serde_json::to_string(&status).unwrap_or_default();
                self.last = Some(status.clone());
                return Some(Event::default().event(status.state).data(data));
            }
            // Either is a reason to look again.
            let _ = tokio::time::timeout(EVENT_INTERVAL, self.changed.changed()).await;
        }
        None
    }
}
