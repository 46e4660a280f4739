//! What a time depends on besides the code: said before the benches, and kept with their results.

use std::fs::read_to_string;
use std::process::Command;
use std::time::Duration;

use tfhe_core::simd::{BACKEND_VARIABLE, Backend, BackendError};

/// Above this part of all cores' time, taken by others, times are those of a busy machine.
const BUSY: f64 = 0.05;

/// For how long that is watched.
const WATCHED: Duration = Duration::from_millis(500);

/// The machine, the program, and how busy the machine is.
#[derive(Clone, Debug)]
pub struct Machine {
    cpu: String,
    threads: usize,
    backend: Backend,
    /// The part of all cores' time that others take; not known everywhere.
    busy: Option<f64>,
}

impl Machine {
    /// The one that this runs on. Takes half a second.
    ///
    /// # Errors
    /// If the environment selects a backend that this CPU does not have.
    pub fn here() -> Result<Self, BackendError> {
        Ok(Self { cpu: cpu(), threads: rayon::current_num_threads(), backend: Backend::selected()?, busy: busy() })
    }

    /// The backend of all kernels.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// A line that says so, if others use the machine.
    pub fn warning(&self) -> Option<String> {
        let busy = self.busy.filter(|&busy| busy > BUSY)?;
        let percent = 100.0 * busy;
        Some(format!("warning: other programs take {percent:.0} % of this machine's cores; times will be too long"))
    }

    /// What it is, a line for each thing, as the items of a list.
    pub fn describe(&self) -> String {
        let backends = Backend::available().map(Backend::name).collect::<Vec<_>>().join(", ");
        let unknown = || "not known".to_owned();
        let others = self.busy.map_or_else(unknown, |busy| format!("{:.0} % of its cores", 100.0 * busy));
        [
            ("CPU", self.cpu.clone()),
            ("threads", self.threads.to_string()),
            ("backend", format!("{} (of {backends}; `{BACKEND_VARIABLE}` chooses)", self.backend)),
            ("other programs take", others),
            ("frequency governor", governor().unwrap_or_else(unknown)),
            ("transparent huge pages", huge_pages().unwrap_or_else(unknown)),
            ("compiler", env!("RUSTC_VERSION").to_owned()),
            ("commit", commit().unwrap_or_else(unknown)),
        ]
        .map(|(name, value)| format!("- {name}: {value}\n"))
        .concat()
    }
}

/// The first value of `key` in /proc/cpuinfo.
fn cpu_field(key: &str) -> Option<String> {
    let text = read_to_string("/proc/cpuinfo").ok()?;
    let of_line =
        |line: &str| line.split_once(':').map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()));
    text.lines().filter_map(of_line).find(|(name, _)| name == key).map(|(_, value)| value)
}

fn cpu() -> String {
    let name = cpu_field("model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    match (cpu_field("cpu family"), cpu_field("model")) {
        (Some(family), Some(model)) => format!("{name} (family {family}, model {model})"),
        _ => name,
    }
}

/// Ticks of all cores so far: (idle, all).
fn ticks() -> Option<(f64, f64)> {
    let text = read_to_string("/proc/stat").ok()?;
    let counts: Vec<f64> =
        text.lines().next()?.split_whitespace().skip(1).map_while(|count| count.parse().ok()).collect();
    // Guests' ticks, the last two, are in the user's as well. Waiting for a disk is idle.
    Some((counts.get(3)? + counts.get(4)?, counts.iter().take(8).sum()))
}

/// How much of all cores' time is taken while this program waits.
fn busy() -> Option<f64> {
    let (idle, all) = ticks()?;
    std::thread::sleep(WATCHED);
    let (idle, all) = ticks().map(|(i, a)| (i - idle, a - all))?;
    (all > 0.0).then(|| 1.0 - idle / all)
}

fn governor() -> Option<String> {
    let text = read_to_string("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").ok()?;
    Some(text.trim().to_owned())
}

/// The chosen one is in brackets.
fn huge_pages() -> Option<String> {
    let text = read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").ok()?;
    Some(text.split_once('[')?.1.split_once(']')?.0.to_owned())
}

fn commit() -> Option<String> {
    let output = Command::new("git").args(["describe", "--always", "--dirty", "--abbrev=12"]).output().ok()?;
    let name = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !name.trim().is_empty()).then(|| name.trim().to_owned())
}
