//! The blocks of a model that a command encrypts: calibrated as its options say, or as files of `quantize` have them.

use std::ops::Range;
use std::path::Path;

use anyhow::{anyhow, bail};
use gpt2_fhe::run::RunError;
use gpt2_fhe::run::block::BlockModel;
use nn::block::{BlockOptions, BlockPart, Ending, ModelProgram};

use super::arguments::{Encrypt, Encryption, Given, Layers, NotApplicable, PartOfBlock};
use super::model::LanguageModel;
use super::progress::Counter;
use super::stored::{LoadedBlocks, blocks_in_words, check_blocks};
use super::text::plural;

/// What is asked for, and the files that are to have it: without files it is calibrated.
pub(super) struct BlockChoice {
    encrypt: Encrypt,
    head_on_server: bool,
    layers: Layers,
    files: Vec<LoadedBlocks>,
    start: Vec<u32>,
}

/// Blocks, for one text or more.
pub(super) struct SelectedBlocks {
    /// What they are, in words.
    pub(super) words: String,
    pub(super) encrypt: Encrypt,
    pub(super) head_on_server: bool,
    pub(super) models: Vec<ModelProgram>,
}

impl BlockChoice {
    /// Of a command's options, of which `given` are on its command line; or of files, with which options agree that say the same.
    ///
    /// # Errors
    /// That an option does not apply, or says something else than the files; that the files are not of such a model, or not of one.
    pub(super) fn new(
        encryption: &Encryption,
        layers: &Layers,
        given: &Given,
        (files, model): (Vec<LoadedBlocks>, &LanguageModel),
    ) -> anyhow::Result<Self> {
        let Encryption { encrypt, public_start, head_on_server } = encryption.clone();
        let layers = layers.clone();
        if files.is_empty() {
            given.check_blocks(&encrypt)?;
            let start = model.public_start(public_start)?.into_iter().collect();
            return Ok(Self { encrypt, head_on_server, layers, files, start });
        }
        let (encrypt, start) = (check_files(&files, &encrypt, given, model)?, start_of(&files)?);
        let names = names(&files);
        let has_logits = files.iter().any(|file| file.model.client().end().ending() == Ending::Logits);
        if public_start && start.is_empty() {
            bail!("{names} has no public token; leave --public-start out, or give it to quantize");
        }
        if head_on_server && !has_logits {
            bail!("{names} does not end with the logits; leave --head-on-server out, or give it to quantize");
        }
        Ok(Self { encrypt, head_on_server: has_logits, layers, files, start })
    }

    /// The tokens that every text begins with, which the server knows.
    pub(super) fn start(&self) -> &[u32] {
        &self.start
    }

    /// Checks that texts of so many tokens, those of the start included, are not too long for the files.
    ///
    /// # Errors
    /// That they are.
    pub(super) fn check_tokens(&self, tokens: usize) -> anyhow::Result<()> {
        match self.files.iter().find(|file| file.model.client().max_tokens() < tokens) {
            None => Ok(()),
            Some(LoadedBlocks { names, model }) => {
                let limit = plural(model.client().max_tokens(), "token");
                bail!(
                    "{names} is for texts of at most {limit}, and this one would have {tokens}: ask for fewer --tokens"
                )
            }
        }
    }

    /// The blocks; `option` names the text to calibrate on, where there is one.
    ///
    /// # Errors
    /// That a block is not there, or not all up to the last are where logits are to follow; as [`ModelProgram::calibrate`].
    pub(super) fn select(
        self,
        model: &LanguageModel,
        text: Option<&Path>,
        option: &str,
    ) -> anyhow::Result<SelectedBlocks> {
        let Self { encrypt, head_on_server, layers, files, start } = self;
        let (parts, models): (Vec<(BlockPart, Range<usize>)>, Vec<ModelProgram>) = if files.is_empty() {
            let parts = parts(&encrypt, head_on_server, &layers, model)?;
            let texts = beginning_with(model.block_texts(text, option)?, &start, model.gpt2.config().n_positions);
            let models = calibrate(&parts, head_on_server, model, (&texts, start.len()))?;
            (parts, models)
        } else {
            let models: Vec<ModelProgram> = files.into_iter().map(|file| file.model).collect();
            (models.iter().map(|model| (model.client().part(), model.client().layers())).collect(), models)
        };
        let mut words = in_words(&parts, model.gpt2.config().n_layer);
        if head_on_server {
            words += ", the final LayerNorm and the logits";
        }
        Ok(SelectedBlocks { words, encrypt, head_on_server, models })
    }
}

/// Blocks, each with where their numbers lie in ciphertexts.
///
/// # Errors
/// That a head is too large for one.
pub(super) fn block_models(models: Vec<ModelProgram>) -> Result<Vec<BlockModel>, RunError> {
    models.into_iter().map(|model| BlockModel::new(model).map_err(RunError::from)).collect()
}

fn names(files: &[LoadedBlocks]) -> String {
    files.iter().map(|file| file.names.clone()).collect::<Vec<_>>().join(", ")
}

/// Checks that files can be used together in a model, and are what `--encrypt` asks for, where it is given. What they are of it otherwise.
fn check_files(
    files: &[LoadedBlocks],
    encrypt: &Encrypt,
    given: &Given,
    model: &LanguageModel,
) -> anyhow::Result<Encrypt> {
    let mut blocks: Vec<(usize, &LoadedBlocks)> = Vec::new();
    for file in files {
        check_blocks(&file.names, file.model.client(), &model.gpt2)?;
        for layer in file.model.client().layers() {
            if let Some((_, other)) = blocks.iter().find(|(block, _)| *block == layer) {
                bail!("{} and {} both hold block {layer}; give --quantized each block once", other.names, file.names);
            }
            blocks.push((layer, file));
        }
    }
    let found = encrypt_of(files, model.gpt2.config().n_layer);
    let asked = if given.has("encrypt") { encrypt } else { &found };
    let whole = |range: Range<usize>| {
        let [file] = files else { return false };
        (file.model.client().part(), file.model.client().layers()) == (BlockPart::Whole, range)
    };
    let agrees = match asked {
        Encrypt::Heads => false,
        Encrypt::Model => whole(0..model.gpt2.config().n_layer),
        Encrypt::Blocks(range) if files.len() == 1 => whole(*range.start()..range.end().saturating_add(1)),
        Encrypt::Blocks(_) => !given.has("encrypt"),
        Encrypt::Part(part) => files.iter().all(|file| file.model.client().part() == (*part).into()),
    };
    if !agrees {
        let held: Vec<String> = files.iter().map(LoadedBlocks::in_words).collect();
        let (names, held) = (names(files), held.join(" and "));
        bail!("{names} holds {held}, and --encrypt {asked} asks for something else; leave --encrypt out");
    }
    given.check_blocks(asked)?;
    Ok(asked.clone())
}

/// What files are of a model.
fn encrypt_of(files: &[LoadedBlocks], count: usize) -> Encrypt {
    let parts: Vec<BlockPart> = files.iter().map(|file| file.model.client().part()).collect();
    let layers = || files.iter().flat_map(|file| file.model.client().layers());
    let (first, last) = (layers().min().unwrap_or(0), layers().max().unwrap_or(0));
    match parts[..] {
        [BlockPart::Whole] if (first, last + 1) == (0, count) => Encrypt::Model,
        [BlockPart::Attention, ..] if parts.iter().all(|part| *part == parts[0]) => {
            Encrypt::Part(PartOfBlock::Attention)
        }
        [BlockPart::FeedForward, ..] if parts.iter().all(|part| *part == parts[0]) => Encrypt::Part(PartOfBlock::Mlp),
        _ => Encrypt::Blocks(first..=last),
    }
}

/// The public tokens of files, which have to be the same in all.
fn start_of(files: &[LoadedBlocks]) -> anyhow::Result<Vec<u32>> {
    let start = |file: &LoadedBlocks| file.model.client().public_tokens().to_vec();
    match files.iter().find(|file| start(file) != start(&files[0])) {
        None => Ok(start(&files[0])),
        Some(other) => {
            let [one, two] = [&files[0], other].map(|file| format!("{} tokens {:?}", file.names, start(file)));
            Err(anyhow!("{one} and {two}: public tokens have to be the same in all files of --quantized"))
        }
    }
}

/// The parts of blocks, each for one program.
fn parts(
    encrypt: &Encrypt,
    head_on_server: bool,
    layers: &Layers,
    model: &LanguageModel,
) -> anyhow::Result<Vec<(BlockPart, Range<usize>)>> {
    let count = model.gpt2.config().n_layer;
    match encrypt {
        Encrypt::Heads => Err(NotApplicable::new("heads are no blocks; choose --encrypt model").into()),
        Encrypt::Model => Ok(vec![(BlockPart::Whole, 0..count)]),
        Encrypt::Blocks(range) => {
            let (first, last) = (*range.start(), *range.end());
            if last >= count {
                bail!("--encrypt has block {last}; the model has blocks 0 to {}", count - 1);
            }
            if head_on_server && last + 1 < count {
                bail!(
                    "--head-on-server needs all blocks up to the model's last, and --encrypt ends with block {last}; choose \
                     --encrypt blocks:{first}-{} or model",
                    count - 1
                );
            }
            Ok(vec![(BlockPart::Whole, first..last + 1)])
        }
        Encrypt::Part(part) => {
            Ok(model.selected_layers(layers)?.into_iter().map(|layer| ((*part).into(), layer..layer + 1)).collect())
        }
    }
}

/// Texts that begin with public tokens, as those that a model draws do, and are not too long for it.
fn beginning_with(mut texts: Vec<Vec<u32>>, start: &[u32], positions: usize) -> Vec<Vec<u32>> {
    for text in &mut texts {
        if !text.starts_with(start) {
            text.splice(..0, start.iter().copied());
        }
        text.truncate(positions);
    }
    texts
}

fn calibrate(
    parts: &[(BlockPart, Range<usize>)],
    head_on_server: bool,
    model: &LanguageModel,
    texts: (&[Vec<u32>], usize),
) -> anyhow::Result<Vec<ModelProgram>> {
    let counter = Counter::new("calibrating the blocks", parts.len());
    let options = BlockOptions::of_width(model.gpt2.config().n_embd);
    let calibrate = |(part, range): &(BlockPart, Range<usize>)| {
        let mut program = ModelProgram::calibrate(&model.gpt2, range.clone(), *part, texts, &options)?;
        if head_on_server {
            program = program.with_logits(&model.gpt2, texts.0, &options)?;
        } else if *part == BlockPart::Whole && range.end == model.gpt2.config().n_layer {
            program = program.with_last_state(&model.gpt2, texts.0, &options)?;
        }
        counter.advance();
        Ok(program)
    };
    parts.iter().map(calibrate).collect()
}

/// Parts of blocks in words.
fn in_words(parts: &[(BlockPart, Range<usize>)], count: usize) -> String {
    if let [(BlockPart::Whole, range)] = parts
        && *range == (0..count)
    {
        return format!("all {}", plural(count, "block"));
    }
    let mut words: Vec<String> = Vec::new();
    for part in [BlockPart::Whole, BlockPart::Attention, BlockPart::FeedForward] {
        let layers: Vec<usize> =
            parts.iter().filter(|(of, _)| *of == part).flat_map(|(_, range)| range.clone()).collect();
        if !layers.is_empty() {
            words.push(blocks_in_words(part, &layers));
        }
    }
    words.join(", ")
}
