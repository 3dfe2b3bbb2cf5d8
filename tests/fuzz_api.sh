#!/usr/bin/env bash
# Lets schemathesis (PyPI) read /openapi.json of a real three-node cluster and try to break it: no answer
# that the document does not know, no 5xx. Seconds as the first argument (default 120), a seed as the
# second; the seed of a run is printed, so that a failure can be replayed.
#
# Left out: the two requests that change the members of the cluster, since nodes that do not exist
# would be let in and replicas moved to them.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-120}
seed=${2:-$RANDOM}
binary=${TETRARCH_BINARY:-target/release/tetrarch}
[ -x "$binary" ] || cargo build --release --quiet
work=$(mktemp -d)
trap 'kill "$dev" 2>/dev/null; wait "$dev" 2>/dev/null; [ -n "${KEEP:-}" ] || rm -rf "$work"' EXIT

if ! command -v schemathesis >/dev/null; then
  echo "installing schemathesis into a virtual environment"
  python3 -m venv "$work/venv"
  "$work/venv/bin/pip" install --quiet 'schemathesis==4.32.5'
  PATH="$work/venv/bin:$PATH"
fi

port=${PORT:-7301}
"$binary" dev --data-dir "$work/data" --base-port "$port" >"$work/dev.log" 2>&1 &
dev=$!
for _ in $(seq 300); do
  curl -fs "http://127.0.0.1:$port/readyz" >/dev/null && break
  sleep 0.2
done
curl -fs "http://127.0.0.1:$port/readyz" >/dev/null || { cat "$work/dev.log"; exit 1; }

echo "seed $seed; replay: tests/fuzz_api.sh $seconds $seed"
export SCHEMATHESIS_HOOKS="$PWD/tests/fuzz_hooks.py" PYTHONDONTWRITEBYTECODE=1
# One worker: several at once trip over each other in Python's own compiler (3.11).
# It keeps notes where it runs, which would make a run differ from its replay.
cd "$work"
schemathesis run "http://127.0.0.1:$port/openapi.json" \
  --url "http://127.0.0.1:$port" --seed "$seed" --max-time "$seconds" --workers 1 \
  --exclude-path-regex '^/v1/cluster/(nodes|replace)$' \
  --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance \
  --suppress-health-check all --continue-on-failure --request-timeout 20

curl -fs "http://127.0.0.1:$port/readyz" >/dev/null || { echo "the node did not survive"; exit 1; }
if grep -rl panicked "$work" >/dev/null; then echo "a node panicked"; exit 1; fi
echo "no 5xx, no undocumented answer, all nodes alive"
