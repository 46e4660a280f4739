"""GPT-2 in PyTorch, with the tensor names, shapes and files of Hugging Face.

Radford et al., "Language Models are Unsupervised Multitask Learners" (2019). The module tree is laid out so that
`state_dict()` yields the names of the `gpt2` checkpoint on the Hub, without the `transformer.` prefix.
Letters in shapes: B sequences, T positions, E = n_embd, H heads, D = E / H, V = vocabulary size.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor, nn


@dataclass(frozen=True)
class Config:
    """The part of Hugging Face's `GPT2Config` that changes what the model computes, or how it is trained."""

    vocab_size: int = 1024
    n_positions: int = 64
    n_embd: int = 128
    n_layer: int = 3
    n_head: int = 2
    layer_norm_epsilon: float = 1e-5
    initializer_range: float = 0.02
    # Probabilities of dropout, in training alone: of the sum of embeddings, of attention's weights, of each branch.
    embd_pdrop: float = 0.05
    attn_pdrop: float = 0.05
    resid_pdrop: float = 0.05


class Conv1D(nn.Module):
    """An affine map whose weight is stored [in, out], as GPT-2's checkpoints store it."""

    def __init__(self, inputs: int, outputs: int, std: float):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inputs, outputs).normal_(std=std))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight + self.bias


class Attention(nn.Module):
    """Causal self-attention with H heads."""

    def __init__(self, config: Config, residual_std: float):
        super().__init__()
        self.n_head = config.n_head
        self.attn_pdrop = config.attn_pdrop
        self.resid_dropout = nn.Dropout(config.resid_pdrop)
        self.c_attn = Conv1D(config.n_embd, 3 * config.n_embd, config.initializer_range)
        self.c_proj = Conv1D(config.n_embd, config.n_embd, residual_std)

    def forward(self, x: Tensor) -> Tensor:  # [B, T, E]
        batch, length, width = x.shape
        heads = (batch, length, self.n_head, width // self.n_head)
        q, k, v = (part.view(heads).transpose(1, 2) for part in self.c_attn(x).split(width, dim=-1))  # [B, H, T, D]
        dropout = self.attn_pdrop if self.training else 0.0
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True)  # scaled by 1/sqrt(D)
        return self.resid_dropout(self.c_proj(y.transpose(1, 2).reshape(batch, length, width)))


class Mlp(nn.Module):
    """Two affine maps, E -> 4E -> E, around the tanh form of GELU (`gelu_new`)."""

    def __init__(self, config: Config, residual_std: float):
        super().__init__()
        self.c_fc = Conv1D(config.n_embd, 4 * config.n_embd, config.initializer_range)
        self.c_proj = Conv1D(4 * config.n_embd, config.n_embd, residual_std)
        self.resid_dropout = nn.Dropout(config.resid_pdrop)

    def forward(self, x: Tensor) -> Tensor:
        return self.resid_dropout(self.c_proj(F.gelu(self.c_fc(x), approximate="tanh")))


class Block(nn.Module):
    """One layer, LayerNorm before each of its two residual branches."""

    def __init__(self, config: Config):
        super().__init__()
        # Each layer adds two branches to the residual stream: its variance must not grow with depth.
        residual_std = config.initializer_range / (2 * config.n_layer) ** 0.5
        self.ln_1 = nn.LayerNorm(config.n_embd, config.layer_norm_epsilon)
        self.attn = Attention(config, residual_std)
        self.ln_2 = nn.LayerNorm(config.n_embd, config.layer_norm_epsilon)
        self.mlp = Mlp(config, residual_std)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class Gpt2(nn.Module):
    """The language model; the output projection is the transposed token embedding."""

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.wpe = nn.Embedding(config.n_positions, config.n_embd)
        self.embd_dropout = nn.Dropout(config.embd_pdrop)
        self.h = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd, config.layer_norm_epsilon)
        for embedding in (self.wte, self.wpe):
            nn.init.normal_(embedding.weight, std=config.initializer_range)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits [B, T, V] of the token after each of `tokens` [B, T], T <= n_positions."""
        x = self.embd_dropout(self.wte(tokens) + self.wpe.weight[: tokens.shape[1]])
        for block in self.h:
            x = block(x)
        return self.ln_f(x) @ self.wte.weight.T


def save(model: Gpt2, tokenizer: Tokenizer, folder: Path) -> None:
    """Writes a Hugging Face checkpoint: f16 weights, configuration, and the tokenizer in its new and its old form."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.detach().half().contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(_hugging_face_config(model.config, tokenizer), indent=2) + "\n")
    tokenizer.save(str(folder / "tokenizer.json"))
    _write_gpt2_vocabulary(folder)


def load(folder: Path) -> tuple[Gpt2, Tokenizer]:
    """Reads a folder that `save` wrote; the f16 weights are widened to f32."""
    fields = json.loads((folder / "config.json").read_text())
    model = Gpt2(Config(**{name: fields[name] for name in Config.__dataclass_fields__}))
    weights = load_file(folder / "model.safetensors")
    model.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    return model.eval(), Tokenizer.from_file(str(folder / "tokenizer.json"))


def _hugging_face_config(config: Config, tokenizer: Tokenizer) -> dict:
    end_of_text = tokenizer.token_to_id("<|endoftext|>")
    fields = asdict(config) | {
        "activation_function": "gelu_new",
        "architectures": ["GPT2LMHeadModel"],
        "bos_token_id": end_of_text,
        "dtype": "float16",
        "eos_token_id": end_of_text,
        "model_type": "gpt2",
        "n_ctx": config.n_positions,
        "n_inner": None,
        "reorder_and_upcast_attn": False,
        "scale_attn_by_inverse_layer_idx": False,
        "scale_attn_weights": True,
        "summary_activation": None,
        "summary_first_dropout": 0.1,
        "summary_proj_to_labels": True,
        "summary_type": "cls_index",
        "summary_use_proj": True,
        "tie_word_embeddings": True,
        "use_cache": True,
    }
    return dict(sorted(fields.items()))


def _write_gpt2_vocabulary(folder: Path) -> None:
    """Derives GPT-2's older pair of files, vocab.json and merges.txt, from tokenizer.json."""
    bpe = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    (folder / "vocab.json").write_text(json.dumps(bpe["vocab"], ensure_ascii=False) + "\n", encoding="utf-8")
    merges = "".join(f"{left} {right}\n" for left, right in bpe["merges"])
    (folder / "merges.txt").write_text("#version: 0.2\n" + merges, encoding="utf-8")
