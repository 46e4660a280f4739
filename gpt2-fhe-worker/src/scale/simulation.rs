//! A simulation by events: a server with a queue of batches, whose cores write them and read results, a way to workers and back that carries one message
//! after the other, and workers that take batches in order, each of which takes as long as one that was recorded. What the last batches of a call wait for, and what the
//! slow ones do to all that comes after, appear by themselves.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};

use super::cluster::{Cluster, LookupCall, MessageSizes};
use super::durations::{Durations, NoDuration};

/// What a simulated request did.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Simulated {
    /// From its beginning to its end.
    pub seconds: f64,
    /// Of these, with nothing but the server's own work.
    pub server: f64,
    /// Seconds of computing batches, of all cores together.
    pub computing: f64,
    /// Batches that workers computed.
    pub by_workers: usize,
    /// All batches.
    pub batches: usize,
    /// Bytes to workers.
    pub bytes_out: f64,
    /// Bytes back.
    pub bytes_back: f64,
}

/// Simulates calls, one after the other. `batches`: the sizes of each call's batches, if they are not the cluster's.
///
/// # Errors
/// [`NoDuration`].
pub fn simulate(
    (calls, batches): (&[LookupCall], Option<&[Vec<usize>]>),
    sizes: &MessageSizes,
    durations: &Durations,
    cluster: &Cluster,
    seed: u64,
) -> Result<Simulated, NoDuration> {
    let mut numbers = SplitMix64(seed);
    let mut simulated = Simulated::default();
    for (index, call) in calls.iter().enumerate() {
        let server = call.own.iter().map(|own| own.seconds_on(cluster.server_cores)).sum::<f64>();
        simulated.server += server;
        simulated.seconds += server;
        let cut = batches.and_then(|batches| batches.get(index)).cloned().unwrap_or_else(|| cluster.sizes(call));
        let seconds = cut.iter().map(|&rotations| Ok(rotations as f64 * durations.drawn(call.gadget, numbers.next())?));
        let seconds = seconds.collect::<Result<Vec<f64>, NoDuration>>()?;
        let bytes = |of: &dyn Fn(&LookupCall, usize) -> f64| cut.iter().map(|&rotations| of(call, rotations)).collect();
        let out: Vec<f64> = bytes(&|call, rotations| sizes.out(call, rotations));
        let back: Vec<f64> = bytes(&|call, rotations| sizes.back(call, rotations));
        simulated.computing += seconds.iter().sum::<f64>();
        simulated.batches += cut.len();
        let mut waiting = Waiting::new(cluster, (&cut, &seconds), [&out, &back]);
        simulated.seconds += waiting.run();
        simulated.by_workers += waiting.by_workers;
        simulated.bytes_out += waiting.bytes[0];
        simulated.bytes_back += waiting.bytes[1];
    }
    Ok(simulated)
}

/// What happens, and to which batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Happening {
    /// A core of the server has written a batch.
    Written(usize),
    /// The way out is free.
    Sent,
    /// A batch is where workers take theirs.
    Arrived(usize),
    /// A worker has computed one.
    Computed(usize),
    /// The way back is free.
    Returned,
    /// A result is with the server.
    Result(usize),
    /// A core of the server has read it.
    Read,
    /// A core of the server has computed a batch.
    OwnComputed,
}

/// An event: earlier ones first, and of one time those that were known first.
#[derive(Clone, Copy, Debug)]
struct Event {
    time: f64,
    order: usize,
    what: Happening,
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Event {}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Event {
    fn cmp(&self, other: &Self) -> Ordering {
        // The heap gives the largest.
        other.time.total_cmp(&self.time).then(other.order.cmp(&self.order))
    }
}

/// A call that is waited for.
struct Waiting<'a> {
    cluster: &'a Cluster,
    /// Of each batch: its rotations, how long they take, bytes out and back.
    rotations: &'a [usize],
    seconds: &'a [f64],
    out: &'a [f64],
    back: &'a [f64],
    events: BinaryHeap<Event>,
    known: usize,
    /// Batches that nobody has yet: workers' are taken from the front, the server's own from the back.
    left: VecDeque<usize>,
    /// Written ones that wait for the way out.
    written: VecDeque<usize>,
    /// Where workers take theirs.
    queue: VecDeque<usize>,
    /// Results that wait for the way back.
    results: VecDeque<usize>,
    /// Results with the server that nobody has read.
    unread: VecDeque<usize>,
    /// Cores of the server that neither write nor read.
    idle_hands: usize,
    idle_workers: usize,
    idle_cores: usize,
    is_sending: bool,
    is_returning: bool,
    in_flight: usize,
    by_workers: usize,
    bytes: [f64; 2],
}

impl<'a> Waiting<'a> {
    fn new(cluster: &'a Cluster, (rotations, seconds): (&'a [usize], &'a [f64]), [out, back]: [&'a [f64]; 2]) -> Self {
        Self {
            cluster,
            rotations,
            seconds,
            out,
            back,
            events: BinaryHeap::new(),
            known: 0,
            left: (0..seconds.len()).collect(),
            written: VecDeque::new(),
            queue: VecDeque::new(),
            results: VecDeque::new(),
            unread: VecDeque::new(),
            idle_hands: cluster.server_cores.max(1),
            idle_workers: cluster.workers,
            idle_cores: cluster.helping(),
            is_sending: false,
            is_returning: false,
            in_flight: 0,
            by_workers: 0,
            bytes: [0.0; 2],
        }
    }

    /// Until all results are there: how long that takes.
    fn run(&mut self) -> f64 {
        let mut now = 0.0;
        self.begin(now);
        while let Some(Event { time, what, .. }) = self.events.pop() {
            now = time;
            match what {
                Happening::Written(batch) => {
                    self.idle_hands += 1;
                    self.written.push_back(batch);
                }
                Happening::Sent => self.is_sending = false,
                Happening::Arrived(batch) => self.queue.push_back(batch),
                Happening::Computed(batch) => {
                    self.idle_workers += 1;
                    self.results.push_back(batch);
                }
                Happening::Returned => self.is_returning = false,
                Happening::Result(batch) => self.unread.push_back(batch),
                Happening::Read => {
                    self.idle_hands += 1;
                    self.in_flight -= 1;
                }
                Happening::OwnComputed => self.idle_cores += 1,
            }
            self.begin(now);
        }
        now
    }

    /// Begins whatever can be begun.
    fn begin(&mut self, now: f64) {
        let Cluster { workers, bandwidth, latency, in_flight, .. } = *self.cluster;
        // Results first: whoever computed them waits for the next batch.
        while self.idle_hands > 0
            && let Some(batch) = self.unread.pop_front()
        {
            self.idle_hands -= 1;
            self.note(now + self.message_seconds(batch)[1], Happening::Read);
        }
        while self.idle_hands > 0
            && self.in_flight < workers * in_flight.max(1)
            && let Some(batch) = self.left.pop_front()
        {
            self.idle_hands -= 1;
            (self.in_flight, self.by_workers) = (self.in_flight + 1, self.by_workers + 1);
            self.note(now + self.message_seconds(batch)[0], Happening::Written(batch));
        }
        if !self.is_sending
            && let Some(batch) = self.written.pop_front()
        {
            self.is_sending = true;
            self.bytes[0] += self.out[batch];
            let sent = now + self.out[batch] / bandwidth;
            self.note(sent, Happening::Sent);
            self.note(sent + latency, Happening::Arrived(batch));
        }
        while self.idle_workers > 0
            && let Some(batch) = self.queue.pop_front()
        {
            self.idle_workers -= 1;
            self.note(now + self.seconds[batch], Happening::Computed(batch));
        }
        if !self.is_returning
            && let Some(batch) = self.results.pop_front()
        {
            self.is_returning = true;
            self.bytes[1] += self.back[batch];
            let sent = now + self.back[batch] / bandwidth;
            self.note(sent, Happening::Returned);
            self.note(sent + latency, Happening::Result(batch));
        }
        while self.idle_cores > 0
            && let Some(batch) = self.left.pop_back()
        {
            self.idle_cores -= 1;
            self.note(now + self.seconds[batch], Happening::OwnComputed);
        }
    }

    /// Of writing a batch, and of reading its result.
    fn message_seconds(&self, batch: usize) -> [f64; 2] {
        self.cluster.message_seconds(self.rotations[batch])
    }

    fn note(&mut self, time: f64, what: Happening) {
        self.known += 1;
        self.events.push(Event { time, order: self.known, what });
    }
}

/// A generator of numbers for simulations (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014, section 4).
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
