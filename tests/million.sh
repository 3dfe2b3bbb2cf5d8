#!/usr/bin/env bash
# Loads keys by /batch (a million by default), then scans them by NDJSON while writes go on: prints the
# rates, whether the count is right, and the largest resident memory of the answering node and of the
# client. The figures are in docs/benchmarks.md.
set -euo pipefail
cd "$(dirname "$0")/.."
keys=${1:-1000000}
binary=${TETRARCH_BINARY:-target/release/tetrarch}
[ -x "$binary" ] || cargo build --release --quiet
binary=$(realpath "$binary")
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null; wait 2>/dev/null; [ -n "${KEEP:-}" ] || rm -rf "$work"' EXIT
port=${PORT:-7401}
url=http://127.0.0.1:$port

"$binary" dev --data-dir "$work/data" --base-port "$port" >"$work/dev.log" 2>&1 &
for _ in $(seq 300); do curl -fs "$url/readyz" >/dev/null && break; sleep 0.2; done
curl -fs "$url/readyz" >/dev/null || { cat "$work/dev.log"; exit 1; }
node=$(pgrep -f "serve .*--listen 127.0.0.1:$port( |$)" | head -1)

rss() { awk -v f="$2:" '$1 == f { print int($2 / 1024) }' "/proc/$1/status"; }
since() { awk -v a="$1" -v b="$(date +%s.%N)" 'BEGIN { printf "%.1f", b - a }'; }

curl -fs -o /dev/null -d '{"name":"million"}' "$url/v1/namespaces"
echo "load: $keys keys of 100 bytes by one POST to /batch"
start=$(date +%s.%N)
awk -v n="$keys" 'BEGIN { v = sprintf("%100s", ""); gsub(/ /, "v", v); for (i = 0; i < n; i++) printf "{\"put\":\"key-%08d\",\"value\":\"%s\"}\n", i, v }' |
  curl -fs -T - -X POST -H 'Content-Type: application/x-ndjson' -H 'Expect:' "$url/v1/ns/million/batch" | tail -1
took=$(since "$start")
awk -v n="$keys" -v t="$took" 'BEGIN { printf "  %s s, %d keys/s\n", t, n / t }'

echo "single PUTs beside it, 64 connections"
"$binary" bench kv --endpoint "$url,http://127.0.0.1:$((port + 1)),http://127.0.0.1:$((port + 2))" --connections 64 --puts 100 --no-idempotency --duration 10s --value-size 100 || true

echo "scan by NDJSON while writes go on"
(while :; do "$binary" bench kv --endpoint "$url" --connections 8 --puts 100 --duration 5s --value-size 100 >/dev/null 2>&1 || sleep 1; done) &
writer=$!
before=$(rss "$node" VmRSS)
start=$(date +%s.%N)
curl -fsN -H 'Accept: application/x-ndjson' "$url/v1/ns/million/keys" >"$work/scan" &
scan=$!
peak=$before
client=0
while kill -0 "$scan" 2>/dev/null; do
  now=$(rss "$node" VmRSS)
  [ "$now" -gt "$peak" ] && peak=$now
  mine=$(rss "$scan" VmRSS 2>/dev/null || echo 0)
  [ "${mine:-0}" -gt "$client" ] && client=$mine
  sleep 0.2
done
wait "$scan"
took=$(since "$start")
lines=$(($(wc -l <"$work/scan") - 1))
tail -1 "$work/scan"
awk -v n="$lines" -v t="$took" 'BEGIN { printf "  %d rows in %s s, %d rows/s\n", n, t, n / t }'
echo "  node: $before MiB before, at most $peak MiB during; curl at most $client MiB"
start=$(date +%s.%N)
"$binary" kv scan --endpoint "$url" --ns million >/dev/null &
scan=$!
client=0
while kill -0 "$scan" 2>/dev/null; do
  mine=$(rss "$scan" VmRSS 2>/dev/null || echo 0)
  [ "${mine:-0}" -gt "$client" ] && client=$mine
  sleep 0.2
done
wait "$scan"
echo "  typed client: $(since "$start") s, at most $client MiB resident"
kill "$writer" 2>/dev/null || true
[ "$lines" = "$keys" ] || { echo "wrong: $lines rows instead of $keys"; exit 1; }
