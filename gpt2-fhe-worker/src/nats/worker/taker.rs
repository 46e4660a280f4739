//! Takes batches of one parameter set, one at a time; there are as many of it as a worker may have batches.

use std::future::IntoFuture;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::{Consumer, pull};
use async_nats::jetstream::{AckKind, Message};
use futures_util::{FutureExt, StreamExt};
use tokio::sync::{Mutex, watch};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::shared::Shared;
use crate::compute::Computed;
use crate::nats::connection::{NatsError, reason};
use crate::nats::names;

/// How long a request for a batch waits at the NATS server before it is made again.
const PULL_TIME: Duration = Duration::from_secs(20);
/// How long it is waited before something that failed is done again.
const PAUSE: Duration = Duration::from_millis(500);
/// How long it is tried to send a result.
const SEND_TIME: Duration = Duration::from_secs(60);
/// How long it is waited until the NATS server knows that a batch is done.
const ACK_TIME: Duration = Duration::from_secs(5);

/// What a worker has, and what it has asked for.
#[derive(Debug)]
pub(super) struct Load {
    threads: usize,
    /// Batches that it has, of all sets.
    taken: usize,
    /// Requests that wait at the NATS server, for each set.
    asked: Vec<usize>,
}

impl Load {
    pub(super) fn new(threads: usize, sets: usize) -> Self {
        Self { threads, taken: 0, asked: vec![0; sets] }
    }

    /// Asks for a batch of a set, if there is a thread for it. One more is asked for when no thread is free, so that the next one finds it
    /// here; not before, as another worker may have a thread for it.
    fn ask(&mut self, set: usize) -> bool {
        let may_have = if self.taken < self.threads { self.threads } else { self.threads + 1 };
        let may = self.taken + self.asked[set] < may_have;
        self.asked[set] += usize::from(may);
        may
    }

    fn answered(&mut self, set: usize, is_taken: bool) {
        self.asked[set] -= 1;
        self.taken += usize::from(is_taken);
    }
}

/// What takers of one set share.
pub(super) struct Taker {
    shared: Arc<Shared>,
    /// Of the whole worker, and which set of it this is.
    load: (Arc<watch::Sender<Load>>, usize),
    config: pull::Config,
    consumer: Mutex<Option<Consumer<pull::Config>>>,
}

impl Taker {
    pub(super) fn new(shared: Arc<Shared>, load: (Arc<watch::Sender<Load>>, usize), config: pull::Config) -> Self {
        Self { shared, load, config, consumer: Mutex::new(None) }
    }

    /// Takes batches until the worker ends.
    pub(super) async fn run(self: Arc<Self>) -> Result<(), NatsError> {
        let mut stopping = self.shared.stopping.clone();
        let (load, set) = (&self.load.0, self.load.1);
        loop {
            let consumer = tokio::select! {
                () = ended(&mut stopping) => return Ok(()),
                consumer = self.may_ask() => consumer?,
            };
            let message = self.pull(&consumer).await;
            load.send_modify(|load| load.answered(set, matches!(message, Ok(Some(_)))));
            match message {
                Ok(Some(message)) => {
                    self.treat(message).await;
                    load.send_modify(|load| load.taken -= 1);
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(error, "no batch can be asked for");
                    *self.consumer.lock().await = None;
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Waits until there is a consumer, and another batch can be asked for; then it counts as asked for.
    async fn may_ask(&self) -> Result<Consumer<pull::Config>, NatsError> {
        let (load, set) = (&self.load.0, self.load.1);
        let consumer = self.consumer().await?;
        let mut changes = load.subscribe();
        while !load.send_if_modified(|load| load.ask(set)) {
            // The sender is ours.
            let _ = changes.changed().await;
        }
        Ok(consumer)
    }

    /// The consumer. Until a server was there, there is none.
    async fn consumer(&self) -> Result<Consumer<pull::Config>, NatsError> {
        let link = &self.shared.link;
        // All takers but one wait here.
        let mut consumer = self.consumer.lock().await;
        let mut has_told = false;
        loop {
            if let Some(consumer) = &*consumer {
                return Ok(consumer.clone());
            }
            let made = async {
                let stream =
                    link.jetstream.get_stream_no_info(names::WORK_STREAM).await.map_err(|error| reason(&error))?;
                stream.create_consumer(self.config.clone()).await.map_err(|error| reason(&error))
            };
            link.begin();
            match made.await {
                Ok(made) => *consumer = Some(made),
                Err(reason) if link.is_forbidden() => return Err(link.failure(reason)),
                Err(reason) => {
                    if !std::mem::replace(&mut has_told, true) {
                        tracing::info!(reason, "waiting for a server: nobody has made the stream of batches yet");
                    }
                    sleep(2 * PAUSE).await;
                }
            }
        }
    }

    /// The next batch, if there is one.
    async fn pull(&self, consumer: &Consumer<pull::Config>) -> Result<Option<Message>, String> {
        let mut state = self.shared.link.state.clone();
        let mut stopping = self.shared.stopping.clone();
        drop(state.wait_for(|state| state.is_connected).await);
        state.borrow_and_update();
        let batch = consumer.batch().max_messages(1).expires(PULL_TIME).messages().await;
        let mut batch = batch.map_err(|error| reason(&error))?;
        let message = tokio::select! {
            message = batch.next() => message,
            // A NATS server forgets what was asked for over a connection that is lost. What it has sent before is here.
            _ = state.changed() => batch.next().now_or_never().flatten(),
            () = ended(&mut stopping) => batch.next().now_or_never().flatten(),
        };
        message.transpose().map_err(|error| error.to_string())
    }

    /// Computes a batch, and sends what it comes to; before it is acknowledged, so that nothing is lost.
    async fn treat(&self, message: Message) {
        let Some(run) = message.subject.rsplit('.').next().map(str::to_owned) else { return };
        let (batch, mut answer) = self.shared.slots.give(message.payload.to_vec());
        let mut progress = interval(names::PROGRESS_INTERVAL);
        progress.set_missed_tick_behavior(MissedTickBehavior::Delay);
        progress.tick().await;
        let mut stopping = self.shared.stopping.clone();
        let mut is_stopping = false;
        let answer = loop {
            tokio::select! {
                answer = &mut answer => break answer,
                _ = progress.tick() => drop(message.ack_with(AckKind::Progress).await),
                () = ended(&mut stopping), if !is_stopping => {
                    is_stopping = true;
                    if batch.take().is_some() {
                        let _ = message.ack_with(AckKind::Nak(None)).await;
                        return;
                    }
                }
            }
        };
        match answer {
            Ok(Ok(computed)) => {
                let sent = self.send(&run, computed).await;
                let done = match &sent {
                    Ok(()) => timeout(ACK_TIME, message.double_ack()).await.map_or(Ok(()), |done| done),
                    Err(_) => message.ack_with(AckKind::Nak(None)).await,
                };
                if let Err(error) = sent.and(done.map_err(|error| error.to_string())) {
                    tracing::warn!(error, "a batch may be computed again by somebody else");
                }
            }
            // It would be no better elsewhere.
            Ok(Err(reason)) => {
                self.shared.counts.refused.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(reason, "a batch cannot be read");
                let _ = message.ack_with(AckKind::Term).await;
            }
            Err(_) => tracing::warn!("no thread computes any more"),
        }
    }

    /// Sends a result until the NATS server says that it has it.
    async fn send(&self, run: &str, computed: Computed) -> Result<(), String> {
        let Shared { link, counts, .. } = &*self.shared;
        counts.batches.fetch_add(1, Ordering::Relaxed);
        counts.rotations.fetch_add(computed.rotations as u64, Ordering::Relaxed);
        counts.microseconds.fetch_add((computed.seconds * 1e6) as u64, Ordering::Relaxed);
        if let Some(reason) = computed.refusal {
            counts.refused.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(reason, "a batch is refused");
        }
        if computed.result.len() > link.message_limit() {
            return Err(format!("a result of {} bytes is more than the NATS server takes", computed.result.len()));
        }
        let begun = Instant::now();
        loop {
            let sent = async {
                let sent = link.jetstream.publish(names::result_subject(run), computed.result.clone().into()).await;
                sent.map_err(|error| reason(&error))?.into_future().await.map(drop).map_err(|error| reason(&error))
            };
            match sent.await {
                Ok(()) => return Ok(()),
                Err(error) if begun.elapsed() > SEND_TIME => return Err(format!("a result cannot be sent: {error}")),
                Err(error) => tracing::debug!(error, "a result cannot be sent yet"),
            }
            sleep(PAUSE).await;
            let mut state = link.state.clone();
            drop(timeout(SEND_TIME, state.wait_for(|state| state.is_connected)).await);
        }
    }
}

/// Waits until the worker is to end.
async fn ended(stopping: &mut watch::Receiver<bool>) {
    drop(stopping.wait_for(|stopping| *stopping).await);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_more_is_taken_only_if_all_threads_are_busy() {
        let mut load = Load::new(2, 2);
        assert_eq!([0, 0, 0, 1, 1, 1].map(|set| load.ask(set)), [true, true, false, true, true, false]);
        load.answered(0, true);
        assert!(!load.ask(0) && !load.ask(1));
        load.answered(0, true);
        assert_eq!([load.ask(0), load.ask(0)], [true, false]);
        load.answered(0, true);
        assert!(!load.ask(0));
        load.taken -= 1;
        assert_eq!([load.ask(0), load.ask(0)], [true, false]);
    }
}
