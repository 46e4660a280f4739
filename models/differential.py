"""Writes folders of small GPT-2s by `transformers` and compares what this project makes of them with what it does.

    cargo build --release -p nn --example inspect_gpt2
    python -m venv .venv && .venv/bin/pip install torch==2.15.0 transformers==5.24.0
    .venv/bin/python models/differential.py target/release/examples/inspect_gpt2

Each folder is written by `save_pretrained`; some are changed afterwards as people change them. Compared are token
numbers, the greedy continuation, and the mean loss in nats, to 1e-4; the logits of the last position are printed
relative to their spread. The last column says what is expected to differ. Not part of the tests: PyTorch is large.
"""

import argparse
import json
import logging
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

import torch
from safetensors.torch import load_file, save_file, save_model
from tokenizers import AddedToken, normalizers
from transformers import AutoTokenizer, GenerationConfig, GPT2Config, GPT2LMHeadModel, GPT2Tokenizer
from transformers.activations import ACT2CLS

EMBEDDED = Path(__file__).parent / "embedded"
TEXTS = ["Good night, good", " naïve café <b>\n<|endoftext|>ROMEO: 東京 🦀", "x<a>  y<pad>"]
TOKENS = 12
LOSS_BOUND = 1e-4


@dataclass
class Case:
    """One folder."""

    name: str
    config: dict = field(default_factory=dict)
    dtype: torch.dtype = torch.float32
    shard: str = "50GB"
    tokenizer: dict = field(default_factory=dict)
    # Tokens that are added to the tokenizer before it is written.
    added: list = field(default_factory=list)
    # With vocab.json, merges.txt and tokenizer_config.json in the place of tokenizer.json.
    old_files: bool = False
    # Changes the folder afterwards.
    change: Callable[[Path], None] = lambda folder: None


def change_json(name: str, **fields) -> Callable[[Path], None]:
    """Sets fields of a JSON file of the folder; a value that can be called gets the old one."""

    def change(folder: Path) -> None:
        path = folder / name
        content = json.loads(path.read_text()) if path.exists() else {}
        for key, value in fields.items():
            content[key] = value(content.get(key)) if callable(value) else value
        path.write_text(json.dumps(content))

    return change


def rename_fields(folder: Path) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    names = {"n_layer": "num_hidden_layers", "n_head": "num_attention_heads", "n_embd": "hidden_size"}
    names["n_positions"] = "max_position_embeddings"
    path.write_text(json.dumps({names.get(key, key): value for key, value in config.items()}))


def keep_what_has_no_default(folder: Path) -> None:
    path = folder / "config.json"
    config, usual = json.loads(path.read_text()), GPT2Config().to_dict()
    path.write_text(json.dumps({k: v for k, v in config.items() if k == "model_type" or usual.get(k) != v}))


def only_lm_head(folder: Path) -> None:
    save_model(GPT2LMHeadModel.from_pretrained(folder), str(folder / "model.safetensors"), metadata={"format": "pt"})


def other_lm_head(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["lm_head.weight"] = tensors["transformer.wte.weight"].flip(0).contiguous()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def likeliest_ends(folder: Path) -> None:
    """Makes the third token of the greedy continuation of the first text one that ends it."""
    model = GPT2LMHeadModel.from_pretrained(folder, dtype=torch.float32)
    ids = torch.tensor([AutoTokenizer.from_pretrained(folder)(TEXTS[0])["input_ids"]])
    model.generation_config.eos_token_id = None
    out = model.generate(ids, max_new_tokens=3, do_sample=False, pad_token_id=0)
    change_json("generation_config.json", eos_token_id=[1000, out[0, -1].item()])(folder)


def of_tokenizer(**fields) -> Callable[[Path], None]:
    return change_json("tokenizer.json", **fields)


def cases() -> list[Case]:
    small = {"n_layer": 2, "n_head": 2, "n_embd": 32, "n_positions": 64}
    all_cases = [
        Case("plain"),
        Case("untied", {"tie_word_embeddings": False}),
        Case("f16", dtype=torch.float16),
        Case("bf16", dtype=torch.bfloat16),
        Case("f64", dtype=torch.float64),
        Case("untied f64, shards", {"tie_word_embeddings": False}, torch.float64, "100KB"),
        Case("shards", shard="50KB"),
        Case("f16, shards", dtype=torch.float16, shard="40KB"),
        Case("padded vocabulary", {"vocab_size": 1088}),
        Case("no division of scores", {"scale_attn_weights": False}),
        Case("division by layers", {"scale_attn_by_inverse_layer_idx": True}),
        Case("upcast", {"reorder_and_upcast_attn": True, "scale_attn_by_inverse_layer_idx": True}),
        Case("epsilon 1e-12", {"layer_norm_epsilon": 1e-12}),
        Case("epsilon 0.1", {"layer_norm_epsilon": 0.1}),
        Case("inner 40", {"n_inner": 40}),
        Case("one head", {"n_head": 1, "n_layer": 1}),
        Case("eight heads, five layers", {"n_head": 8, "n_layer": 5}),
        Case("aliases", change=rename_fields),
        Case("defaults left out", {"n_layer": 12, "n_head": 12, "n_embd": 48}, change=keep_what_has_no_default),
        Case("NaN where nobody needs it", change=change_json("config.json", initializer_range=float("nan"))),
        Case("lm_head alone", change=only_lm_head),
        Case("tied with another lm_head", change=other_lm_head),
        Case("index names more", shard="50KB", change=change_json(
            "model.safetensors.index.json",
            weight_map=lambda old: old | {"transformer.h.0.attn.masked_bias": sorted(old.values())[0]})),
        Case("ends by generation_config", change=likeliest_ends),
        Case("eos of config", {"eos_token_id": [5, 6, 7, 8, 9] + list(range(100, 900))}),
        Case("no eos in generation_config", {"eos_token_id": list(range(1000))},
             change=lambda folder: (folder / "generation_config.json").write_text("{}")),
        Case("added tokens", added=["<a>", "<b>"]),
        Case("added tokens with stripping", added=[AddedToken("<a>", lstrip=True), AddedToken("<b>", rstrip=True),
                                                   AddedToken("y", single_word=True)]),
        Case("pad", tokenizer={"pad_token": "<pad>"}),
        Case("bos", tokenizer={"add_bos_token": True}),
        Case("bos and eos of another name", tokenizer={"add_bos_token": True, "add_eos_token": True,
                                                       "bos_token": "<a>", "eos_token": "<b>"}),
        Case("prefix space", tokenizer={"add_prefix_space": True}),
        Case("truncation stored", change=of_tokenizer(
            truncation={"max_length": 3, "strategy": "LongestFirst", "stride": 0, "direction": "Right"})),
        Case("padding stored", change=of_tokenizer(
            padding={"strategy": {"Fixed": 30}, "direction": "Left", "pad_to_multiple_of": None, "pad_id": 0,
                     "pad_type_id": 0, "pad_token": "!"})),
        Case("dropout stored", change=of_tokenizer(model=lambda old: old | {"dropout": 0.5})),
        Case("gaps in added tokens", added=["<a>", "<b>"], change=of_tokenizer(
            added_tokens=lambda old: [t | {"id": t["id"] if t["id"] < 1024 else 2 * t["id"]} for t in old])),
        Case("old: plain", old_files=True),
        Case("old: prefix space", tokenizer={"add_prefix_space": True}, old_files=True),
        Case("old: bos", tokenizer={"add_bos_token": True}, old_files=True),
        Case("old: bos and eos of another name", tokenizer={"add_bos_token": True, "add_eos_token": True,
                                                            "bos_token": "<a>", "eos_token": "<b>"}, old_files=True),
        Case("old: pad", tokenizer={"pad_token": "<pad>"}, old_files=True),
        Case("old: added_tokens_decoder", old_files=True, change=change_json(
            "tokenizer_config.json", added_tokens_decoder={
                "1040": {"content": "<b>", "lstrip": True, "normalized": False, "special": True},
                "1030": {"content": "<a>", "rstrip": True, "normalized": True, "special": False}})),
        Case("old: added_tokens.json with gaps", old_files=True,
             change=change_json("added_tokens.json", **{"<b>": 1030, "<a>": 1027})),
        Case("old: special_tokens_map.json", old_files=True, change=change_json(
            "special_tokens_map.json", pad_token="<pad>", additional_special_tokens=["<b>", "<a>"])),
        Case("old: special tokens split", tokenizer={"split_special_tokens": True}, old_files=True),
        Case("old: no <|endoftext|>", old_files=True, change=change_json(
            "vocab.json", **{"<|endoftext|>": 1023})),
        Case("old: number beyond 32 bits", old_files=True, change=change_json("vocab.json", good=2**32 + 5)),
        Case("normalizer of its own", change=of_tokenizer(normalizer={"type": "Lowercase"})),
    ]
    all_cases += [Case(f"activation {name}", {"activation_function": name}) for name in sorted(ACT2CLS)]
    for case in all_cases:
        case.config = small | {"vocab_size": 1040} | case.config
    return all_cases


# What differs on purpose.
EXPECTED = {
    "old: number beyond 32 bits": "refused here",
    "normalizer of its own": "obeyed here",
}


def write(case: Case, folder: Path, seed: int) -> None:
    torch.manual_seed(seed)
    model = GPT2LMHeadModel(GPT2Config(**case.config, initializer_range=0.3))
    for name, parameter in model.named_parameters():
        if name.endswith(("bias", "ln_1.weight", "ln_2.weight", "ln_f.weight")):
            with torch.no_grad():
                parameter.add_(0.1 * torch.randn_like(parameter))
    model.to(case.dtype).save_pretrained(folder, max_shard_size=case.shard)
    tokenizer = GPT2Tokenizer(vocab=str(EMBEDDED / "vocab.json"), merges=str(EMBEDDED / "merges.txt"), **case.tokenizer)
    tokenizer.add_tokens(case.added)
    tokenizer.save_pretrained(folder)
    if case.old_files:
        (folder / "tokenizer.json").unlink()
        for name in ("vocab.json", "merges.txt"):
            (folder / name).write_bytes((EMBEDDED / name).read_bytes())
        change_json("tokenizer_config.json", **case.tokenizer)(folder)
    case.change(folder)


def expected(folder: Path) -> list[dict]:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = GPT2LMHeadModel.from_pretrained(folder, dtype=torch.float32).eval()
    results = []
    for text in TEXTS:
        ids = torch.tensor([tokenizer(text, truncation=False, padding=False)["input_ids"]])
        with torch.no_grad():
            logits = model(ids).logits[0].double()
            loss = torch.nn.functional.cross_entropy(logits[:-1], ids[0, 1:]).item()
            out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=TOKENS, do_sample=False,
                                 pad_token_id=0)
        continuation = out[0, ids.shape[1]:].tolist()
        results.append({"tokens": ids[0].tolist(), "loss": loss, "logits": logits[-1],
                        "continuation": continuation, "text": tokenizer.decode(continuation)})
    return results


def compare(binary: Path, folder: Path) -> tuple[str, float, float]:
    """What differs, and the largest differences of loss and of logits."""
    arguments = [str(binary), str(folder), "--tokens", str(TOKENS), "--", *TEXTS]
    run = subprocess.run(arguments, capture_output=True, text=True)
    if run.returncode != 0:
        return run.stderr.strip().splitlines()[0], 0.0, 0.0
    found = [json.loads(line) for line in run.stdout.splitlines()]
    differs, losses, logits = set(), [], []
    for ours, theirs in zip(found, expected(folder), strict=True):
        differs |= {key for key in ("tokens", "continuation", "text") if ours[key] != theirs[key]}
        losses.append(abs(ours["loss"] - theirs["loss"]))
        if ours["tokens"] == theirs["tokens"]:
            difference = (torch.tensor(ours["logits"], dtype=torch.float64) - theirs["logits"]).abs().max()
            logits.append((difference / theirs["logits"].std()).item())
    if max(losses) > LOSS_BOUND:
        differs.add("loss")
    return ", ".join(sorted(differs)), max(losses), max(logits, default=0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description="Compares this project's GPT-2 with that of transformers.")
    parser.add_argument("binary", type=Path, help="the example inspect_gpt2, built")
    parser.add_argument("--only", default="", help="only folders whose name contains this")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    chosen = [case for case in cases() if arguments.only in case.name]
    unexpected = 0
    print(f"| folder | differs | loss | logits |\n|---|---|---|---|")
    for seed, case in enumerate(chosen):
        with tempfile.TemporaryDirectory() as folder:
            write(case, Path(folder), seed)
            differs, loss, logits = compare(arguments.binary, Path(folder))
        remark = f"{differs} ({EXPECTED[case.name]})" if differs and case.name in EXPECTED else differs or "-"
        unexpected += bool(differs) and case.name not in EXPECTED
        print(f"| {case.name} | {remark.replace(folder, '')} | {loss:.1e} | {logits:.1e} |", flush=True)
    print(f"\n{len(chosen)} folders, {unexpected} differ unexpectedly")
    raise SystemExit(unexpected > 0)


if __name__ == "__main__":
    main()
