//! Recorded runs of the lattice estimator (Albrecht, Player, Scott, J. Math. Cryptol. 2015), `estimates.json`.

use serde::Deserialize;

/// The cost model of the figures that count (MATZOV, 2022). Others are recorded to be shown.
const MODEL: &str = "MATZOV";
/// How far two log2 σ may be apart and be of one key.
const SAME: f64 = 1e-5;

/// All runs.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Estimates {
    /// By key.
    pub keys: Vec<KeyRuns>,
}

/// The runs for one key.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct KeyRuns {
    /// n, or kN.
    pub n: usize,
    /// log2 of the standard deviation of the noise, a fraction of the torus.
    pub log2_sigma: f64,
    /// The runs.
    pub runs: Vec<EstimatorRun>,
}

/// One run.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct EstimatorRun {
    /// The estimator's version.
    pub commit: String,
    /// The attack.
    pub attack: String,
    /// How many samples the attacker has: "oo" for any number.
    pub m: String,
    /// The noise's distribution.
    pub error: String,
    /// The cost model of lattice reduction.
    pub model: String,
    /// log2 of the number of operations.
    pub log2_rop: f64,
}

/// How recorded runs relate to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    /// Of exactly this key.
    Exact,
    /// Of one that is no harder to find.
    NoHarder,
}

impl Estimates {
    /// What is in this program.
    ///
    /// # Errors
    /// If it is no record.
    pub fn recorded() -> Result<Self, serde_json::Error> {
        serde_json::from_str(include_str!("estimates.json"))
    }

    /// The runs for a key, or else the best of those for keys of no larger a dimension and no more noise.
    pub fn find(&self, n: usize, log2_sigma: f64) -> Option<(&KeyRuns, Match)> {
        let exact = self.keys.iter().find(|runs| runs.n == n && (runs.log2_sigma - log2_sigma).abs() < SAME);
        if let Some(runs) = exact {
            return Some((runs, Match::Exact));
        }
        let bits = |runs: &KeyRuns| runs.cheapest().map_or(0.0, |run| run.log2_rop);
        let weaker = self.keys.iter().filter(|runs| runs.n <= n && runs.log2_sigma <= log2_sigma);
        weaker.max_by(|a, b| bits(a).total_cmp(&bits(b))).map(|runs| (runs, Match::NoHarder))
    }

    /// For tests of what is made of other records.
    #[cfg(test)]
    pub(super) fn change(&mut self, change: impl Fn(&mut EstimatorRun)) {
        self.keys.iter_mut().flat_map(|key| &mut key.runs).for_each(change);
    }
}

impl KeyRuns {
    fn of_model(&self) -> impl Iterator<Item = &EstimatorRun> {
        self.runs.iter().filter(|run| run.model == MODEL)
    }

    /// The cheapest attack, of any commit, number of samples and distribution.
    pub fn cheapest(&self) -> Option<&EstimatorRun> {
        self.of_model().min_by(|a, b| a.log2_rop.total_cmp(&b.log2_rop))
    }

    /// The cheapest run of an attack at a commit.
    pub fn least(&self, attack: &str, commit: &str) -> Option<f64> {
        let runs = self.of_model().filter(|run| run.attack == attack && run.commit == commit);
        runs.map(|run| run.log2_rop).reduce(f64::min)
    }

    /// The attacks that were run, in their order.
    pub fn attacks(&self) -> Vec<&str> {
        distinct(self.of_model().map(|run| &*run.attack))
    }

    /// The versions that were run, in their order.
    pub fn commits(&self) -> Vec<&str> {
        distinct(self.of_model().map(|run| &*run.commit))
    }
}

fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = Vec::new();
    for name in names {
        if !seen.contains(&name) {
            seen.push(name);
        }
    }
    seen
}

impl EstimatorRun {
    /// "dual_hybrid at 27a581b, MATZOV, any number of samples".
    pub fn in_words(&self) -> String {
        let samples = if self.m == "oo" { "any number of".into() } else { self.m.clone() };
        format!("{} at commit {}, {} costs, {samples} samples", self.attack, self.commit, self.model)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_can_be_read_and_the_least_is_found() {
        let all = Estimates::recorded().unwrap();
        let (runs, how) = all.find(2048, -49.792_481_25).unwrap();
        assert_eq!((how, runs.cheapest().unwrap().log2_rop), (Match::Exact, 129.46));
        // More noise: that of the same key with less.
        let (runs, how) = all.find(2048, -49.0).unwrap();
        assert_eq!((how, runs.log2_sigma < -49.7), (Match::NoHarder, true));
        assert_eq!(all.find(800, -19.0), None);
        let (small, _) = all.find(896, -19.64).unwrap();
        let [new, old] = ["27a581b", "352ddaf"].map(|commit| small.least("bdd", commit).unwrap());
        assert!((old - new - 24.25).abs() < 0.01);
    }
}
