//! What the plain model of a Hugging Face folder makes of texts, as JSON: one object a line for each text.
//!
//! ```text
//! cargo run --release -p nn --example inspect_gpt2 -- FOLDER --tokens 8 "A text" "Another"
//! ```

use clap::Parser;
use nn::gpt2::{Gpt2, NoHooks, most_likely};
use nn::metrics::cross_entropy;
use nn::tokenizer::Tokenizer;
use serde_json::json;
use std::path::PathBuf;

/// Prints, for each text, its tokens, the mean loss of all but the first in nats, and the likeliest continuation, until
/// the model ends the text.
#[derive(Debug, Parser)]
struct Arguments {
    /// The folder
    folder: PathBuf,
    /// The most tokens to continue by
    #[arg(long, default_value_t = 8)]
    tokens: usize,
    /// The texts
    texts: Vec<String>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let (gpt2, tokenizer) = (Gpt2::load(&arguments.folder)?, Tokenizer::load(&arguments.folder)?);
    let end_tokens = gpt2.config().end_tokens(&tokenizer);
    for text in &arguments.texts {
        let tokens = tokenizer.encode(text)?;
        let mut session = gpt2.session();
        let logits = session.logits(&tokens, &mut NoHooks)?;
        let loss = match tokens.len() {
            1 => None,
            count => Some(cross_entropy(&logits.row_range(0..count - 1), &tokens[1..])?),
        };
        let mut continuation = vec![most_likely(logits.row(logits.rows() - 1))];
        while continuation.len() < arguments.tokens && !end_tokens.contains(&continuation[continuation.len() - 1]) {
            let logits = session.next_logits(&continuation[continuation.len() - 1..], &mut NoHooks)?;
            continuation.push(most_likely(&logits));
        }
        let report = json!({
            "tokens": tokens,
            "loss": loss,
            "logits": logits.row(logits.rows() - 1),
            "continuation": continuation,
            "text": tokenizer.decode(&continuation)?,
        });
        println!("{report}");
    }
    Ok(())
}
