#!/usr/bin/env bash
# transformers reads only those GPT-2 files in GGUF whose shape is GPT-2's own.
#
# One would expect: a GGUF file says how many positions a model has (gpt2.context_length) and how wide its MLP is
# (gpt2.feed_forward_length), both are required keys of the architecture, and `from_pretrained(..., gguf_file=...)`
# makes a configuration of them.
# What happens: context_length goes to `n_ctx`, which the model does not use, and feed_forward_length to nothing that
# it uses. `n_positions` stays 1024 and `n_inner` empty, that is 4 * n_embd. A file of another shape is refused, and
# the message blames the tensors; one of the same shape loads exactly.
# Seen with: transformers 5.24.0, gguf 0.19.0, torch 2.15.0.
# Why it matters: small GPT-2s, as used for tests and for encrypted inference, have short contexts. A GGUF file of
# one cannot be checked against transformers, unless position table and MLP have exactly GPT-2's sizes.
#
# The download is large (torch with its libraries, 3 GB; 6 GB unpacked).
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --no-cache-dir --disable-pip-version-check \
    torch==2.15.0 transformers==5.24.0 accelerate gguf==0.19.0 numpy
cat > "$dir/check.py" <<'PY'
import sys, tempfile

import gguf, numpy as np, torch, transformers

transformers.logging.set_verbosity_error()
print("transformers", transformers.__version__, "gguf 0.19.0", "torch", torch.__version__)
LINEAR = {"attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output", "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down"}
NORM = {"ln_1": "attn_norm", "ln_2": "ffn_norm"}
TOP = {"wte": "token_embd", "wpe": "position_embd", "ln_f": "output_norm"}


def write(path, model):
    """The file as llama.cpp's converter lays it out: a linear layer's weight as [outputs, inputs]."""
    c = model.config
    w = gguf.GGUFWriter(path, "gpt2")
    w.add_context_length(c.n_positions)
    w.add_embedding_length(c.n_embd)
    w.add_feed_forward_length(c.n_inner or 4 * c.n_embd)
    w.add_block_count(c.n_layer)
    w.add_head_count(c.n_head)
    w.add_layer_norm_eps(c.layer_norm_epsilon)
    w.add_file_type(0)
    w.add_tokenizer_model("gpt2")
    w.add_token_list([f"t{i}" for i in range(c.vocab_size)])
    for name, value in model.transformer.state_dict().items():
        module, suffix = name.rsplit(".", 1)
        array = value.numpy()
        if module in TOP:
            new = TOP[module]
        else:
            _, layer, part = module.split(".", 2)
            new = f"blk.{layer}.{LINEAR.get(part) or NORM[part]}"
            if part in LINEAR and suffix == "weight":
                array = np.ascontiguousarray(array.T)
        w.add_tensor(f"{new}.{suffix}", array)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def loaded(**shape):
    """The largest difference of logits after a round trip, or the error's first line."""
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=50, n_embd=32, n_layer=2, n_head=4, bos_token_id=0, eos_token_id=0, initializer_range=0.3, **shape
    )
    model = transformers.GPT2LMHeadModel(config).eval()
    ids = torch.tensor([[1, 5, 7, 9, 3, 2]])
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        write(folder + "/m.gguf", model)
        read = transformers.AutoConfig.from_pretrained(folder, gguf_file="m.gguf")
        print(shape, "-> n_positions", read.n_positions, "n_ctx", getattr(read, "n_ctx", None), "n_inner", read.n_inner)
        try:
            other = transformers.AutoModelForCausalLM.from_pretrained(folder, gguf_file="m.gguf").eval()
            result = (other(ids).logits - model(ids).logits).abs().max().item()
        except RuntimeError as error:
            result = "refused: " + str(error).splitlines()[0]
    print("   ", result)
    return result


own = loaded(n_positions=1024)
others = [loaded(n_positions=64), loaded(n_positions=2048), loaded(n_positions=1024, n_inner=64)]
as_described = isinstance(own, float) and own < 1e-5 and all(isinstance(r, str) for r in others)
print("as described" if as_described else "CHANGED")
sys.exit(not as_described)
PY
"$dir/venv/bin/python" "$dir/check.py"
