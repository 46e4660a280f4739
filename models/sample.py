"""Continues a prompt with a trained model, in f32.

    python models/sample.py "ROMEO:"
    python models/sample.py "ROMEO:" --temperature 0.8 --seed 1
"""

import argparse
from pathlib import Path

import torch

from gpt2 import Gpt2, load


@torch.no_grad()
def continue_prompt(model: Gpt2, prompt: list[int], count: int, temperature: float) -> list[int]:
    """`prompt` and `count` tokens more: the likeliest each time at temperature 0, else drawn from the softmax."""
    tokens = list(prompt)
    for _ in range(count):
        logits = model(torch.tensor([tokens[-model.config.n_positions :]]))[0, -1]  # [V]
        if temperature == 0:
            tokens.append(int(logits.argmax()))
        else:
            tokens.append(int(torch.multinomial(torch.softmax(logits / temperature, dim=-1), 1)))
    return tokens


def main() -> None:
    parser = argparse.ArgumentParser(description="Continue a prompt with a trained model.")
    parser.add_argument("prompt")
    parser.add_argument("--model", type=Path, default=Path(__file__).parent / "embedded")
    parser.add_argument("--tokens", type=int, default=100, help="tokens to add")
    parser.add_argument("--temperature", type=float, default=0.0, help="0 takes the likeliest token each time")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    model, tokenizer = load(arguments.model)
    prompt = tokenizer.encode(arguments.prompt).ids
    print(f"{len(prompt)} tokens: {prompt}")
    print(tokenizer.decode(continue_prompt(model, prompt, arguments.tokens, arguments.temperature)))


if __name__ == "__main__":
    main()
