//! Evaluation keys in the bucket: as they are written, and as they are read.

use std::io::{self, BufReader, Read, Write};
use std::time::Duration;

use async_nats::jetstream::object_store::{GetErrorKind, InfoErrorKind, Object, ObjectMetadata};
use futures_util::stream;
use tokio::io::AsyncReadExt;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::io::StreamReader;

use super::connection::{Link, reason};
use crate::batch::KeyName;
use crate::compute::KeyStream;

/// Bytes of a piece.
const CHUNK: usize = 128 << 10;
/// How many pieces wait between whoever writes and the network.
const CHUNKS_AHEAD: usize = 8;
/// How long it is waited for the next piece.
const PATIENCE: Duration = Duration::from_secs(10);

/// Puts what `write` writes into the bucket, if it does not have it. Not all of it is in memory at any time.
pub(super) fn offer(
    (link, runtime): (&Link, &Handle),
    name: KeyName,
    write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
) -> Result<(), String> {
    let name = name.to_string();
    let bucket = runtime.block_on(link.bucket()).map_err(|error| reason(&error))?;
    match runtime.block_on(bucket.info(&name)) {
        Ok(info) if !info.deleted => return Ok(()),
        Ok(_) => {}
        Err(error) if error.kind() == InfoErrorKind::NotFound => {}
        Err(error) => return Err(reason(&error)),
    }
    let (pieces, receiver) = mpsc::channel::<io::Result<Vec<u8>>>(CHUNKS_AHEAD);
    let put = runtime.spawn(async move {
        let next = |mut receiver: mpsc::Receiver<_>| async {
            let piece: io::Result<Vec<u8>> = receiver.recv().await?;
            Some((piece.map(io::Cursor::new), receiver))
        };
        let mut reader = Box::pin(StreamReader::new(stream::unfold(receiver, next)));
        let metadata = ObjectMetadata { name, chunk_size: Some(CHUNK), ..ObjectMetadata::default() };
        bucket.put(metadata, &mut reader).await.map(drop).map_err(|error| reason(&error))
    });
    let mut writer = Pieces { pieces, piece: Vec::with_capacity(CHUNK) };
    let written = write(&mut writer).and_then(|()| writer.flush());
    if let Err(error) = &written {
        // So that what was sent is no object. If nobody reads any more, that has a reason of its own.
        let _ = writer.pieces.blocking_send(Err(io::Error::new(error.kind(), error.to_string())));
    }
    drop(writer);
    let sent = runtime.block_on(put).map_err(|error| reason(&error))?;
    sent.and(written.map_err(|error| error.to_string()))
}

/// Writes into a channel, in pieces.
struct Pieces {
    pieces: mpsc::Sender<io::Result<Vec<u8>>>,
    piece: Vec<u8>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(CHUNK - self.piece.len());
        self.piece.extend_from_slice(&bytes[..taken]);
        if self.piece.len() == CHUNK {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(CHUNK));
        self.pieces.blocking_send(Ok(piece)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// The keys of this name, as they come in. They are checked by whoever reads them.
pub(super) fn fetch(link: &Link, runtime: &Handle, name: KeyName) -> io::Result<KeyStream> {
    let bucket = runtime.block_on(link.bucket()).map_err(|error| {
        io::Error::new(io::ErrorKind::NotFound, format!("there is no store of keys ({})", reason(&error)))
    })?;
    let object = runtime.block_on(bucket.get(name.to_string())).map_err(|error| match error.kind() {
        GetErrorKind::NotFound => io::Error::new(io::ErrorKind::NotFound, "nobody has put it there"),
        _ => io::Error::other(reason(&error)),
    })?;
    let bytes = object.info().size as u64;
    let input = BufReader::with_capacity(CHUNK, Incoming { runtime: runtime.clone(), object });
    Ok(KeyStream { bytes, input: Box::new(input) })
}

/// Reads an object outside of tokio.
struct Incoming {
    runtime: Handle,
    object: Object,
}

impl Read for Incoming {
    fn read(&mut self, output: &mut [u8]) -> io::Result<usize> {
        let read = self.runtime.block_on(async { timeout(PATIENCE, self.object.read(output)).await });
        read.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "its bytes stopped coming in")))
    }
}
