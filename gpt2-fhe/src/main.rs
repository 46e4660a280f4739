//! The program `gpt2-fhe`: GPT-2's attention on encrypted data, from the command line.
#![deny(unsafe_code)]

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
