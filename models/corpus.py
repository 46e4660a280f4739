"""The text: its split, its byte-level BPE, and how well a model predicts the part held out."""

import hashlib
import json
import math
import random
import re
from bisect import bisect
from collections import Counter
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import AddedToken, Encoding, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from gpt2 import Gpt2

HELD_OUT_FRACTION = 0.1
CHOICE_FRACTION = 0.05
NAME = r"\b[A-Z]{2,}\b"
SPACE = "Ġ"  # how GPT-2's byte alphabet writes a space


class Corpus:
    """A text cut once: the last tenth is held out from the tokenizer, the model and the n-gram baseline alike.

    Of the other nine, the last twentieth is not trained on: the step to stop at is chosen on it. The tokenizer and the
    baseline do learn from that twentieth.
    """

    def __init__(self, path: Path):
        data = path.read_bytes()
        text = data.decode("utf-8")
        cut = len(text) - int(len(text) * HELD_OUT_FRACTION)
        self.sha256 = hashlib.sha256(data).hexdigest()
        self.training, self.held_out = text[:cut], text[cut:]
        cut = len(self.training) - int(len(self.training) * CHOICE_FRACTION)
        self.fitting, self.choice = self.training[:cut], self.training[cut:]


def train_tokenizer(text: str, vocab_size: int) -> Tokenizer:
    """Byte-level BPE as GPT-2 has it: 256 bytes, then the merges, then <|endoftext|> (section 2.2 of its report)."""
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=vocab_size - 1, initial_alphabet=alphabet, show_progress=False)
    learner.train_from_iterator([text], trainer)

    bpe = json.loads(learner.to_str())["model"]
    vocabulary = bpe["vocab"] | {"<|endoftext|>": len(bpe["vocab"])}
    merges = [tuple(pair) for pair in bpe["merges"]]
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = learner.pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.add_special_tokens([AddedToken("<|endoftext|>", special=True, normalized=True)])
    return tokenizer


class RenamedText:
    """A text some of whose characters have other names each time that it is encoded.

    The tokenizer and the model know the names of the plays they learn from by heart; those of other plays fall into
    short pieces, which a model that has seen whole names alone predicts worse than at random and does not learn to
    repeat. Names that are made up anew every few steps can only be predicted by looking back to where they were used.
    """

    def __init__(self, tokenizer: Tokenizer, text: str, seed: int):
        self.tokenizer = tokenizer
        self.words = [word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text)]
        distinct = dict.fromkeys(self.words)  # unlike a set, in the same order every time
        self.usual = {word: self._tokens(word) for word in distinct}
        # Names of speakers, written in capitals: not KING or LADY, which are words as well.
        capitals = dict.fromkeys(word.lstrip(SPACE) for word in distinct if word.lstrip(SPACE).isupper())
        common = {word.lstrip(SPACE) for word in distinct}
        self.names = [word for word in capitals if len(word) > 3 and word.lower() not in common]
        self.spellings = {name: [word for word in self._spellings(name) if word in distinct] for name in self.names}
        self.random = random.Random(seed)

    def encode(self, rate: float) -> torch.Tensor:
        """The text's tokens, each character renamed with probability `rate`."""
        tokens = dict(self.usual)
        for name in self.names:
            if self.random.random() < rate:
                other = self._invent()
                for word in self.spellings[name]:
                    start = len(word) - len(name)
                    tokens[word] = self._tokens(word[:start] + (other if word.isupper() else other.capitalize()))
        return torch.tensor([token for word in self.words for token in tokens[word]])

    def _spellings(self, name: str) -> list[str]:
        return [space + form for space in ("", SPACE) for form in (name, name.capitalize())]

    def _invent(self) -> str:
        """The beginning of one name with the end of another."""
        first, second = self.random.choice(self.names), self.random.choice(self.names)
        return first[: self.random.randint(1, len(first) - 1)] + second[self.random.randint(1, len(second) - 1) :]

    def _tokens(self, word: str) -> list[int]:
        return [token.id for token in self.tokenizer.model.tokenize(word)]


@torch.no_grad()
def token_losses(model: Gpt2, tokens: list[int]) -> list[float]:
    """Negative log-likelihood, nats, of every token but the first.

    Windows of n_positions advance by half their length and only what the previous one did not reach is counted, so each
    token is predicted once, from at least n_positions / 2 tokens wherever there are as many before it.
    """
    window, all_losses = model.config.n_positions, []
    for start in range(0, len(tokens) - 1, window // 2):
        piece = torch.tensor(tokens[start : start + window + 1])
        losses = F.cross_entropy(model(piece[None, :-1])[0], piece[1:], reduction="none")
        all_losses += losses[len(all_losses) - start :].tolist()
    return all_losses


def model_loss(model: Gpt2, tokens: list[int]) -> float:
    """Mean of `token_losses`."""
    losses = token_losses(model, tokens)
    return sum(losses) / len(losses)


def unseen_names(encoding: Encoding, text: str, seen: str) -> list[int]:
    """The tokens of words in capitals that are not in `seen`: the names of speakers of another play."""
    names = (match for match in re.finditer(NAME, text) if not re.search(rf"\b{match[0]}\b", seen))
    names = [match.span() for match in names]
    middles = [(start + end) / 2 for start, end in encoding.offsets]
    inside = (range(bisect(middles, start), bisect(middles, end)) for start, end in names)
    return [token for tokens in inside for token in tokens]


def bigram_loss(training: list[int], held_out: list[int], vocab_size: int) -> float:
    """The same mean for an interpolated Kneser-Ney bigram model fitted on `training`.

    Chen and Goodman, "An Empirical Study of Smoothing Techniques for Language Modeling" (1999), section 2.7, with the
    discount n1 / (n1 + 2 n2) estimated there. Its lowest order is itself smoothed by one: no token has probability 0.
    """
    pairs = Counter(zip(training, training[1:]))
    frequencies = Counter(pairs.values())
    discount = frequencies[1] / (frequencies[1] + 2 * frequencies[2])
    context_total, followers, predecessors = Counter(), Counter(), Counter()
    for (left, right), count in pairs.items():
        context_total[left] += count
        followers[left] += 1
        predecessors[right] += 1

    def probability(left: int, right: int) -> float:
        continuation = (predecessors[right] + 1) / (len(pairs) + vocab_size)
        if not context_total[left]:
            return continuation
        seen = max(pairs[left, right] - discount, 0)
        return (seen + discount * followers[left] * continuation) / context_total[left]

    return -sum(math.log(probability(*pair)) for pair in zip(held_out, held_out[1:])) / (len(held_out) - 1)


def evaluate(model: Gpt2, tokenizer: Tokenizer, corpus: Corpus) -> dict:
    """The figures of the held-out part: losses in nats per token, and the same in bits per character."""
    training, encoding = tokenizer.encode(corpus.training).ids, tokenizer.encode(corpus.held_out)
    held_out = encoding.ids
    bits_per_nat_of_token = len(held_out) / len(corpus.held_out) / math.log(2)
    losses = token_losses(model, held_out)
    loss = sum(losses) / len(losses)
    names = [losses[token - 1] for token in unseen_names(encoding, corpus.held_out, corpus.fitting) if token > 0]
    bigram = bigram_loss(training, held_out, model.config.vocab_size)
    return {
        "training_tokens": len(training),
        "held_out_tokens": len(held_out),
        "held_out_characters": len(corpus.held_out),
        "loss_nats_per_token": round(loss, 4),
        "loss_bits_per_character": round(loss * bits_per_nat_of_token, 4),
        "unseen_name_tokens": len(names),
        "unseen_name_nats_per_token": round(sum(names) / len(names), 4),
        "bigram_nats_per_token": round(bigram, 4),
        "bigram_bits_per_character": round(bigram * bits_per_nat_of_token, 4),
    }
