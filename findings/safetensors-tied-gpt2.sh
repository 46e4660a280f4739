#!/usr/bin/env bash
# safetensors' save_model keeps a GPT-2's output matrix and drops its token embedding.
#
# One would expect: of two names of one tensor, `save_model` keeps the one that GPT-2's own files have,
# the token embedding's. The output matrix is the alias: GPT-2's published files have the embedding only, and so has
# what transformers' save_pretrained writes.
# What happens: save_model keeps the name that sorts first, `lm_head.weight`, and the file has no embedding. What it
# dropped stands only in the file's metadata. GPT2LMHeadModel ties the two again when it reads the file, exactly.
# GPT2Model does not: it starts from RANDOM embeddings, with a report and no error.
# Seen with: safetensors 0.8.0, transformers 5.24.0, torch 2.15.0.
# Why it matters: whoever reads a GPT-2 from safetensors must look for the embedding under both names, and in the
# metadata; and hidden states of such a file, a common input for checking attention, are noise.
#
# The download is large (torch with its libraries, 3 GB; 6 GB unpacked).
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --no-cache-dir --disable-pip-version-check \
    torch==2.15.0 transformers==5.24.0 safetensors==0.8.0 numpy
cat > "$dir/check.py" <<'PY'
import os, sys, tempfile

import safetensors, safetensors.torch, torch, transformers

transformers.logging.set_verbosity_error()
print("safetensors", safetensors.__version__, "transformers", transformers.__version__, "torch", torch.__version__)
torch.manual_seed(0)
config = transformers.GPT2Config(
    vocab_size=50, n_positions=32, n_embd=32, n_layer=2, n_head=4, bos_token_id=0, eos_token_id=0
)
model = transformers.GPT2LMHeadModel(config).eval()
ids = torch.tensor([[1, 5, 7, 9, 3, 2]])


def names(path):
    with safetensors.safe_open(path, "pt") as file:
        return [k for k in file.keys() if "wte" in k or "lm_head" in k], file.metadata()


with tempfile.TemporaryDirectory() as saved, tempfile.TemporaryDirectory() as pretrained, torch.no_grad():
    safetensors.torch.save_model(model, os.path.join(saved, "model.safetensors"))
    config.save_pretrained(saved)
    model.save_pretrained(pretrained)
    by_safetensors, metadata = names(os.path.join(saved, "model.safetensors"))
    by_transformers, _ = names(os.path.join(pretrained, "model.safetensors"))
    print("save_model keeps", by_safetensors, "metadata", metadata)
    print("save_pretrained keeps", by_transformers)
    whole = transformers.GPT2LMHeadModel.from_pretrained(saved).eval()
    whole_error = (whole(ids).logits - model(ids).logits).abs().max().item()
    base = [transformers.GPT2Model.from_pretrained(saved).eval() for _ in range(2)]
    states = [b(ids).last_hidden_state for b in base]
    right = model.transformer(ids).last_hidden_state
    base_error = ((states[0] - right).norm() / right.norm()).item()
    between = ((states[0] - states[1]).norm() / right.norm()).item()
print("GPT2LMHeadModel: largest difference of logits", whole_error)
print("GPT2Model: relative error of hidden states", base_error, "and between two loads of the same file", between)
as_described = (
    by_safetensors == ["lm_head.weight"]
    and by_transformers == ["transformer.wte.weight"]
    and whole_error < 1e-5
    and base_error > 0.5
    and between > 0.5
)
print("as described" if as_described else "CHANGED")
sys.exit(not as_described)
PY
"$dir/venv/bin/python" "$dir/check.py"
