//! What of the stream after blocks is answered.

use serde::{Deserialize, Serialize};

/// What is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// The stream after the blocks, of all new tokens.
    Stream,
    /// The hidden state after the model's last block, of the last token: all that the next one depends on.
    LastState,
    /// The logits of the token after the last.
    Logits,
}
