//! The forward pass.

use super::hooks::{ForwardHooks, Intermediate, NoHooks, Site};
use super::{Block, Config, Gpt2};
use crate::attention::HeadTrace;
use crate::error::Error;
use crate::matrix::Matrix;

impl Gpt2 {
    /// The logits of the token after each token, `[T, V]`.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if there is no token or more than the model has positions, [`Error::UnknownToken`],
    /// [`Error::Hook`], and [`Error::Shape`] or [`Error::OutOfRange`] if a replaced head does not fit.
    pub fn logits(&self, tokens: &[u32], hooks: &mut impl ForwardHooks) -> Result<Matrix<f32>, Error> {
        let hidden = self.hidden(tokens, hooks)?;
        let logits = self.output_logits(&hidden);
        hooks.observe(Site::model(Intermediate::Logits), &logits);
        Ok(logits)
    }

    /// The most likely token after the last one. Only its row of logits is computed.
    ///
    /// # Errors
    /// As [`Self::logits`].
    pub fn next_token(&self, tokens: &[u32], hooks: &mut impl ForwardHooks) -> Result<u32, Error> {
        Ok(most_likely(&self.next_logits(tokens, hooks)?))
    }

    /// The logits of the token after the last one, `[V]`.
    ///
    /// # Errors
    /// As [`Self::logits`].
    pub fn next_logits(&self, tokens: &[u32], hooks: &mut impl ForwardHooks) -> Result<Vec<f32>, Error> {
        let hidden = self.hidden(tokens, hooks)?;
        let last = Matrix::new(1, hidden.cols(), hidden.row(hidden.rows() - 1).to_vec())?;
        Ok(self.output_logits(&last).into_data())
    }

    /// The input of the attention of a layer after LayerNorm 1, `[T, E]`: what a head is computed on.
    ///
    /// # Errors
    /// As [`Self::logits`], and [`Error::OutOfRange`] if there is no such layer.
    pub fn attention_input(&self, tokens: &[u32], layer: usize) -> Result<Matrix<f32>, Error> {
        let block = self.block(layer)?;
        let mut hidden = self.embed(tokens, &mut NoHooks)?;
        for (index, earlier) in self.blocks[..layer].iter().enumerate() {
            hidden = earlier.forward(&self.config, index, &hidden, &mut NoHooks)?;
        }
        Ok(block.attention_norm.apply(&hidden))
    }

    /// The hidden state before the output matrix, `[T, E]`.
    fn hidden(&self, tokens: &[u32], hooks: &mut impl ForwardHooks) -> Result<Matrix<f32>, Error> {
        let mut hidden = self.embed(tokens, hooks)?; // [T, E]
        for (layer, block) in self.blocks.iter().enumerate() {
            hidden = block.forward(&self.config, layer, &hidden, hooks)?;
        }
        let hidden = self.final_norm.apply(&hidden);
        hooks.observe(Site::model(Intermediate::FinalNorm), &hidden);
        Ok(hidden)
    }

    /// Hidden states to logits, `[n, E] -> [n, V]`.
    fn output_logits(&self, hidden: &Matrix<f32>) -> Matrix<f32> {
        hidden.multiply_transposed(self.output.as_ref().unwrap_or(&self.token_embedding))
    }

    /// The embeddings of tokens and positions, `[T, E]`.
    fn embed(&self, tokens: &[u32], hooks: &mut impl ForwardHooks) -> Result<Matrix<f32>, Error> {
        let Config { n_positions, n_embd, vocab_size, .. } = self.config;
        if !(1..=n_positions).contains(&tokens.len()) {
            let allowed = format!("in 1 ..= {n_positions}, the positions of the model");
            return Err(Error::out_of_range("the number of tokens", tokens.len(), allowed));
        }
        if let Some(&token) = tokens.iter().find(|&&token| token as usize >= vocab_size) {
            return Err(Error::UnknownToken { token, vocabulary: vocab_size });
        }
        let embedding =
            Matrix::from_fn(tokens.len(), n_embd, |row, col| self.token_embedding[(tokens[row] as usize, col)]);
        let position = Matrix::from_fn(tokens.len(), n_embd, |row, col| self.position_embedding[(row, col)]);
        let hidden = sum(&embedding, &position);
        hooks.observe(Site::model(Intermediate::TokenEmbedding), &embedding);
        hooks.observe(Site::model(Intermediate::PositionEmbedding), &position);
        hooks.observe(Site::model(Intermediate::Embedding), &hidden);
        Ok(hidden)
    }
}

impl Block {
    /// `[T, E] -> [T, E]`.
    fn forward(
        &self,
        config: &Config,
        layer: usize,
        hidden: &Matrix<f32>,
        hooks: &mut impl ForwardHooks,
    ) -> Result<Matrix<f32>, Error> {
        let normalized = self.attention_norm.apply(hidden);
        hooks.observe(Site::layer(Intermediate::AttentionNorm, layer), &normalized);
        let heads = self.heads(layer, &normalized, hooks)?;
        hooks.observe(Site::layer(Intermediate::AttentionOutput, layer), &heads);
        let projected = self.attention.output()?.apply(&heads);
        hooks.observe(Site::layer(Intermediate::AttentionProjection, layer), &projected);
        let hidden = sum(hidden, &projected);
        hooks.observe(Site::layer(Intermediate::AttentionResidual, layer), &hidden);

        let normalized = self.feed_forward_norm.apply(&hidden);
        hooks.observe(Site::layer(Intermediate::FeedForwardNorm, layer), &normalized);
        let inner = self.feed_forward.apply(&normalized); // [T, inner]
        hooks.observe(Site::layer(Intermediate::FeedForward, layer), &inner);
        let activated = inner.map(|&value| config.activation_function.apply(value));
        hooks.observe(Site::layer(Intermediate::Activation, layer), &activated);
        let projected = self.feed_forward_projection.apply(&activated);
        hooks.observe(Site::layer(Intermediate::FeedForwardProjection, layer), &projected);
        let hidden = sum(&hidden, &projected);
        hooks.observe(Site::layer(Intermediate::Block, layer), &hidden);
        Ok(hidden)
    }

    /// The outputs of all heads side by side, `[T, E] -> [T, E]`.
    fn heads(
        &self,
        layer: usize,
        normalized: &Matrix<f32>,
        hooks: &mut impl ForwardHooks,
    ) -> Result<Matrix<f32>, Error> {
        let attention = &self.attention;
        let replaced = hooks.replace_heads(layer, normalized).map_err(Error::Hook)?;
        for (head, output) in &replaced {
            let shape = [output.rows(), output.cols()];
            if *head >= attention.heads() || shape != [normalized.rows(), attention.head_size()] {
                let expected = format!("[{}, {}]", normalized.rows(), attention.head_size());
                let what = format!("the replacement of head {head} of {}", attention.heads());
                return Err(Error::shape(what, expected, &shape));
            }
        }
        let projected = attention.projection().apply(normalized); // [T, 3E]
        hooks.observe(Site::layer(Intermediate::QueryKeyValue, layer), &projected);
        let mut outputs = normalized.clone();
        for head in 0..attention.heads() {
            let output = match replaced.iter().find(|(index, _)| *index == head) {
                Some((_, output)) => output.clone(),
                None => {
                    let [query, key, value] = attention.split(&projected, head);
                    let trace = HeadTrace::attend(query, key, value);
                    observe_head(layer, head, &trace, hooks);
                    trace.output
                }
            };
            hooks.observe(Site::head(Intermediate::HeadOutput, layer, head), &output);
            outputs.set_columns(head * attention.head_size(), &output);
        }
        Ok(outputs)
    }
}

fn observe_head(layer: usize, head: usize, trace: &HeadTrace, hooks: &mut impl ForwardHooks) {
    let values = [
        (Intermediate::Query, &trace.query),
        (Intermediate::Key, &trace.key),
        (Intermediate::Value, &trace.value),
        (Intermediate::Scores, &trace.scores),
        (Intermediate::Probabilities, &trace.probabilities),
    ];
    values.into_iter().for_each(|(what, value)| hooks.observe(Site::head(what, layer, head), value));
}

/// The index of the largest logit; the first of several.
pub fn most_likely(logits: &[f32]) -> u32 {
    let larger = |best: usize, index: usize| if logits[index] > logits[best] { index } else { best };
    (0..logits.len()).fold(0, larger) as u32
}

/// a + b, of the same shape.
fn sum(a: &Matrix<f32>, b: &Matrix<f32>) -> Matrix<f32> {
    let mut sum = a.clone();
    sum.data_mut().iter_mut().zip(b.iter()).for_each(|(value, addend)| *value += addend);
    sum
}
