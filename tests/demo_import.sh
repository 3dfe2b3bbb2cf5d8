#!/usr/bin/env bash
# Real input under a real crash: the Debian package index is imported into a cluster of three while
# one node is killed with -9 in the middle and started again with the same command line. Afterwards
# every acknowledged key must read back at every node with the right bytes, compared by hash, and
# every group must be led again by the node that should lead it.
#
#   tests/demo_import.sh                  imports what `apt-cache dumpavail` prints
#   tests/demo_import.sh --file TEXT      imports any large text file instead, one key a line
#
# The binary is built with `cargo build --release`, or taken from $TETRARCH_BIN. The victim is node
# $VICTIM (default: a random one). Exits with 0 only if everything above was shown.
set -euo pipefail

usage() { sed -n '2,13s/^# \{0,1\}//p' "$0" >&2; exit 2; }

text=""
case "${1-}" in
  "") [ $# -eq 0 ] || usage ;;
  --file) [ $# -eq 2 ] && [ -r "$2" ] || usage; text=$(realpath "$2") ;;
  *) usage ;;
esac

root=$(cd "$(dirname "$0")/.." && pwd)
binary=${TETRARCH_BIN-}
if [ -z "$binary" ]; then
  (cd "$root" && cargo build --release --quiet)
  binary=$root/target/release/tetrarch
fi
# What the shell that calls this has set must not reach the nodes.
for name in $(compgen -e | grep '^TETRARCH_' || true); do unset "$name"; done

work=$(mktemp -d)
dev=""
again=""
cleanup() {
  status=$?
  trap - EXIT
  for pid in $again $dev; do kill -TERM "$pid" 2>/dev/null || true; done
  for pid in $again $dev; do wait "$pid" 2>/dev/null || true; done
  if [ "$status" -eq 0 ]; then rm -rf "$work"; else echo "failed; logs and data are in $work" >&2; fi
  exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

say() { printf '%s  %s\n' "$(date +%H:%M:%S)" "$*"; }

# ---- input ----------------------------------------------------------------------------------
if [ -n "$text" ]; then
  format=tsv
  input=$work/input.tsv
  # A tab ends the key, so the line's own tabs become spaces.
  LC_ALL=C tr '\t' ' ' <"$text" | LC_ALL=C awk '{ printf "line/%d\t%s\n", NR, $0 }' >"$input"
  records=$(wc -l <"$input")
else
  command -v apt-cache >/dev/null || { echo "no apt-cache here: give --file TEXT" >&2; exit 2; }
  format=deb822
  input=$work/input.deb822
  apt-cache dumpavail >"$input"
  records=$(grep -c '^Package:' "$input")
fi
[ "$records" -gt 1000 ] || { echo "only $records records: too few to kill anybody meanwhile" >&2; exit 2; }
say "$records records, $(wc -c <"$input") bytes"

# ---- cluster --------------------------------------------------------------------------------
base=$((20000 + RANDOM % 10000))
"$binary" dev --data-dir "$work/cluster" --base-port "$base" --json \
  >"$work/dev.json" 2>"$work/dev.err" &
dev=$!
for _ in $(seq 1200); do
  [ -s "$work/dev.json" ] && break
  kill -0 "$dev" 2>/dev/null || { cat "$work/dev.err" >&2; exit 1; }
  sleep 0.1
done
[ -s "$work/dev.json" ] || { echo "the cluster did not come up" >&2; exit 1; }
endpoints="http://127.0.0.1:$base,http://127.0.0.1:$((base + 1)),http://127.0.0.1:$((base + 2))"
say "three nodes are ready at $endpoints"

# Lines "leader preferred", one for each group.
leaders() {
  "$binary" cluster status --endpoint "$endpoints" --json |
    grep -o '"leader":[^,]*,"preferred":[0-9]*' | tr -c '0-9a-z\n' ' ' | awk '{ print $2, $4 }'
}
# Waits until every group is led by its preferred node.
leaders_home() {
  for _ in $(seq 600); do
    if leaders >"$work/leaders" && [ -s "$work/leaders" ] &&
      awk '$1 != $2 { exit 1 }' "$work/leaders"; then
      return 0
    fi
    sleep 0.2
  done
  echo "some groups are not led by their preferred node (leader, preferred):" >&2
  cat "$work/leaders" >&2
  return 1
}
leaders_home

# ---- import, and a crash in the middle --------------------------------------------------------
acked=$work/acked
touch "$acked"
say "importing"
"$binary" kv import --endpoint "$endpoints" --format "$format" --acked "$acked" "$input" \
  >"$work/import.out" 2>"$work/import.err" &
import=$!
wait_acked() {
  while [ "$(wc -l <"$acked")" -lt "$1" ]; do
    kill -0 "$import" 2>/dev/null || { echo "the import ended before $1 records" >&2; return 1; }
    sleep 0.05
  done
}

wait_acked $((records / 4))
victim=${VICTIM:-$((RANDOM % 3 + 1))}
pid=$(grep -o "\"node\":$victim,[^}]*" "$work/dev.json" | grep -o '"pid":[0-9]*' | cut -d: -f2 || true)
if [ -z "$pid" ]; then
  pid=$(tr '{' '\n' <"$work/dev.json" | grep "\"node\":$victim\b" | grep -o '"pid":[0-9]*' | cut -d: -f2)
fi
say "killing node $victim (pid $pid) with -9 after $(wc -l <"$acked") acknowledged records"
kill -9 "$pid"
wait_acked $((records / 2))
# `dev` has said how the node is started again: with the command line that it had.
command_line=$(grep -A1 'to start it again' "$work/dev.err" | tail -n 1 | sed 's/^ *//')
[ -n "$command_line" ] || { echo "dev does not say how to start the node again" >&2; exit 1; }
say "starting it again after $(wc -l <"$acked"): $command_line"
# shellcheck disable=SC2086 # the line is a command and its arguments, none with spaces
$command_line >>"$work/cluster/node-$victim.log" 2>&1 </dev/null &
again=$!

# A kill leaves some writes without an answer; the import says so by its exit code.
code=0
wait "$import" || code=$?
say "$(tail -n 1 "$work/import.out") (exit code $code)"
if [ "$code" -ne 0 ]; then
  tail -n 5 "$work/import.err" >&2
  say "writing what was not acknowledged"
  "$binary" kv import --endpoint "$endpoints" --format "$format" --resume "$acked" "$input" | tail -n 1
fi
keys=$(cut -f 2 "$acked" | sort -u | wc -l)
say "$(wc -l <"$acked") acknowledgements of $keys keys"
[ "$(wc -l <"$acked")" -ge "$records" ] || { echo "not every record was acknowledged" >&2; exit 1; }

# ---- the proof --------------------------------------------------------------------------------
leaders_home
say "leadership has come back"
"$binary" cluster status --endpoint "$endpoints"
say "reading every acknowledged key at every node"
"$binary" kv verify --endpoint "$endpoints" --acked "$acked"
if grep -l panicked "$work"/cluster/*.log; then echo "a node panicked" >&2; exit 1; fi
say "every acknowledged key reads back at every node"
