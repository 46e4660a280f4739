"""Trains the embedded model from one text file: tokenizer, weights, figures and the reference for the tests.

    python models/train.py --text ../shared/text/tinyshakespeare.txt

One thread and a fixed seed: on one kind of CPU, with the pinned packages, every file comes out the same byte for byte,
but for the seconds in training.json. Another CPU rounds differently and ends at other weights of about the same loss.
"""

import argparse
import json
import math
import platform
import time
from importlib.metadata import version
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from tokenizers import Tokenizer

from corpus import Corpus, RenamedText, evaluate, model_loss, train_tokenizer
from gpt2 import Config, Gpt2, load, save

REFERENCE_PROMPTS = ["ROMEO:\nWhat, my lord", "The king is dead, and I must speak no more of him."]
HEAD_SIZE = 64
RENAMING_STEPS = 50  # steps with the same names
PACKAGES = ["torch", "numpy", "safetensors", "tokenizers"]


def learning_rate(step: int, arguments: argparse.Namespace) -> float:
    """Linear warm-up, then half a cosine down to a hundredth of the peak."""
    if step < arguments.warmup:
        return arguments.learning_rate * (step + 1) / arguments.warmup
    progress = (step - arguments.warmup) / max(1, arguments.steps - arguments.warmup)
    return arguments.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))


def optimizer_of(model: Gpt2, weight_decay: float) -> torch.optim.AdamW:
    """AdamW that decays matrices only; biases and LayerNorm parameters are left free."""
    matrices = [parameter for parameter in model.parameters() if parameter.dim() == 2]
    vectors = [parameter for parameter in model.parameters() if parameter.dim() < 2]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, betas=(0.9, 0.99))


def fit(model: Gpt2, fitting: RenamedText, choice: list[int], arguments: argparse.Namespace) -> list[dict]:
    """Minimizes the cross-entropy on random windows of `fitting`; returns the losses at each report.

    The model ends with the weights of the report at which it predicted `choice` best.
    """
    optimizer = optimizer_of(model, arguments.weight_decay)
    window = torch.arange(model.config.n_positions + 1)
    curve, recent, best, started = [], [], None, time.perf_counter()
    for step in range(arguments.steps):
        if step % RENAMING_STEPS == 0:
            tokens = fitting.encode(arguments.renamed)
        starts = torch.randint(len(tokens) - model.config.n_positions, (arguments.batch, 1))
        batch = tokens[starts + window]  # [B, T + 1]
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, arguments)
        loss = F.cross_entropy(model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        recent.append(loss.item())
        if (step + 1) % arguments.report == 0 or step + 1 == arguments.steps:
            report = {
                "step": step + 1,
                "training": round(sum(recent) / len(recent), 4),
                "choice": round(model_loss(model.eval(), choice), 4),
            }
            model.train()
            recent.clear()
            curve.append(report)
            print(f"{report} nats/token, {time.perf_counter() - started:.0f} s", flush=True)
            if report["choice"] == min(earlier["choice"] for earlier in curve):
                best = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.load_state_dict(best)
    return curve


@torch.no_grad()
def write_reference(model: Gpt2, tokenizer: Tokenizer, path: Path) -> None:
    """Text, token ids and f32 logits of the last position, to hold another implementation against this one."""
    tensors = {}
    for index, prompt in enumerate(REFERENCE_PROMPTS):
        tokens = torch.tensor(tokenizer.encode(prompt).ids)
        tensors[f"prompt{index}.text"] = torch.tensor(list(prompt.encode()), dtype=torch.uint8)  # UTF-8
        tensors[f"prompt{index}.tokens"] = tokens  # [T], i64
        tensors[f"prompt{index}.logits"] = model(tokens[None])[0, -1].clone()  # [V], f32
    save_file(tensors, path)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train the embedded GPT-2-shaped model.")
    parser.add_argument("--text", type=Path, required=True, help="UTF-8 text; its last tenth is held out")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "embedded", help="folder to write")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--width", type=int, default=128, help=f"a multiple of {HEAD_SIZE}, the size of a head")
    parser.add_argument("--steps", type=int, default=5500)
    parser.add_argument("--batch", type=int, default=32, help="windows of n_positions tokens a step")
    parser.add_argument("--learning-rate", type=float, default=4e-3)
    parser.add_argument("--warmup", type=int, default=200, help="steps")
    parser.add_argument("--weight-decay", type=float, default=0.4)
    parser.add_argument("--dropout", type=float, default=0.05, help="of embeddings, attention and residual branches")
    parser.add_argument("--renamed", type=float, default=0.5, help="share of characters under made-up names")
    parser.add_argument("--report", type=int, default=250, help="steps between two looks at the loss")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(arguments.seed)
    corpus = Corpus(arguments.text)
    tokenizer = train_tokenizer(corpus.training, Config.vocab_size)
    dropout = {name: arguments.dropout for name in ("embd_pdrop", "attn_pdrop", "resid_pdrop")}
    shape = {"n_layer": arguments.layers, "n_embd": arguments.width, "n_head": arguments.width // HEAD_SIZE}
    model = Gpt2(Config(**shape, **dropout))
    started = time.perf_counter()
    fitting = RenamedText(tokenizer, corpus.fitting, arguments.seed)
    curve = fit(model, fitting, tokenizer.encode(corpus.choice).ids, arguments)
    seconds = time.perf_counter() - started

    save(model, tokenizer, arguments.out)
    model, tokenizer = load(arguments.out)  # what is measured is what was written: weights rounded to f16
    write_reference(model, tokenizer, arguments.out / "reference.safetensors")
    record = {
        "text_sha256": corpus.sha256,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        **{name: value for name, value in vars(arguments).items() if name not in ("text", "out")},
        "seconds": round(seconds),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        "curve_nats_per_token": curve,
        "held_out": evaluate(model, tokenizer, corpus),
    }
    (arguments.out / "training.json").write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(record["held_out"], indent=2))


if __name__ == "__main__":
    main()
