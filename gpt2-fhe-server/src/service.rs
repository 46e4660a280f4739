//! The server: it starts, listens, and ends in order.

use std::io;
use std::net::SocketAddr;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use gpt2_fhe_program::{Signals, start_log};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_io_timeout::TimeoutStream;

use crate::access::{Access, AccessError};
use crate::api::router;
use crate::arguments::ServerArguments;
use crate::engine::Engine;
use crate::folder::FolderError;
use crate::hub::Hub;
use crate::keyring::Keyring;

/// How often it is looked for what is over.
const TIDY_INTERVAL: Duration = Duration::from_millis(500);
/// How long it is waited for computations that were told to stop, and for responses that are being sent.
const LEAVE_TIME: Duration = Duration::from_secs(2);
/// The most bytes of a request's head, and of what is read ahead of a body.
const READ_BUFFER: usize = 1 << 16;
/// The most headers of a request.
const MOST_HEADERS: usize = 64;

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Of the token.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// Of the data folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The address cannot be used.
    #[error("cannot listen at {0}: {1}")]
    Listen(SocketAddr, io::Error),
    /// The system gives no threads, or no signals.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

/// A server that runs.
pub struct Service {
    runtime: Runtime,
    hub: Arc<Hub>,
    address: SocketAddr,
    workers: Vec<JoinHandle<()>>,
    /// True: connections are closed.
    closing: watch::Sender<bool>,
    accepting: tokio::task::JoinHandle<()>,
}

/// Runs a server until it is asked to end, by Ctrl-C or SIGTERM. It logs to standard error.
///
/// # Errors
/// [`StartError`].
pub fn run<E: Engine>(engine: E, arguments: &ServerArguments) -> Result<(), StartError> {
    start_log(arguments.log);
    let service = Service::start(engine, arguments)?;
    let mut signals = service.runtime.block_on(async { Signals::listen() })?;
    service.runtime.block_on(signals.next());
    tracing::info!("shutting down: computations have {:?}, a second signal ends them", arguments.grace);
    service.stop_unless(async move { signals.next().await });
    Ok(())
}

impl Service {
    /// Opens the data folder, listens and computes.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start<E: Engine>(engine: E, arguments: &ServerArguments) -> Result<Self, StartError> {
        let access = Access::new(arguments.listen, arguments.token_file.as_deref())?;
        let machine = Arc::new(Keyring::new(engine, arguments.key_memory.as_u64()));
        let hub = Arc::new(Hub::open(machine, arguments.clone())?);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(std::thread::available_parallelism().map_or(1, NonZero::get).min(4))
            .enable_all()
            .build()?;
        let failed = |error| StartError::Listen(arguments.listen, error);
        let listener = runtime.block_on(TcpListener::bind(arguments.listen)).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (closing, closed) = watch::channel(false);
        let accepting = runtime.spawn(accept(listener, router(hub.clone(), access), hub.clone(), closed));
        runtime.spawn(tidy(hub.clone()));
        let worker = |number| {
            let hub = hub.clone();
            std::thread::Builder::new().name(format!("worker {number}")).spawn(move || hub.work())
        };
        let workers = (0..arguments.parallel).map(worker).collect::<io::Result<_>>()?;
        tracing::info!(%address, "listening at http://{address}");
        Ok(Self { runtime, hub, address, workers, closing, accepting })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends the server: nothing new is accepted, and what is being computed may go on for the time that the options give.
    pub fn stop(self) {
        self.stop_unless(std::future::pending());
    }

    /// The same, but no longer than until `hurry` is over.
    fn stop_unless(self, hurry: impl Future<Output = ()>) {
        let hub = &self.hub;
        hub.stop();
        let is_idle = self.runtime.block_on(async {
            tokio::select! {
                _ = timeout(hub.arguments.grace, hub.idle()) => {}
                () = hurry => {}
            }
            hub.leave();
            let is_idle = timeout(LEAVE_TIME, hub.idle()).await.is_ok();
            self.closing.send_replace(true);
            let _ = timeout(2 * LEAVE_TIME, self.accepting).await;
            is_idle
        });
        // A computation that does not stop ends with the process, and begins again at the next start.
        if is_idle {
            self.workers.into_iter().for_each(|worker| drop(worker.join()));
        }
        self.runtime.shutdown_timeout(LEAVE_TIME);
        tracing::info!("stopped");
    }
}

async fn tidy(hub: Arc<Hub>) {
    let mut ticks = interval(TIDY_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let hub = hub.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || hub.tidy()).await {
            tracing::error!(%error, "cannot look for what is over");
        }
    }
}

/// Takes connections until the server closes, as many as may be at a time.
async fn accept(listener: TcpListener, app: Router, hub: Arc<Hub>, mut closed: watch::Receiver<bool>) {
    let permits = Arc::new(Semaphore::new(usize::from(hub.arguments.connections)));
    let graceful = GracefulShutdown::new();
    loop {
        let next = async {
            let permit = permits.clone().acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            next = next => next,
            _ = closed.changed() => break,
        };
        match (permit, accepted) {
            (Ok(permit), Ok((stream, _))) => {
                tokio::spawn(connect(stream, permit, app.clone(), hub.clone(), graceful.watcher()));
            }
            (_, Err(error)) => {
                // Too many open files, and the like: others may be closed meanwhile.
                tracing::warn!(%error, "cannot take a connection");
                sleep(Duration::from_millis(100)).await;
            }
            (Err(_), _) => break,
        }
    }
    drop(listener);
    let _ = timeout(LEAVE_TIME, graceful.shutdown()).await;
}

/// One connection, from its begin to its end.
async fn connect(stream: TcpStream, _permit: OwnedSemaphorePermit, app: Router, hub: Arc<Hub>, watcher: Watcher) {
    hub.connections.fetch_add(1, Ordering::Relaxed);
    let patience = hub.arguments.patience;
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    // Of reading, heads and bodies have limits of their own.
    stream.set_write_timeout(Some(patience));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(patience).max_headers(MOST_HEADERS).max_buf_size(READ_BUFFER);
    let connection = builder.serve_connection(TokioIo::new(Box::pin(stream)), TowerToHyperService::new(app));
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "a connection has ended");
    }
    hub.connections.fetch_sub(1, Ordering::Relaxed);
}
