//! Batches by NATS JetStream.
//!
//! | what | where |
//! |---|---|
//! | batches | stream [`WORK_STREAM`](names::WORK_STREAM), a work queue: each is for one worker, and is there until that says that it is done |
//! | results | stream [`RESULT_STREAM`](names::RESULT_STREAM), a work queue with a consumer for each server's run |
//! | evaluation keys | bucket [`KEY_BUCKET`](names::KEY_BUCKET) of the object store, by the hash of their bytes |
//! | who is there | subjects [`WORKER_SUBJECT`](names::WORKER_SUBJECT) and [`SERVER_SUBJECT`](names::SERVER_SUBJECT), JSON, every second, not kept |
//!
//! Servers make streams and bucket, and make them again where a NATS server has lost them; workers wait for them. What a worker takes it
//! has for [`ACK_WAIT`](names::ACK_WAIT), and for as long again whenever it says that it is still at it: then somebody else gets it.

pub mod connection;
mod events;
pub mod exchange;
mod keys;
pub mod names;
pub mod status;
pub mod worker;

pub use self::connection::{EngineUrl, NatsError, NatsOptions};
pub use self::exchange::NatsExchange;
