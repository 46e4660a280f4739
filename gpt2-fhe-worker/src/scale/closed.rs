//! The closed form: what a call takes if every rotation takes the same time.

use super::cluster::{Cluster, LookupCall, MessageSizes};
use super::durations::{Durations, NoDuration};

/// What decides how long a request takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// The blind rotations: more cores would help.
    Rotations,
    /// One batch of each call, and one call after the other: no number of cores helps, smaller batches would.
    Chain,
    /// What stays with the server: more cores of workers do not help.
    Server,
    /// The way between: bytes, messages that the server writes and reads, and waiting for them.
    Network,
}

impl Binding {
    /// In a word or two.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rotations => "rotations",
            Self::Chain => "one batch a call",
            Self::Server => "server's own work",
            Self::Network => "network",
        }
    }
}

/// How long calls take, as a sum of three parts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ClosedForm {
    /// Of the server's own work.
    pub server: f64,
    /// Of the rotations, on a network that takes no time.
    pub rotations: f64,
    /// The part of these that is left with any number of cores: one batch of each call.
    pub chain: f64,
    /// What the network and its messages add.
    pub network: f64,
    /// Bytes to workers.
    pub bytes_out: f64,
    /// Bytes back.
    pub bytes_back: f64,
}

impl ClosedForm {
    /// Of calls, one after the other.
    ///
    /// # Errors
    /// [`NoDuration`].
    pub fn new(
        calls: &[LookupCall],
        sizes: &MessageSizes,
        durations: &Durations,
        cluster: &Cluster,
    ) -> Result<Self, NoDuration> {
        calls.iter().try_fold(Self::default(), |sum, call| Ok(sum + Self::of_call(call, sizes, durations, cluster)?))
    }

    /// Of one call.
    fn of_call(
        call: &LookupCall,
        sizes: &MessageSizes,
        durations: &Durations,
        cluster: &Cluster,
    ) -> Result<Self, NoDuration> {
        let server = call.own.iter().map(|own| own.seconds_on(cluster.server_cores)).sum();
        let batches = cluster.sizes(call);
        if batches.is_empty() {
            return Ok(Self { server, ..Self::default() });
        }
        // The mean batch: their sizes differ by a block at most.
        let mean_of =
            |of: &dyn Fn(usize) -> f64| batches.iter().map(|&size| of(size)).sum::<f64>() / batches.len() as f64;
        let mean = mean_of(&|size| size as f64);
        let seconds = mean * durations.mean(call.gadget)?;
        let [bytes_out, bytes_back] = [mean_of(&|size| sizes.out(call, size)), mean_of(&|size| sizes.back(call, size))];
        let [out, back] = [bytes_out, bytes_back].map(|bytes| bytes / cluster.bandwidth);
        let [write, read] = [0, 1].map(|which: usize| mean_of(&|size| cluster.message_seconds(size)[which]));
        // So many batches by workers, all others by the server.
        let split = |remote: usize, free: bool| {
            let own = (batches.len() - remote).div_ceil(cluster.helping().max(1)) as f64 * seconds;
            let turns = remote.div_ceil(cluster.workers.max(1)) as f64 * seconds;
            let others = (remote.max(1) - 1) as f64;
            let far = match remote {
                0 => 0.0,
                _ if free => turns,
                _ => {
                    // Cores of the server write and read as many at the same time.
                    let hands = cluster.server_cores.max(1);
                    let turns_of_hands = (remote.div_ceil(hands) - 1) as f64;
                    let slowest = [others * out, others * back, turns_of_hands * write.max(read)];
                    let slowest = slowest.into_iter().map(|before| before + seconds).fold(turns, f64::max);
                    let through = 2.0 * cluster.latency + write + out + back + read + slowest;
                    through.max(remote as f64 * (write + read) / hands as f64)
                }
            };
            far.max(own)
        };
        let possible = match (cluster.workers, cluster.helping()) {
            (0, _) => 0..=0,
            (_, 0) => batches.len()..=batches.len(),
            _ => 0..=batches.len(),
        };
        let best =
            |free| possible.clone().map(|remote| (split(remote, free), remote)).min_by(|a, b| a.0.total_cmp(&b.0));
        let ((rotations, _), (all, remote)) = (best(true).unwrap_or_default(), best(false).unwrap_or_default());
        Ok(Self {
            server,
            rotations,
            chain: seconds,
            network: all - rotations,
            bytes_out: remote as f64 * bytes_out,
            bytes_back: remote as f64 * bytes_back,
        })
    }

    /// All of it.
    pub fn seconds(&self) -> f64 {
        self.server + self.rotations + self.network
    }

    /// The largest part: of the rotations, what more cores would do at the same time and what they would not are two.
    pub fn binding(&self) -> Binding {
        let parts = [
            (self.rotations - self.chain, Binding::Rotations),
            (self.chain, Binding::Chain),
            (self.server, Binding::Server),
            (self.network, Binding::Network),
        ];
        parts.into_iter().max_by(|a, b| a.0.total_cmp(&b.0)).map_or(Binding::Rotations, |(_, binding)| binding)
    }
}

impl std::ops::Add for ClosedForm {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            server: self.server + other.server,
            rotations: self.rotations + other.rotations,
            chain: self.chain + other.chain,
            network: self.network + other.network,
            bytes_out: self.bytes_out + other.bytes_out,
            bytes_back: self.bytes_back + other.bytes_back,
        }
    }
}
