#!/usr/bin/env bash
# tokenizers: a byte-level BPE trained on a small text deletes what the text did not have.
#
# One would expect: byte-level BPE, GPT-2's, encodes any text, as its base vocabulary is the 256 bytes; or, where a
# byte has no token, an error.
# What happens: the trainer takes only the bytes that it saw, unless it is given `ByteLevel.alphabet()`. A byte without
# token is left out of the encoding, with no error and no unknown token, so decoding gives another text. Of a character
# of several bytes a part can be left out, and what remains is no character.
# Neither `vocab_size` nor the pre-tokenizer's name hints at it.
# Seen with: tokenizers 0.23.3.
# Why it matters: small GPT-2s for tests are trained so. A prompt loses letters before it is encrypted, the server and
# the model run on a shorter sequence, and all comparisons of encrypted with clear agree on the wrong text.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --no-cache-dir --disable-pip-version-check tokenizers==0.23.3
cat > "$dir/check.py" <<'PY'
import sys

import tokenizers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

print("tokenizers", tokenizers.__version__)


def trained(alphabet):
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=300, show_progress=False, initial_alphabet=alphabet)
    t.train_from_iterator(["the king and the queen of café society "] * 50, trainer)
    return t


prompt = "the Zebra and the king: là"
as_described = True
for name, alphabet in (("as trained", []), ("with ByteLevel.alphabet()", pre_tokenizers.ByteLevel.alphabet())):
    t = trained(alphabet)
    encoding = t.encode(prompt)
    back = t.decode(encoding.ids)
    print(f"{name}: {t.get_vocab_size()} tokens, model.unk_token {t.model.unk_token}")
    print("   prompt ", repr(prompt))
    print("   decoded", repr(back))
    print("   tokens ", encoding.tokens)
    # Z, b, r, l, the colon and the second byte of à never occurred; its first one is that of é too.
    expected = prompt if alphabet else "the ea and the king \ufffd"
    as_described &= back == expected
print("as described" if as_described else "CHANGED")
sys.exit(not as_described)
PY
"$dir/venv/bin/python" "$dir/check.py"
