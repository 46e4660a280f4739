//! What a server does with NATS.

use std::future::IntoFuture;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::pull;
use futures_util::StreamExt;
use tfhe_core::format;
use tokio::runtime::{Builder, Runtime};
use tokio::time::{sleep, timeout};

use super::connection::{Link, LinkState, NatsError, NatsOptions, reason};
use super::events::EventQueue;
use super::{keys, names};
use crate::batch::{BatchId, KeyName};
use crate::exchange::{Event, Exchange, ExchangeError};
use crate::info::{PROTOCOL, ServerInfo, WorkerInfo, arithmetic};

/// How long a call waits.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long it is waited before something that failed is done again.
const PAUSE: Duration = Duration::from_millis(500);
/// The most bytes of what a worker says of itself.
const MOST_INFO: usize = 64 << 10;

/// Batches by NATS JetStream, for one run of a server.
///
/// Its functions block, and are for threads outside of tokio. What happens at the same time has threads of its own.
#[derive(Debug)]
pub struct NatsExchange {
    link: Link,
    run: [u8; 16],
    arithmetic: String,
    events: Arc<EventQueue>,
    /// Taken when this is dropped.
    runtime: Option<Runtime>,
}

impl NatsExchange {
    /// Connects, and makes the streams if they are not there. `run` is chosen at random by whoever publishes: its batches are numbered
    /// within it.
    ///
    /// # Errors
    /// [`NatsError`].
    pub fn connect(options: &NatsOptions, run: [u8; 16]) -> Result<Self, NatsError> {
        let runtime = Builder::new_multi_thread().worker_threads(2).thread_name("nats").enable_all().build()?;
        let link = runtime.block_on(async {
            let link = Link::connect(options, ("server", "gpt2-fhe-server")).await?;
            link.make_streams().await?;
            Ok::<_, NatsError>(link)
        })?;
        let events = Arc::new(EventQueue::default());
        runtime.spawn(watch_connection(link.clone(), events.clone()));
        runtime.spawn(receive_results(link.clone(), names::run_name(&run), events.clone()));
        runtime.spawn(receive_workers(link.clone(), events.clone()));
        Ok(Self { link, run, arithmetic: arithmetic(), events, runtime: Some(runtime) })
    }

    fn runtime(&self) -> Result<&Runtime, ExchangeError> {
        self.runtime.as_ref().ok_or_else(|| ExchangeError("it has ended".to_owned()))
    }

    /// Waits for something, not for long.
    fn wait<T>(&self, what: impl Future<Output = Result<T, String>>) -> Result<T, ExchangeError> {
        if !self.link.state.borrow().is_connected {
            return Err(ExchangeError(format!("the NATS server at {} cannot be reached", self.link.url)));
        }
        let done = self.runtime()?.block_on(async { timeout(PATIENCE, what).await });
        done.unwrap_or_else(|_| Err(format!("no answer in {PATIENCE:?}"))).map_err(ExchangeError)
    }
}

impl Drop for NatsExchange {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Exchange for NatsExchange {
    fn publish(&self, id: BatchId, bytes: Vec<u8>) -> Result<(), ExchangeError> {
        let header = format::header(&mut &bytes[..]).map_err(|error| ExchangeError(error.to_string()))?;
        let subject = names::work_subject(&self.arithmetic, &header.identity.set, &names::run_name(&id.run));
        self.wait(async {
            let sent = self.link.jetstream.publish(subject, bytes.into()).await.map_err(|error| reason(&error))?;
            sent.into_future().await.map(drop).map_err(|error| reason(&error))
        })
    }

    fn withdraw(&self) {
        let subject = format!("gpt2fhe.work.{PROTOCOL}.{}.*.{}", self.arithmetic, names::run_name(&self.run));
        let done = self.wait(async {
            let stream = self.link.jetstream.get_stream_no_info(names::WORK_STREAM).await;
            let stream = stream.map_err(|error| reason(&error))?;
            stream.purge().filter(subject).await.map_err(|error| reason(&error))
        });
        match done {
            Ok(purged) => tracing::debug!(batches = purged.purged, "batches are taken back"),
            // They go away by their age.
            Err(error) => tracing::debug!(%error, "batches cannot be taken back"),
        }
    }

    fn next(&self, patience: Duration) -> Option<Event> {
        self.events.next(patience)
    }

    fn message_limit(&self) -> usize {
        self.link.message_limit()
    }

    fn offer_keys(
        &self,
        name: KeyName,
        write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), ExchangeError> {
        keys::offer((&self.link, self.runtime()?.handle()), name, write).map_err(ExchangeError)
    }

    fn tell(&self, info: &ServerInfo) {
        let (Ok(runtime), Ok(bytes)) = (self.runtime(), serde_json::to_vec(info)) else { return };
        if self.link.state.borrow().is_connected {
            let client = self.link.client.clone();
            runtime.spawn(async move { client.publish(names::SERVER_SUBJECT, bytes.into()).await });
        }
    }
}

/// Tells of connections that are lost and made again. What a NATS server has lost is made again before.
async fn watch_connection(link: Link, events: Arc<EventQueue>) {
    let mut state = link.state.clone();
    let mut seen = LinkState { is_connected: true, connections: 1 };
    loop {
        let now = *state.borrow_and_update();
        if seen.is_connected && (!now.is_connected || now.connections != seen.connections) {
            let line = format!("the NATS server at {} cannot be reached", link.url);
            events.push(Event::Disconnected(line));
        }
        if now.is_connected && now.connections != seen.connections {
            if let Err(error) = link.make_streams().await {
                tracing::warn!(%error, "streams cannot be made");
                sleep(PAUSE).await;
                seen.is_connected = false;
                continue;
            }
            events.push(Event::Connected);
        }
        seen = now;
        if state.changed().await.is_err() {
            return;
        }
    }
}

/// Takes results, whatever becomes of connections and streams.
async fn receive_results(link: Link, run: String, events: Arc<EventQueue>) {
    loop {
        let mut state = link.state.clone();
        if state.wait_for(|state| state.is_connected).await.is_err() {
            return;
        }
        state.borrow_and_update();
        match results(&link, &run).await {
            Ok(stream) => tokio::select! {
                () = pass_on(stream, &events) => {}
                // What was asked for before is not answered any more.
                _ = state.changed() => {}
            },
            Err(error) => {
                tracing::debug!(%error, "results cannot be read");
                sleep(PAUSE).await;
                if link.state.borrow().is_connected
                    && let Err(error) = link.make_streams().await
                {
                    tracing::warn!(%error, "streams cannot be made");
                }
            }
        }
    }
}

async fn results(link: &Link, run: &str) -> Result<pull::Stream, String> {
    let stream = link.jetstream.get_stream_no_info(names::RESULT_STREAM).await.map_err(|error| reason(&error))?;
    let consumer = stream.create_consumer(names::result_consumer(run)).await.map_err(|error| reason(&error))?;
    consumer.messages().await.map_err(|error| reason(&error))
}

async fn pass_on(mut results: pull::Stream, events: &EventQueue) {
    while let Some(result) = results.next().await {
        match result {
            Ok(message) => {
                events.push(Event::Result(message.payload.to_vec()));
                // What is not acknowledged comes again, and twice is once.
                let _ = message.ack().await;
            }
            Err(error) => {
                tracing::debug!(%error, "results stop coming in");
                sleep(PAUSE).await;
                return;
            }
        }
    }
}

/// Takes what workers say of themselves.
async fn receive_workers(link: Link, events: Arc<EventQueue>) {
    let Ok(mut workers) = link.client.subscribe(names::WORKER_SUBJECT).await else { return };
    while let Some(message) = workers.next().await {
        if message.payload.len() > MOST_INFO {
            continue;
        }
        // Those of another version may say something else.
        if let Ok(info) = serde_json::from_slice::<WorkerInfo>(&message.payload)
            && info.protocol == PROTOCOL
        {
            events.push(Event::Worker(info));
        }
    }
}
