#!/usr/bin/env bash
# safetensors: the same tensors and the same metadata give another file each time.
#
# One would expect: equal contents give equal bytes. The tensors of a file are sorted, a header has no time and no
# host name in it, and Python's dictionaries keep their order.
# What happens: metadata goes through a hash map with a random seed, and its keys are written in the map's order. With
# two keys or more, files differ from run to run, and from call to call within a run. With one key, or none, they
# are equal. The tensors' part is the same always.
# Seen with: safetensors 0.8.0 from Python.
# Why it matters: checksums of weights, caches keyed by a file's hash, reproducible builds, and a fingerprint that
# must be of the contents. Hash the tensors, or put one JSON object under one metadata key.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --no-cache-dir --disable-pip-version-check safetensors==0.8.0 numpy
cat > "$dir/save.py" <<'PY'
import hashlib, struct, sys

import numpy as np
from safetensors.numpy import save

tensors = {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.ones(4, dtype=np.int8)}
metadata = {f"key{i}": str(i) for i in range(int(sys.argv[1]))}
file = save(tensors, metadata or None)
length = struct.unpack("<Q", file[:8])[0]
print(hashlib.sha256(file).hexdigest()[:16], hashlib.sha256(file[8 + length:]).hexdigest()[:16])
if len(sys.argv) > 2:
    print(file[8:8 + length].decode(), file=sys.stderr)
PY
echo "safetensors 0.8.0"
changed=0
for keys in 0 1 2 5; do
    runs=$(for _ in 1 2 3 4 5 6 7 8 9 10 11 12; do "$dir/venv/bin/python" "$dir/save.py" $keys; done)
    files=$(cut -d' ' -f1 <<< "$runs" | sort -u | wc -l)
    data=$(cut -d' ' -f2 <<< "$runs" | sort -u | wc -l)
    echo "$keys metadata keys, 12 runs: $files different files, $data different bytes of tensors"
    if [ "$data" != 1 ]; then changed=1; fi
    # Twelve runs that agree by chance: 2^-11 with two keys.
    if [ $keys -lt 2 ] && [ "$files" != 1 ]; then changed=1; fi
    if [ $keys -ge 2 ] && [ "$files" = 1 ]; then changed=1; fi
done
echo "two of the headers:"
"$dir/venv/bin/python" "$dir/save.py" 5 show 2>&1 > "$dir/out"
"$dir/venv/bin/python" "$dir/save.py" 5 show 2>&1 > "$dir/out"
if [ $changed = 0 ]; then echo "as described"; else echo "CHANGED"; fi
exit $changed
