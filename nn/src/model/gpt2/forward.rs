//! The forward pass.

use super::hooks::{ForwardHooks, Intermediate, NoHooks, Replacement, Site, Trace};
use super::session::{HeadCache, LayerCache, TextSession};
use super::{Block, Config, Gpt2, most_likely};
use crate::attention::Attended;
use crate::error::Error;
use crate::matrix::Matrix;

impl Gpt2 {
    /// A session without a token.
    pub fn session(&self) -> TextSession<'_> {
        TextSession::new(self)
    }

    /// The logits of the token after each token, `[T, V]`.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if there is no token or more than the model has positions, [`Error::UnknownToken`],
    /// [`Error::Hook`], and [`Error::Shape`] if a replacement does not fit.
    pub fn logits(&self, tokens: &[u32], hooks: &mut impl ForwardHooks) -> Result<Matrix<f32>, Error> {
        self.session().logits(tokens, hooks)
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
        self.session().next_logits(tokens, hooks)
    }

    /// The input of the attention of a layer after LayerNorm 1, `[T, E]`: what a head is computed on.
    ///
    /// # Errors
    /// As [`Self::logits`], and [`Error::OutOfRange`] if there is no such layer.
    pub fn attention_input(&self, tokens: &[u32], layer: usize) -> Result<Matrix<f32>, Error> {
        let block = self.block(layer)?;
        Ok(block.attention_norm.apply(&self.session().hidden(tokens, layer, &mut NoHooks)?))
    }

    /// The inputs of the attentions of all layers after LayerNorm 1, `[T, E]` each, in one pass.
    ///
    /// # Errors
    /// As [`Self::logits`].
    pub fn attention_inputs(&self, tokens: &[u32]) -> Result<Vec<Matrix<f32>>, Error> {
        struct Inputs(Vec<Matrix<f32>>);
        impl ForwardHooks for Inputs {
            fn observe(&mut self, site: Site, value: &Matrix<f32>) {
                if site.what == Intermediate::AttentionNorm {
                    self.0.push(value.clone());
                }
            }
        }
        let mut inputs = Inputs(Vec::with_capacity(self.blocks.len()));
        self.session().hidden(tokens, self.blocks.len(), &mut inputs)?;
        Ok(inputs.0)
    }

    /// The hidden states before each of the first `layers` layers, and after the last of them, `[T, E]` each.
    ///
    /// # Errors
    /// As [`Self::logits`]; [`Error::OutOfRange`] if there are not so many layers.
    pub fn hidden_states(&self, tokens: &[u32], layers: usize) -> Result<Vec<Matrix<f32>>, Error> {
        struct States(Vec<Matrix<f32>>);
        impl ForwardHooks for States {
            fn observe(&mut self, site: Site, value: &Matrix<f32>) {
                if matches!(site.what, Intermediate::Embedding | Intermediate::Block) {
                    self.0.push(value.clone());
                }
            }
        }
        if layers > 0 {
            self.block(layers - 1)?;
        }
        let mut states = States(Vec::with_capacity(layers + 1));
        self.session().hidden(tokens, layers, &mut states)?;
        Ok(states.0)
    }

    /// The logits of the token after each, of hidden states after the last layer, whatever the mean of each: `[n, E] -> [n, V]`.
    ///
    /// # Panics
    /// If there are not E columns.
    pub fn logits_of(&self, hidden: &Matrix<f32>) -> Matrix<f32> {
        self.output_logits(&self.final_norm.apply(hidden))
    }

    /// Hidden states to logits, `[n, E] -> [n, V]`.
    pub(super) fn output_logits(&self, hidden: &Matrix<f32>) -> Matrix<f32> {
        hidden.multiply_transposed(self.output_matrix())
    }

    /// The logits after the last `rows` of new tokens, their own or what replaces them, of the stream after the last layer:
    /// `[n, E] -> [rows, V]`.
    pub(super) fn head(
        &self,
        stream: &Matrix<f32>,
        rows: usize,
        hooks: &mut impl ForwardHooks,
    ) -> Result<Matrix<f32>, Error> {
        if let Some(logits) = hooks.replace_logits(stream).map_err(Error::Hook)? {
            check_shape("the replacement of the logits", &logits, rows, self.config.vocab_size)?;
            return Ok(logits);
        }
        let last = hooks.replace_last_state(stream).map_err(Error::Hook)?;
        if let Some(last) = &last {
            check_shape("the replacement of the last hidden state", last, rows, self.config.n_embd)?;
        }
        let hidden = self.final_norm.apply(last.as_ref().unwrap_or(stream));
        hooks.observe(Site::model(Intermediate::FinalNorm), &hidden);
        Ok(self.output_logits(&hidden.row_range(hidden.rows() - rows..hidden.rows())))
    }

    /// The embeddings of tokens and of their positions, which follow `earlier` others, `[n, E]`.
    pub(super) fn embed(
        &self,
        tokens: &[u32],
        earlier: usize,
        hooks: &mut impl ForwardHooks,
    ) -> Result<Matrix<f32>, Error> {
        let Config { n_positions, n_embd, vocab_size, .. } = self.config;
        if tokens.is_empty() {
            return Err(Error::out_of_range("the number of new tokens", 0, "at least 1"));
        }
        let count = earlier + tokens.len();
        if count > n_positions {
            let allowed = format!("at most {n_positions}, the positions of the model");
            return Err(Error::out_of_range("the number of tokens", count, allowed));
        }
        if let Some(&token) = tokens.iter().find(|&&token| token as usize >= vocab_size) {
            return Err(Error::UnknownToken { token, vocabulary: vocab_size });
        }
        let embedding =
            Matrix::from_fn(tokens.len(), n_embd, |row, col| self.token_embedding[(tokens[row] as usize, col)]);
        let position = self.position_embedding.row_range(earlier..count);
        let hidden = sum(&embedding, &position);
        hooks.observe(Site::model(Intermediate::TokenEmbedding), &embedding);
        hooks.observe(Site::model(Intermediate::PositionEmbedding), &position);
        hooks.observe(Site::model(Intermediate::Embedding), &hidden);
        Ok(hidden)
    }
}

impl Block {
    /// Everything that the layer computes on the way, on hidden states `[T, E]` before its first LayerNorm. Sites are those of layer 0.
    ///
    /// # Errors
    /// [`Error::Shape`] if there are not E columns.
    pub fn trace(&self, hidden: &Matrix<f32>) -> Result<Trace, Error> {
        let size = self.attention.embedding_size();
        if hidden.rows() == 0 || hidden.cols() != size {
            let found = [hidden.rows(), hidden.cols()];
            return Err(Error::shape("a block's input", format!("[T, {size}] with T at least 1"), &found));
        }
        let mut trace = Trace::default();
        self.forward(0, hidden, &mut LayerCache::new(&self.attention), &mut trace)?;
        Ok(trace)
    }

    /// The layer's output for new tokens, `[n, E] -> [n, E]`. The cache is of the tokens before, and then of all.
    pub(super) fn forward(
        &self,
        layer: usize,
        hidden: &Matrix<f32>,
        cache: &mut LayerCache,
        hooks: &mut impl ForwardHooks,
    ) -> Result<Matrix<f32>, Error> {
        let site = Site::layer(Intermediate::AttentionResidual, layer);
        let attended = match replaced(hooks, site, hidden)? {
            Some(attended) => attended,
            None => {
                let normalized = self.attention_norm.apply(hidden);
                hooks.observe(Site::layer(Intermediate::AttentionNorm, layer), &normalized);
                let projected = self.attend(layer, &normalized, cache, hooks)?;
                hooks.observe(Site::layer(Intermediate::AttentionProjection, layer), &projected);
                sum(hidden, &projected)
            }
        };
        hooks.observe(site, &attended);
        let site = Site::layer(Intermediate::Block, layer);
        let output = match replaced(hooks, site, &attended)? {
            Some(output) => output,
            None => self.feed(layer, &attended, hooks),
        };
        hooks.observe(site, &output);
        Ok(output)
    }

    /// A hidden state with the output of the feed-forward layer added, `[n, E] -> [n, E]`.
    pub(super) fn feed(&self, layer: usize, hidden: &Matrix<f32>, hooks: &mut impl ForwardHooks) -> Matrix<f32> {
        let normalized = self.feed_forward_norm.apply(hidden);
        hooks.observe(Site::layer(Intermediate::FeedForwardNorm, layer), &normalized);
        let inner = self.feed_forward.apply(&normalized); // [n, inner]
        hooks.observe(Site::layer(Intermediate::FeedForward, layer), &inner);
        let activated = inner.map(|&value| self.nonlinearity.apply(value));
        hooks.observe(Site::layer(Intermediate::Activation, layer), &activated);
        let projected = self.feed_forward_projection.apply(&activated);
        hooks.observe(Site::layer(Intermediate::FeedForwardProjection, layer), &projected);
        sum(hidden, &projected)
    }

    /// The projected output of the attention, its own or what replaces it, `[n, E] -> [n, E]`.
    fn attend(
        &self,
        layer: usize,
        normalized: &Matrix<f32>,
        cache: &mut LayerCache,
        hooks: &mut impl ForwardHooks,
    ) -> Result<Matrix<f32>, Error> {
        cache.append_input(normalized);
        let new_rows = cache.input().rows() - normalized.rows()..cache.input().rows();
        let replaced = match hooks.replace_attention(layer, cache.input(), new_rows).map_err(Error::Hook)? {
            Replacement::Projected(projected) => {
                check_shape("the replacement of the attention", &projected, normalized.rows(), normalized.cols())?;
                return Ok(projected);
            }
            Replacement::Heads(outputs) => self.replaced_heads(outputs, normalized.rows())?,
            Replacement::Nothing => vec![None; self.attention.heads()],
        };
        let heads = self.heads(layer, normalized, replaced, cache, hooks);
        hooks.observe(Site::layer(Intermediate::AttentionOutput, layer), &heads);
        Ok(self.attention.output()?.apply(&heads))
    }

    /// What replaces each head, for n new tokens.
    fn replaced_heads(
        &self,
        outputs: Vec<(usize, Matrix<f32>)>,
        tokens: usize,
    ) -> Result<Vec<Option<Matrix<f32>>>, Error> {
        let (heads, head_size) = (self.attention.heads(), self.attention.head_size());
        let mut replaced = vec![None; heads];
        for (head, output) in outputs {
            check_shape(&format!("the replacement of head {head}"), &output, tokens, head_size)?;
            *replaced.get_mut(head).ok_or_else(|| {
                Error::out_of_range("the index of a replaced head", head, format!("less than {heads}"))
            })? = Some(output);
        }
        Ok(replaced)
    }

    /// The outputs of all heads side by side, `[n, E] -> [n, E]`.
    fn heads(
        &self,
        layer: usize,
        normalized: &Matrix<f32>,
        replaced: Vec<Option<Matrix<f32>>>,
        cache: &mut LayerCache,
        hooks: &mut impl ForwardHooks,
    ) -> Matrix<f32> {
        let attention = &self.attention;
        let projected = attention.projection().apply(normalized); // [n, 3E]
        hooks.observe(Site::layer(Intermediate::QueryKeyValue, layer), &projected);
        cache.append_projected(attention, &projected);
        let mut outputs = normalized.clone();
        for (head, replacement) in replaced.into_iter().enumerate() {
            let mut observe = |what, value: &Matrix<f32>| hooks.observe(Site::head(what, layer, head), value);
            let output = replacement.unwrap_or_else(|| {
                let [query, ..] = attention.split(&projected, head);
                let HeadCache { key, value } = &cache.heads()[head];
                let Attended { scores, probabilities, output } = Attended::of(&query, key, value);
                observe(Intermediate::Query, &query);
                observe(Intermediate::Key, key);
                observe(Intermediate::Value, value);
                observe(Intermediate::Scores, &scores);
                observe(Intermediate::Probabilities, &probabilities);
                output
            });
            observe(Intermediate::HeadOutput, &output);
            outputs.set_columns(head * attention.head_size(), &output);
        }
        outputs
    }
}

/// What takes the place of the stream at a site, `[n, E]`.
fn replaced(hooks: &mut impl ForwardHooks, site: Site, before: &Matrix<f32>) -> Result<Option<Matrix<f32>>, Error> {
    let replacement = hooks.replace_stream(site, before).map_err(Error::Hook)?;
    if let Some(stream) = &replacement {
        check_shape("the replacement of the stream", stream, before.rows(), before.cols())?;
    }
    Ok(replacement)
}

/// Checks the shape of what a hook returns.
fn check_shape(what: &str, matrix: &Matrix<f32>, rows: usize, cols: usize) -> Result<(), Error> {
    let found = [matrix.rows(), matrix.cols()];
    if found == [rows, cols] { Ok(()) } else { Err(Error::shape(what, format!("[{rows}, {cols}]"), &found)) }
}

/// a + b, of the same shape.
pub(super) fn sum(a: &Matrix<f32>, b: &Matrix<f32>) -> Matrix<f32> {
    let mut sum = a.clone();
    sum.data_mut().iter_mut().zip(b.iter()).for_each(|(value, addend)| *value += addend);
    sum
}
