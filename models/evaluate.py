"""Prints how well a trained model predicts the held-out part of its text, beside a bigram model of the same tokens.

    python models/evaluate.py --text ../shared/text/tinyshakespeare.txt
"""

import argparse
import json
from pathlib import Path

from corpus import Corpus, evaluate
from gpt2 import load


def main() -> None:
    parser = argparse.ArgumentParser(description="Held-out loss of a model, beside a bigram model of the same tokens.")
    parser.add_argument("--text", type=Path, required=True, help="the text the model was trained on")
    parser.add_argument("--model", type=Path, default=Path(__file__).parent / "embedded")
    arguments = parser.parse_args()
    print(json.dumps(evaluate(*load(arguments.model), Corpus(arguments.text)), indent=2))


if __name__ == "__main__":
    main()
