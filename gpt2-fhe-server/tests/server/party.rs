//! Clients of blocks of a small model, with real keys.

#[path = "../../../gpt2-fhe/tests/cli/small.rs"]
mod small;

use std::path::Path;

use gpt2_fhe::block::agreement::{self, BlockAgreement, BlockRequest, write_keys};
use gpt2_fhe::block::encoding::BlockEncoding;
use gpt2_fhe::block::keys::needs;
use gpt2_fhe::encoding::Encoding;
use gpt2_fhe::run::block::{BlockModel, BlockParty, BlockText};
use gpt2_fhe::secret::ClientSecret;
use nn::block::{BlockOptions, BlockPart, ModelProgram};
use nn::gpt2::Gpt2;
use nn::matrix::Matrix;
use nn::record::QuantizedFile;
use tfhe_core::derivation::RequestRandomness;
use tfhe_core::format;
use tfhe_core::random::{SampleSeed, SecretSeed};

/// Blocks of a model with random weights, calibrated.
pub(crate) struct Blocks {
    file: QuantizedFile,
    model: BlockModel,
    /// `[tokens, E]`: hidden states before the blocks.
    pub(crate) hidden: Matrix<f32>,
}

impl Blocks {
    /// So many blocks, or that part of each, of a model with embeddings of that size; `texts` are drawn to calibrate on.
    pub(crate) fn new(size: usize, blocks: usize, part: BlockPart, texts: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        small::write_model(folder.path(), size, blocks);
        let model = Gpt2::load(folder.path()).unwrap();
        let texts = model.draw_texts((texts, small::POSITIONS), 1).unwrap();
        let hidden = model.hidden_states(&texts[0], 0).unwrap().remove(0);
        let program = ModelProgram::calibrate(&model, 0..blocks, part, (&texts, 0), &BlockOptions::default()).unwrap();
        let file = QuantizedFile::of_blocks(program.clone()).unwrap();
        Self { file, model: BlockModel::new(program).unwrap(), hidden }
    }

    /// Writes the server's half.
    pub(crate) fn write_server_half(&self, path: &Path) {
        self.file.server_half().write(path).unwrap();
    }

    /// Asserts that values are as far from the clear engine's as simulations of the noise are: those after the last `tokens` of `hidden`.
    pub(crate) fn assert_near(&self, values: &Matrix<f32>, hidden: &Matrix<f32>) {
        let first = hidden.rows() - values.rows();
        let clear = BlockText::clear(&self.model).advance(hidden).unwrap().run;
        assert_eq!(clear.out_of_range, 0, "the text is as those that were calibrated on");
        let distance = |values: &Matrix<f32>| {
            let clear = clear.output.row_range(first..hidden.rows());
            values.iter().zip(clear.iter()).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt()
        };
        let simulated = (0..16).map(|seed| {
            let mut text = BlockText::simulated(&self.model, Vec::new(), &SampleSeed::from_number(seed));
            distance(&text.advance(hidden).unwrap().run.output.row_range(first..hidden.rows())).powi(2)
        });
        let (mean, measured) = ((simulated.sum::<f64>() / 16.0).sqrt(), distance(values));
        assert!(measured < 4.0 * mean && mean < 4.0 * measured, "{measured}, simulated {mean}");
    }
}

/// Who owns keys.
pub(crate) struct Owner {
    party: BlockParty,
}

impl Owner {
    /// The keys of a number.
    pub(crate) fn new(blocks: &Blocks, seed: u64) -> Self {
        let secret = ClientSecret::new(SecretSeed::from_number(seed), RequestRandomness::Fresh);
        let client = secret.client(BlockEncoding::CIRCUIT, &agreement::parameters()).unwrap();
        let half = blocks.model.client().clone();
        Self { party: BlockParty::new(half, blocks.file.fingerprint(), client).unwrap() }
    }

    /// The file of evaluation keys.
    pub(crate) fn keys(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_keys(&mut bytes, &self.party.client().evaluation_keys(&needs()).unwrap()).unwrap();
        bytes
    }

    /// A request, and its file.
    pub(crate) fn request(&self, hidden: &Matrix<f32>, earlier: usize) -> (BlockRequest, Vec<u8>) {
        let request = self.party.request(hidden, earlier).unwrap();
        let (header, contents) = BlockAgreement::request_file(&request, self.party.fingerprint());
        let mut bytes = Vec::new();
        format::write(&mut bytes, &header, contents).unwrap();
        (request, bytes)
    }

    /// What is decrypted of the file of an answer.
    pub(crate) fn output(&self, answer: &[u8], request: &BlockRequest) -> Matrix<f32> {
        let place = (self.party.client().identity(), request.tokens);
        let (agreement, length) = (self.party.agreement(), answer.len() as u64);
        let answer = agreement.read_answer(&mut &answer[..], length, place, self.party.fingerprint()).unwrap();
        self.party.output(&answer, request).unwrap()
    }
}
