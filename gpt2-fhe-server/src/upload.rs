//! Bodies that come in: to the disk as they come, within limits of size, time and room.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt;
use sha2::{Digest, Sha256};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use crate::failure::Failure;
use crate::folder::Part;
use crate::hub::{Hub, Incoming};

/// What is still read of a body that is refused, so that whoever sends it is ready to read why.
const DRAINED_BYTES: usize = 1 << 20;
const DRAINED_TIME: Duration = Duration::from_secs(1);

/// What is expected.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    pub(crate) part: Part,
    /// In words, as the subject of a sentence.
    pub(crate) what: &'static str,
    pub(crate) limit: u64,
}

/// Takes a body into a file of its own, which is on the disk then, and goes on with its hash.
///
/// # Errors
/// Status 411, 413, 408, 507; 400 if the body is not whole.
pub(crate) async fn receive(
    hub: &Arc<Hub>,
    expected: Expected,
    request: Request,
    mut hash: Sha256,
) -> Result<(Incoming, Sha256), Failure> {
    check_has_length(request.headers())?;
    let mut body = request.into_body();
    // Nothing is reserved for what is only announced.
    let announced = body.size_hint().exact().unwrap_or(0);
    if announced > expected.limit {
        return Err(Failure::too_large(expected.what, expected.limit));
    }
    let (mut incoming, file) = Incoming::new(hub, expected.part)?;
    incoming.check_room(announced)?;
    let mut file = File::from_std(file);
    let taken = take(hub, expected, &mut body, &mut incoming, &mut file, &mut hash).await;
    // What a task of the disk still does comes before the file is removed or named.
    let flushed = async { file.flush().await.and(file.sync_all().await) }.await;
    if let Err(failure) = taken {
        drain(body).await;
        return Err(failure);
    }
    flushed?;
    Ok((incoming, hash))
}

/// A body without a length, and not in chunks either, would count as empty.
fn check_has_length(headers: &HeaderMap) -> Result<(), Failure> {
    if headers.contains_key(header::CONTENT_LENGTH) || headers.contains_key(header::TRANSFER_ENCODING) {
        return Ok(());
    }
    let line = "the body has no length: send Content-Length, or Transfer-Encoding: chunked";
    Err(Failure::new(StatusCode::LENGTH_REQUIRED, line))
}

async fn take(
    hub: &Hub,
    expected: Expected,
    body: &mut Body,
    incoming: &mut Incoming,
    file: &mut File,
    hash: &mut Sha256,
) -> Result<(), Failure> {
    let pace = Pace::new(hub);
    while let Some(bytes) = pace.wait(incoming.bytes(), next_bytes(body)).await? {
        let bytes = bytes.map_err(|()| Failure::bad_request("the body ended before it was whole: send it again"))?;
        if incoming.bytes() + bytes.len() as u64 > expected.limit {
            return Err(Failure::too_large(expected.what, expected.limit));
        }
        incoming.grow(bytes.len() as u64)?;
        hub.metrics.bytes_in.inc_by(bytes.len() as u64);
        hash.update(&bytes);
        file.write_all(&bytes).await.map_err(|error: io::Error| Failure::from(error))?;
    }
    Ok(())
}

/// The next bytes of a body, `None` at its end.
async fn next_bytes(body: &mut Body) -> Option<Result<Bytes, ()>> {
    loop {
        match body.frame().await? {
            // Others are trailers.
            Ok(frame) => match frame.into_data() {
                Ok(bytes) => return Some(Ok(bytes)),
                Err(_) => continue,
            },
            Err(_) => return Some(Err(())),
        }
    }
}

/// How fast bytes have to come.
struct Pace {
    begun: Instant,
    patience: Duration,
    /// Bytes a second.
    slowest: f64,
}

impl Pace {
    fn new(hub: &Hub) -> Self {
        let slowest = (hub.arguments.slowest.as_u64() as f64).max(1.0);
        Self { begun: Instant::now(), patience: hub.arguments.patience, slowest }
    }

    /// Waits for what comes after so many bytes: no longer than the patience, and than the slowest pace allows in all.
    async fn wait<T>(&self, bytes: u64, next: impl Future<Output = T>) -> Result<T, Failure> {
        // A body at the slowest pace for a thousand years would be no reason to overflow.
        let at_pace = Duration::from_secs_f64((bytes as f64 / self.slowest).min(3e10));
        let left = (self.patience + at_pace).saturating_sub(self.begun.elapsed());
        let late = |_| Failure::too_slow(self.begun.elapsed().as_secs_f64());
        timeout(left.min(self.patience), next).await.map_err(late)
    }
}

async fn drain(mut body: Body) {
    let drained = async {
        let mut bytes = 0;
        while bytes < DRAINED_BYTES {
            match next_bytes(&mut body).await {
                Some(Ok(more)) => bytes += more.len(),
                _ => return,
            }
        }
    };
    // Whether or not it has ended.
    let _ = timeout(DRAINED_TIME, drained).await;
}
