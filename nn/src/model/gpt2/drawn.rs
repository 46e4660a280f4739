//! Texts that a model draws from its own predictions.

use super::forward::sum;
use super::hooks::NoHooks;
use super::sampling::Sampler;
use super::session::{HeadCache, LayerCache};
use super::{Block, Gpt2};
use crate::attention::Attended;
use crate::error::Error;
use crate::matrix::Matrix;

impl Gpt2 {
    /// `count` texts of `length` tokens each, fewer if the model has fewer positions, drawn by the model: each token with
    /// the probability that the model gives it after those before.
    ///
    /// They begin with the token that the configuration names for that (`bos_token_id`), or with any token. The same
    /// seed gives the same texts, as far as the model's predictions have the same bits: those can differ between kinds of
    /// CPU. All texts grow together, so that each weight is read from memory once for a token of all of them.
    ///
    /// # Errors
    /// [`Error::NotFinite`] if the model's predictions are not numbers.
    pub fn draw_texts(&self, (count, length): (usize, usize), seed: u64) -> Result<Vec<Vec<u32>>, Error> {
        let mut sampler = Sampler::new(1.0, None, seed)?;
        let vocabulary = self.config.vocab_size;
        let begin = self.config.bos_token_id.filter(|&token| (token as usize) < vocabulary);
        let any = vec![0.0; vocabulary];
        let mut texts = (0..count)
            .map(|_| Ok(vec![begin.map_or_else(|| sampler.sample(&any), Ok)?]))
            .collect::<Result<Vec<Vec<u32>>, Error>>()?;
        let caches = || self.blocks.iter().map(|block| LayerCache::new(&block.attention)).collect();
        let mut caches: Vec<Vec<LayerCache>> = (0..count).map(|_| caches()).collect();
        for position in 1..length.min(self.config.n_positions) {
            let last: Vec<u32> = texts.iter().map(|text| text[position - 1]).collect();
            let logits = self.step(&last, position - 1, &mut caches)?;
            for (row, text) in texts.iter_mut().enumerate() {
                text.push(sampler.sample(logits.row(row))?);
            }
        }
        Ok(texts)
    }

    /// The logits after one more token of each of B texts of the same length, `[B, V]`.
    fn step(&self, tokens: &[u32], position: usize, caches: &mut [Vec<LayerCache>]) -> Result<Matrix<f32>, Error> {
        let size = self.config.n_embd;
        let mut hidden = Matrix::from_fn(tokens.len(), size, |row, col| {
            self.token_embedding[(tokens[row] as usize, col)] + self.position_embedding[(position, col)]
        });
        for (layer, block) in self.blocks.iter().enumerate() {
            let normalized = block.attention_norm.apply(&hidden);
            let heads = block.attend_each(&normalized, caches.iter_mut().map(|layers| &mut layers[layer]));
            let attended = sum(&hidden, &block.attention.output()?.apply(&heads));
            hidden = block.feed(layer, &attended, &mut NoHooks);
        }
        Ok(self.output_logits(&self.final_norm.apply(&hidden)))
    }
}

impl Block {
    /// The outputs of all heads side by side, of one token of each text, `[B, E] -> [B, E]`.
    fn attend_each<'a>(
        &self,
        normalized: &Matrix<f32>,
        caches: impl Iterator<Item = &'a mut LayerCache>,
    ) -> Matrix<f32> {
        let attention = &self.attention;
        let projected = attention.projection().apply(normalized); // [B, 3E]
        let mut outputs = normalized.clone();
        for (text, cache) in caches.enumerate() {
            let row = projected.row_range(text..text + 1);
            cache.append_input(&normalized.row_range(text..text + 1));
            cache.append_projected(attention, &row);
            for (head, HeadCache { key, value }) in cache.heads().iter().enumerate() {
                let [query, ..] = attention.split(&row, head);
                let first = head * attention.head_size();
                let output = Attended::of(&query, key, value).output;
                outputs.row_mut(text)[first..first + output.cols()].copy_from_slice(output.data());
            }
        }
        outputs
    }
}
