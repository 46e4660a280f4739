//! The words of the help: each command explains those that it uses before it uses them.

macro_rules! layer {
    () => {
        "  layer: A GPT-2 is a stack of layers. Each has one attention.\n"
    };
}
macro_rules! head {
    () => {
        "  head: An attention consists of heads that work side by side. The output projection (c_proj) joins their \
         outputs.\n"
    };
}
macro_rules! block {
    () => {
        "  block: All of a layer: its attention, its feed-forward layer (a small neural network for each token, also MLP), a LayerNorm before \
         each, and the sums with their inputs.\n  \
         hidden state: What a layer takes and gives, n_embd numbers for each token. Blocks add to it.\n"
    };
}
macro_rules! circuit {
    () => {
        "  circuit: How the attention is computed on encrypted numbers. There are two circuits, packed and exact.\n  \
         packed: Many numbers in each ciphertext. Fast. The result is close to that without encryption.\n  \
         exact: One number in each ciphertext. Slow. The result is equal to that without encryption.\n"
    };
}
macro_rules! calibration {
    () => {
        "  quantized: Rounded to small integers. Both circuits compute with these.\n  \
         calibration: Choosing the scales and ranges of the integers, from example inputs.\n"
    };
}
macro_rules! lookup {
    () => {
        "  lookup: Reading a table at an encrypted position. This computes functions that are not sums or products.\n  \
         PBS: Programmable bootstrapping, the operation behind a lookup. It also removes noise. Most of the time \
         goes into it.\n"
    };
}
macro_rules! mode {
    () => {
        "  clear: Not encrypted.\n  \
         noise: Small random errors in every ciphertext. Encryption is not secure without them.\n"
    };
}

pub(super) const PROGRAM: &str = concat!(
    "Runs the attention of a GPT-2 on encrypted data.\n\n\
     The client holds the secret keys. It computes everything but the attention itself. For each layer it encrypts the input of the \
     attention and sends it to the server. The server computes the attention without being able to read it, and the \
     client decrypts the answer. Client and server are both inside this one program.\n\nWords:\n",
    layer!(),
    head!(),
    circuit!(),
    calibration!(),
    "\nWithout a command, the program runs the demo: `gpt2-fhe demo --help` shows its options, which can be given without \
     the word `demo`."
);

pub(super) const DEMO: &str = concat!(
    "Continues a prompt with encrypted attention, next to the same model without encryption, and explains each step.\n\n\
     Words:\n",
    layer!(),
    head!(),
    circuit!(),
    calibration!(),
    lookup!(),
    mode!()
);

pub(super) const GENERATE: &str = concat!(
    "Continues a prompt, with attention, blocks or all of a model encrypted.\n\n\
     The text goes to standard output, everything else to standard error.\n\nWords:\n",
    layer!(),
    block!(),
    head!(),
    circuit!(),
    calibration!(),
    lookup!(),
    mode!()
);

pub(super) const HEAD: &str = concat!(
    "Runs one attention head, or all heads of a layer, on an input from a file.\n\nWords:\n",
    layer!(),
    head!(),
    circuit!(),
    calibration!(),
    lookup!(),
    mode!()
);

pub(super) const BLOCK: &str = concat!(
    "Runs a whole block, or its attention or feed-forward layer, on hidden states from a file.\n\n\
     Nothing between input and output leaves the encryption.\n\nWords:\n",
    layer!(),
    block!(),
    "  calibration: Choosing the scales and ranges of numbers, from example inputs.\n",
    lookup!(),
    mode!()
);

pub(super) const CIRCUIT: &str = concat!(
    "Shows what a run would do, without running it: operations, noise, chance of failure, security, bytes.\n\nWords:\n",
    layer!(),
    head!(),
    circuit!(),
    calibration!(),
    lookup!(),
    mode!()
);

pub(super) const PLAN: &str = concat!(
    "Shows what a request for blocks would do, without running it: operations, noise, chance of failure, security, bytes.\n\nWords:\n",
    layer!(),
    block!(),
    lookup!(),
    mode!()
);

pub(super) const AUDIT: &str = concat!(
    "Gives evidence for each claim about the cryptography.\n\n\
     Each claim is one sentence, with the figures that it rests on, and whether it holds: by what is computed, measured with keys that are made for \
     this and thrown away, or was recorded. What is not checked here is said, and where it is. The program ends with code 1 if a claim does not \
     hold.\n\nWords:\n",
    lookup!(),
    "  noise: Small random errors in every ciphertext. Encryption is not secure without them, and with too many of them results are wrong.\n  \
     parameter set: The sizes of keys and rings, the noise, and how operations are computed.\n  \
     claim: A sentence that is true or not.\n  \
     bits: The logarithm of the number of operations that the cheapest known attack takes.\n"
);

pub(super) const EXPLAIN: &str = concat!(
    "Explains the cryptography at toy size, number by number, in lessons that build on each other.\n\n\
     Every number is that of a real computation, by the same functions with which the other commands compute, on keys so small that a \
     person can follow. Each step shows what the owner of the key would decrypt there. Toy keys protect nothing, and no real secret is \
     involved. A lesson is the same each time, unless --seed is given. What a lesson says is checked as it is made: the program ends with \
     code 1 if something is not so.\n\n\
     --of FILE shows a run of `head` in the same way, with keys of full size, from the file that `head --trace FILE` wrote: decrypted numbers of \
     every step. That file, and what is made of it, is as secret as the input of the run.\n\nWords:\n",
    lookup!(),
    "  noise: Small random errors in every ciphertext. Encryption is not secure without them, and with too many of them results are wrong.\n  \
     torus: The circle on which all numbers lie: parts of a turn, from 0 to 1.\n  \
     phase: What decryption has before it rounds: the message and the noise.\n"
);

#[cfg(feature = "nats")]
pub(super) const STATUS: &str = "Shows who computes lookups for servers that have workers.\n\n\
     Servers (gpt2-fhe-server --engine URL) hand lookups to workers (gpt2-fhe-worker --engine URL) by a NATS server. Both say every second what \
     they do, and this command listens for a while and shows it: each worker, what it computes, and why it gets nothing if it does not; each \
     server, with its requests, how far they are, and how long they still take; how many batches wait.\n\nWords:\n  \
     lookup: A table that is read at an encrypted number: nearly all of the work.\n  \
     batch: Some lookups that a worker computes together.";

pub(super) const QUANTIZE: &str = concat!(
    "Calibrates one attention head, all heads of a layer, or, with --encrypt, blocks, and writes the result to files.\n\n\
     The other commands read these files by --quantized. The server needs weights and ranges, the client needs scales: \
     they can be written to one file, or to one each.\n\nWords:\n",
    layer!(),
    head!(),
    circuit!(),
    calibration!()
);

pub(super) const EVALUATE: &str = concat!(
    "Measures how much a model's predictions change when a part of its attention is replaced by the quantized, noisy or \
     encrypted one.\n\n\
     The predictions for every position of a text are compared with those in ordinary floating point (f32). Two \
     replacements that know nothing, zeros and shuffled weights, are measured as well, for comparison.\n\nWords:\n",
    layer!(),
    block!(),
    head!(),
    circuit!(),
    calibration!(),
    mode!(),
    "  window: A piece of the text, as long as the model and the circuits take.\n  \
     position: A place in the text. The model predicts the token after it.\n"
);

macro_rules! parties {
    () => {
        "Client and server are two programs that exchange files:\n\n\
         - client: `keygen` makes a secret, and evaluation keys that the server needs;\n\
         - client: `encrypt` makes a request of a prompt;\n\
         - server: `compute` makes an answer of the request, without being able to read either;\n\
         - client: `decrypt` says what the answer is.\n\n\
         Both have a file of the blocks, which `quantize --encrypt` wrote: the server its half, with the weights, and the client \
         its own.\n\nWords:\n"
    };
}

pub(super) const KEYGEN: &str = concat!(
    "Makes the keys of a new client, for the blocks of any model.\n\n",
    parties!(),
    "  secret: What the client decrypts with. It stays with the client.\n  \
     evaluation keys: What a server computes on ciphertexts with. They are large, and are given to it once.\n"
);

pub(super) const ENCRYPT: &str =
    concat!("Encrypts a prompt, or hidden states from a file, for a server.\n\n", parties!(), layer!(), block!());

pub(super) const COMPUTE: &str = concat!("Computes encrypted blocks on a request.\n\n", parties!(), layer!(), block!());

pub(super) const DECRYPT: &str = concat!("Decrypts the answer to a request.\n\n", parties!(), layer!(), block!());
