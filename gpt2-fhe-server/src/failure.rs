//! How mistakes are answered: a status, and one line in JSON.

use std::io;
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use crate::engine::{Refusal, RefusalClass};

/// The most characters of a line.
const LINE_LIMIT: usize = 500;

/// Why something is not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// The status of HTTP.
    pub(crate) status: u16,
    /// What is wrong, and what to do.
    pub(crate) line: String,
    /// When it is worth another attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) retry_seconds: Option<u64>,
}

impl Failure {
    pub(crate) fn new(status: StatusCode, line: impl AsRef<str>) -> Self {
        // One line, whatever libraries put into their messages, and no longer than one can read.
        let words = line.as_ref().split_whitespace().collect::<Vec<_>>().join(" ");
        Self { status: status.as_u16(), line: words.chars().take(LINE_LIMIT).collect(), retry_seconds: None }
    }

    pub(crate) fn bad_request(line: impl AsRef<str>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, line)
    }

    pub(crate) fn not_found(line: impl AsRef<str>) -> Self {
        Self::new(StatusCode::NOT_FOUND, line)
    }

    pub(crate) fn conflict(line: impl AsRef<str>) -> Self {
        Self::new(StatusCode::CONFLICT, line)
    }

    pub(crate) fn too_large(what: &str, limit: u64) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, format!("{what} has at most {limit} bytes here"))
    }

    pub(crate) fn too_slow(seconds: f64) -> Self {
        let line = format!("the body came too slowly, and was given up after {seconds:.0} seconds: send it again");
        Self::new(StatusCode::REQUEST_TIMEOUT, line)
    }

    pub(crate) fn busy(line: impl AsRef<str>, retry: Duration) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, line).after(retry)
    }

    pub(crate) fn stopping() -> Self {
        let line = "the server is shutting down: try again when it has been started again";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, line).after(Duration::from_secs(10))
    }

    pub(crate) fn no_space(line: impl AsRef<str>) -> Self {
        Self::new(StatusCode::INSUFFICIENT_STORAGE, line)
    }

    pub(crate) fn internal(line: impl AsRef<str>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, line)
    }

    /// The same with the time after which to try again.
    pub(crate) fn after(self, retry: Duration) -> Self {
        Self { retry_seconds: Some(retry.as_secs().max(1)), ..self }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let status = match refusal.class {
            RefusalClass::Malformed => StatusCode::BAD_REQUEST,
            RefusalClass::Unfit => StatusCode::UNPROCESSABLE_ENTITY,
            RefusalClass::OutOfOrder => StatusCode::CONFLICT,
            RefusalClass::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            RefusalClass::DiskFull => StatusCode::INSUFFICIENT_STORAGE,
            RefusalClass::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, refusal.line)
    }
}

/// Of the data folder: the other party learns whether it is full, and the log the rest.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        tracing::error!(%error, "the data folder cannot be used");
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::no_space("the server's disk is full: delete answers, texts or keys that are not needed")
            }
            _ => Self::internal("the server cannot use its data folder; its log says why"),
        }
    }
}

/// A response in JSON.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => (status, [(header::CONTENT_TYPE, "application/json")], body).into_response(),
        // Of numbers and text it cannot fail.
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = json(status, &serde_json::json!({ "error": self.line }));
        if let Some(seconds) = self.retry_seconds {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
