#!/usr/bin/env bash
# KerasHub loads any Hugging Face GPT-2 folder, and computes OpenAI's GPT-2 with its weights.
#
# One would expect: `GPT2Backbone.from_preset(folder)` follows the folder's config.json, or refuses what it does not
# support.
# What happens: vocabulary, sizes and positions are followed. The activation function, the epsilon of the layer norms
# and scale_attn_by_inverse_layer_idx are not: the model has the tanh GELU, 1e-5 and 1/sqrt(d) always. There is no
# message, and the outputs are wrong by some percent. (Another n_inner does raise an error, as shapes do not fit.)
# Seen with: keras-hub 0.32.0, keras 3.15.1 on jax 0.10.2.
# Why it matters: it is an independent GPT-2 to check an implementation against, and an error of a few percent looks
# like quantization.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
# Without TensorFlow, which only its tokenizers need.
"$dir/venv/bin/pip" install --quiet --no-cache-dir --disable-pip-version-check --no-deps keras-hub==0.32.0 kagglehub==1.0.2
"$dir/venv/bin/pip" install --quiet --no-cache-dir --disable-pip-version-check \
    keras==3.15.1 jax==0.10.2 numpy safetensors==0.8.0 regex requests packaging tqdm pyyaml tokenizers sentencepiece kagglesdk==0.1.28
cat > "$dir/check.py" <<'PY'
import json, sys, tempfile

import keras, keras_hub, numpy as np
from safetensors.numpy import save_file

print("keras-hub", keras_hub.__version__, "keras", keras.__version__, "backend", keras.backend.backend())
OWN = dict(activation_function="gelu_new", layer_norm_epsilon=1e-5, scale_attn_by_inverse_layer_idx=False)
E, V, L, H, P = 32, 50, 2, 4, 16
LINEAR = {"attn.c_attn": (E, 3 * E), "attn.c_proj": (E, E), "mlp.c_fc": (E, 4 * E), "mlp.c_proj": (4 * E, E)}
ACTIVATIONS = {
    "gelu_new": lambda x: 0.5 * x * (1 + np.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3))),
    "relu": lambda x: np.maximum(x, 0),
}


def weights():
    r = np.random.default_rng(0)
    normal = lambda *shape: (0.3 * r.standard_normal(shape)).astype(np.float32)
    t = {"wte.weight": normal(V, E), "wpe.weight": normal(P, E)}
    for norm in ["ln_f"] + [f"h.{i}.ln_{j}" for i in range(L) for j in (1, 2)]:
        t[norm + ".weight"], t[norm + ".bias"] = 1 + normal(E), normal(E)
    for name, (a, b) in ((f"h.{i}.{n}", s) for i in range(L) for n, s in LINEAR.items()):
        t[name + ".weight"], t[name + ".bias"] = normal(a, b), normal(b)
    return t


def reference(t, c, ids):
    t = {k: v.astype(np.float64) for k, v in t.items()}
    linear = lambda x, p: x @ t[p + ".weight"] + t[p + ".bias"]

    def norm(x, p):
        x = x - x.mean(-1, keepdims=True)
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + c["layer_norm_epsilon"]) * t[p + ".weight"] + t[p + ".bias"]

    n = len(ids)
    x = t["wte.weight"][ids] + t["wpe.weight"][:n]
    for i in range(L):
        p = f"h.{i}."
        heads = np.split(linear(norm(x, p + "ln_1"), p + "attn.c_attn"), 3, -1)
        q, k, v = (h.reshape(n, H, E // H).transpose(1, 0, 2) for h in heads)
        scores = q @ k.transpose(0, 2, 1) / (E // H) ** 0.5
        if c["scale_attn_by_inverse_layer_idx"]:
            scores = scores / (i + 1)
        weight = np.exp(scores - scores.max(-1, keepdims=True)) * np.tril(np.ones((n, n)))
        mixed = (weight / weight.sum(-1, keepdims=True)) @ v
        x = x + linear(mixed.transpose(1, 0, 2).reshape(n, E), p + "attn.c_proj")
        inner = ACTIVATIONS[c["activation_function"]](linear(norm(x, p + "ln_2"), p + "mlp.c_fc"))
        x = x + linear(inner, p + "mlp.c_proj")
    return norm(x, "ln_f")


ids, t = np.array([1, 5, 7, 9, 3, 2]), weights()
error = lambda a, b: np.linalg.norm(a - b) / np.linalg.norm(b)
as_described = True
for option in ({}, {"activation_function": "relu"}, {"layer_norm_epsilon": 0.1}, {"scale_attn_by_inverse_layer_idx": True}):
    config = dict(model_type="gpt2", vocab_size=V, n_positions=P, n_embd=E, n_layer=L, n_head=H, **{**OWN, **option})
    config.update(architectures=["GPT2LMHeadModel"], resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
    with tempfile.TemporaryDirectory() as folder:
        save_file(t, folder + "/model.safetensors", {"format": "pt"})
        with open(folder + "/config.json", "w") as file:
            json.dump(config, file)
        model = keras_hub.models.GPT2Backbone.from_preset(folder)
    got = np.asarray(model({"token_ids": ids[None], "padding_mask": np.ones((1, len(ids)), int)}))[0]
    asked, own = error(got, reference(t, config, ids)), error(got, reference(t, OWN, ids))
    print(f"{option}: relative error {asked:.1e} to what config.json says, {own:.1e} to OpenAI's options")
    as_described &= own < 1e-5 and (asked > 1e-2 if option else asked < 1e-5)
print("as described" if as_described else "CHANGED")
sys.exit(not as_described)
PY
KERAS_BACKEND=jax "$dir/venv/bin/python" "$dir/check.py"
