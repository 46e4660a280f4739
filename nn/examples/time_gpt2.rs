//! Times a folder's model: loading, a forward pass, and tokens one after the other.
//!
//! ```text
//! cargo run --release -p nn --example time_gpt2 -- FOLDER
//! ```

use anyhow::Context;
use nn::gpt2::sampling::Sampler;
use nn::gpt2::{Gpt2, NoHooks};
use std::path::PathBuf;
use std::time::Instant;

/// "Computations on encrypted data can help", in GPT-2's tokens.
const PROMPT: [u32; 8] = [5377, 1996, 602, 319, 19365, 1366, 460, 1037];
/// How many tokens follow, one after the other.
const FOLLOWING: usize = 8;

fn main() -> anyhow::Result<()> {
    let folder = PathBuf::from(std::env::args_os().nth(1).context("give the folder of a model")?);
    let start = Instant::now();
    let model = Gpt2::load(&folder)?;
    println!("load                 {:.3} s", start.elapsed().as_secs_f64());

    let vocabulary = model.config().vocab_size as u32;
    let prompt = PROMPT.map(|token| token % vocabulary);
    for _ in 0..3 {
        let start = Instant::now();
        model.logits(&prompt, &mut NoHooks)?;
        println!("forward, 8 tokens    {:.3} s", start.elapsed().as_secs_f64());
    }

    let (mut session, mut sampler) = (model.session(), Sampler::greedy());
    let mut logits = session.next_logits(&prompt, &mut NoHooks)?;
    let start = Instant::now();
    for _ in 0..FOLLOWING {
        let next = sampler.sample(&logits)?;
        logits = session.next_logits(&[next], &mut NoHooks)?;
    }
    println!("one token more       {:.3} s", start.elapsed().as_secs_f64() / FOLLOWING as f64);
    if let Some(peak) = peak_memory() {
        println!("peak memory          {peak}");
    }
    Ok(())
}

/// The most memory that the process has had resident, as Linux tells it.
fn peak_memory() -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().to_string())
}
