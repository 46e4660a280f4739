//! Stopping: Ctrl-C, and the other signals with which a process is asked to end.
//!
//! One thread waits for them. It takes back what is half done (new files, a progress bar, half a line), says so in one
//! line, and ends the process, wherever the computation is: in the middle of a long step as well as between two.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::Context;

use super::{files, output, progress, remote};

/// How long the process goes on at most after a signal, should the disk or the terminal not answer.
const GRACE: Duration = Duration::from_millis(800);

/// From now on a signal ends the process in order.
///
/// # Errors
/// That the system does not let a handler be installed, or the thread be started.
pub(super) fn watch() -> anyhow::Result<()> {
    let signals = signals::listen().context("cannot install the handler of Ctrl-C")?;
    let wait = move || stop(signals::first(signals));
    thread::Builder::new().name("signals".into()).spawn(wait).context("cannot start the thread that Ctrl-C needs")?;
    Ok(())
}

/// Tidies up and ends the process with the code that shells give a process which `signal` ended.
fn stop(signal: i32) -> ! {
    let (done, tidied) = mpsc::channel();
    let tidy = move || {
        let written = files::abandon();
        progress::abandon();
        remote::abandon();
        output::abandon(&written);
        // Nobody waits any more if the grace has passed.
        let _ = done.send(());
    };
    match thread::Builder::new().spawn(tidy) {
        Ok(_) => {
            // Either it is tidy, or there is no more time.
            let _ = tidied.recv_timeout(GRACE);
        }
        // Without a thread for it, the files at least.
        Err(_) => drop(files::abandon()),
    }
    std::process::exit(128 + signal)
}

#[cfg(unix)]
mod signals {
    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use signal_hook::consts::{
        SIGALRM, SIGHUP, SIGINT, SIGPROF, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGVTALRM, SIGXCPU,
    };
    use signal_hook::iterator::Signals;

    /// Interrupted, asked to end, left by the terminal, out of time, or with what a batch system announces any of that.
    const SIGNALS: [i32; 10] =
        [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGXCPU, SIGALRM, SIGVTALRM, SIGPROF, SIGUSR1, SIGUSR2];

    /// Installs the handlers. A process that was started to outlive its terminal, as by `nohup`, does.
    pub(super) fn listen() -> io::Result<Signals> {
        // A file beyond its allowed size is an error of writing then, and does not end the process.
        signal_hook::flag::register(libc::SIGXFSZ, Arc::new(AtomicBool::new(false)))?;
        let stays = ignores(SIGHUP);
        Signals::new(SIGNALS.iter().filter(|&&signal| signal != SIGHUP || !stays))
    }

    /// The number of the first signal that comes.
    pub(super) fn first(mut signals: Signals) -> i32 {
        signals.forever().next().unwrap_or(SIGTERM)
    }

    /// Whether the process was started to ignore a signal, where the system says so (Linux).
    fn ignores(signal: i32) -> bool {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        // A bit for each signal, from the lowest on.
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
        mask >> (signal - 1) & 1 == 1
    }
}

#[cfg(not(unix))]
mod signals {
    use std::sync::mpsc;

    /// Ctrl-C, by the number that it has elsewhere.
    const INTERRUPT: i32 = 2;

    pub(super) fn listen() -> Result<mpsc::Receiver<()>, ctrlc::Error> {
        let (sender, receiver) = mpsc::channel();
        ctrlc::set_handler(move || drop(sender.send(())))?;
        Ok(receiver)
    }

    pub(super) fn first(signals: mpsc::Receiver<()>) -> i32 {
        match signals.recv() {
            Ok(()) => INTERRUPT,
            // The sender lives as long as the process.
            Err(_) => loop {
                std::thread::park();
            },
        }
    }
}
