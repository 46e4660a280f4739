#!/usr/bin/env bash
# How long a request takes by one server, and by a server whose lookups two workers compute, all on this machine: by turns, in seconds.
#
#     deploy/compare.sh KEYS BLOCKS REQUEST [ROUNDS]
#
# KEYS are evaluation keys, BLOCKS the server's half of the blocks, and REQUEST is a request to them, as `gpt2-fhe keygen`, `quantize` and
# `encrypt` write them. The workers get each request twice: at the first one they have no keys yet. Ends with 1 if answers differ. Needed are
# curl, nats-server in PATH or NATS_SERVER, and the server and the worker, built with the feature nats in target/release.
set -euo pipefail

if [ $# -lt 3 ]; then
    sed -n '2,/^set/ s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
keys=$1 blocks=$2 request=$3 rounds=${4:-3}
programs=$(dirname "$0")/../target/release
nats=${NATS_SERVER:-nats-server}
if ! "$programs/gpt2-fhe-server" --help 2>/dev/null | grep -q -e '--engine' || [ ! -x "$programs/gpt2-fhe-worker" ]; then
    cat >&2 <<'HELP'
error: the programs are not there, or know nothing of workers. These build them:
    cargo build --release -p gpt2-fhe-worker --features nats
    cargo build --release -p gpt2-fhe-server --features nats
HELP
    exit 1
fi
folder=$(mktemp -d)
started=()
stop() {
    for process in "${started[@]}"; do kill "$process" 2>/dev/null || true; done
    for process in "${started[@]}"; do wait "$process" 2>/dev/null || true; done
    started=()
}
trap 'stop; rm -rf "$folder"' EXIT

start() {
    local log=$1
    shift
    "$@" 2>>"$folder/$log.log" >&2 &
    started+=($!)
}

# The value of a field of a JSON object.
field() { sed "s/.*\"$1\":\"\{0,1\}\([^\",}]*\).*/\1/"; }

ask() {
    local url=http://127.0.0.1:$2 name id state
    if ! curl -sf --retry 10 --retry-connrefused --retry-delay 1 "$url/healthz" >/dev/null; then
        echo 'error: the server does not answer; its log:' >&2
        cat "$folder"/*.log >&2
        exit 1
    fi
    name=$(curl -sf -X PUT --data-binary "@$keys" "$url/v1/keys" | field keys)
    id=$(curl -sf -X POST --data-binary "@$request" "$url/v1/requests?keys=$name" | field request)
    until state=$(curl -sf "$url/v1/requests/$id"); [[ $state == *'"state":"done"'* || $state == *'"state":"failed"'* ]]; do sleep 0.2; done
    curl -sf "$url/v1/requests/$id/answer" >"$folder/answer" || { echo "error: no answer: $state" >&2; exit 1; }
    [ -e "$folder/first" ] || cp "$folder/answer" "$folder/first"
    cmp -s "$folder/answer" "$folder/first" || { echo 'error: the answers differ' >&2; exit 1; }
    printf '%-26s %s\n' "$1" "$(field seconds <<<"$state")"
    curl -sf -X DELETE "$url/v1/requests/$id" >/dev/null
}

for _ in $(seq "$rounds"); do
    start alone "$programs/gpt2-fhe-server" --quantized "$blocks" --data "$folder/alone" --listen 127.0.0.1:9101 --threads 2
    ask 'one server' 9101
    stop
    rm -rf "$folder/alone" "$folder/server" "$folder/nats"
    start nats "$nats" -js -sd "$folder/nats" -a 127.0.0.1 -p 9422
    sleep 1
    start server "$programs/gpt2-fhe-server" --quantized "$blocks" --data "$folder/server" --listen 127.0.0.1:9102 --threads 2 \
        --engine nats://127.0.0.1:9422 --own-lookups late
    for _ in 1 2; do start worker "$programs/gpt2-fhe-worker" --engine nats://127.0.0.1:9422 --threads 1; done
    sleep 3
    ask 'two workers, first request' 9102
    ask 'two workers, second' 9102
    stop
done
