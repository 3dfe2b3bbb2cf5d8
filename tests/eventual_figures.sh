#!/usr/bin/env bash
# What eventual namespaces cost beside their values: memory and disk per key, bytes between nodes per
# write by topology, and how fast a node that was away catches up. Real processes on this machine, fsync
# on. The figures are in docs/benchmarks.md.
#   tests/eventual_figures.sh [keys [writes]]
# `keys`: of each namespace whose memory and disk are measured; `writes`: missed by the node that was away.
set -euo pipefail
cd "$(dirname "$0")/.."
keys=${1:-200000}
writes=${2:-1000000}
binary=${TETRARCH_BINARY:-target/release/tetrarch}
[ -x "$binary" ] || cargo build --release --quiet
binary=$(realpath "$binary")
work=$(mktemp -d)
port=${PORT:-7501}
trap 'stop; [ -n "${KEEP:-}" ] || rm -rf "$work"' EXIT

at() { echo "http://127.0.0.1:$((port + $1 - 1))"; }
node() { pgrep -f "serve .*--listen 127.0.0.1:$((port + $1 - 1))( |\$)" | head -1; }
rss() { awk '$1 == "VmRSS:" { print $2 * 1024 }' "/proc/$(node "$1")/status"; }
disk() { du -sb "$work/data/node-$1" 2>/dev/null | cut -f1; }
since() { awk -v a="$1" -v b="$(date +%s.%N)" 'BEGIN { printf "%.1f", b - a }'; }
metric() { curl -fs "$(at "$1")/metrics" | awk -v m="$2" 'index($1, m) == 1 { s += $2 } END { printf "%.0f", s }'; }
ready() {
  for _ in $(seq 600); do curl -fs "$(at "$1")/readyz" >/dev/null && return; sleep 0.2; done
  cat "$work"/*.log; exit 1
}
start() { # nodes
  rm -rf "$work/data"
  "$binary" dev --nodes "$1" --data-dir "$work/data" --base-port "$port" >"$work/dev.log" 2>&1 &
  dev=$!
  for i in $(seq "$1"); do ready "$i"; done
}
stop() {
  [ -z "${dev:-}" ] || { kill "$dev" 2>/dev/null && wait "$dev" 2>/dev/null || true; }
  dev=
}
make() { # name, type, more of the JSON
  curl -fs -o /dev/null -d "{\"name\":\"$1\",\"mode\":\"eventual\",\"type\":\"$2\"${3:-}}" "$(at 1)/v1/namespaces"
}
converged() { # namespace; whether all nodes have the same
  curl -fs "$(at 1)/v1/ns/$1/convergence" | grep -q '"state":"converged"'
}
settle() { until converged "$1"; do sleep 0.2; done; }
puts() { # from, to: NDJSON with values of 128 bytes
  awk -v a="$1" -v n="$2" 'BEGIN { v = sprintf("%128s", ""); gsub(/ /, "v", v); for (i = a; i < n; i++) printf "{\"put\":\"key-%08d\",\"value\":\"%s\"}\n", i, v }'
}
load() { # namespace, from, to
  puts "$2" "$3" | curl -fs -o /dev/null -T - -X POST -H 'Content-Type: application/x-ndjson' -H 'Expect:' "$(at 1)/v1/ns/$1/batch"
}

echo "== memory and disk a key, 3 nodes, $keys keys of 12 bytes with values of 128, at node 2"
printf '%-8s %18s %18s\n' type 'memory in all, B' 'disk beyond, B'
for type in lww mv; do
  start 3
  make figures "$type"
  before=$(rss 2); was=$(disk 2)
  load figures 0 "$keys"
  settle figures
  after=$(rss 2); is=$(disk 2)
  awk -v t="$type" -v m="$((after - before))" -v d="$((is - was))" -v k="$keys" \
    'BEGIN { printf "%-8s %18.0f %18.0f\n", t, m / k, d / k - 140 }'
  stop
done

echo "== bytes between nodes a write of 140 bytes, all nodes together, 5 nodes, 20,000 writes at node 1"
printf '%-8s %12s %12s %14s\n' topology 'a write' 'vectors/s' "seconds to all"
start 5
for shape in mesh ring hub; do
  case $shape in hub) json=',"topology":{"hub":1}' ;; *) json=",\"topology\":\"$shape\"" ;; esac
  make "by-$shape" lww "$json"
  settle "by-$shape"
  sum() { total=0; for i in 1 2 3 4 5; do total=$((total + $(metric "$i" "tetrarch_convergence_bytes_sent_total{kind=\"$1\""))); done; echo "$total"; }
  ops=$(sum ops); vectors=$(sum vectors); begun=$(date +%s.%N)
  load "by-$shape" 0 20000
  settle "by-$shape"
  took=$(since "$begun")
  awk -v s="$shape" -v o="$(($(sum ops) - ops))" -v v="$(($(sum vectors) - vectors))" -v t="$took" \
    'BEGIN { printf "%-8s %12.0f %12.0f %14s\n", s, o / 20000, v / t, t }'
done
stop

for log in "" 1048576; do
  echo "== catching up after an absence of $writes writes, 3 nodes, log of ${log:-the default number of} KiB"
  TETRARCH_EVENTUAL_LOG_KIB=${log:-65536} start 3
  make missed lww
  load missed 0 1000
  settle missed
  # dev starts again what dies: a stopped process is an absence that lasts as long as we like.
  pid=$(node 3)
  kill -STOP "$pid"
  begun=$(date +%s.%N)
  load missed 0 "$writes"
  echo "  written at node 1 in $(since "$begun") s"
  kill -CONT "$pid"
  begun=$(date +%s.%N)
  settle missed
  took=$(since "$begun")
  awk -v t="$took" -v w="$writes" 'BEGIN { printf "  caught up in %s s: %.0f writes a second\n", t, w / t }'
  echo "  state syncs: $(metric 3 tetrarch_convergence_state_syncs_total)"
  stop
done
