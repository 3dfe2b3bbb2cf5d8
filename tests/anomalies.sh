#!/usr/bin/env bash
# Shows each anomaly that eventual namespaces permit (docs/consistency.md), on a cluster of its own: three
# nodes whose links of mode `manual` carry only when they are asked to, so that what is concurrent is chosen
# here and not by luck. Fails if one does not show, or does not heal as it is promised.
set -euo pipefail
cd "$(dirname "$0")/.."
binary=${TETRARCH_BINARY:-target/release/tetrarch}
[ -x "$binary" ] || cargo build --release --quiet
work=$(mktemp -d)
port=${PORT:-7601}
"$binary" dev --data-dir "$work/data" --base-port "$port" >"$work/dev.log" 2>&1 &
dev=$!
trap 'kill $dev 2>/dev/null; wait $dev 2>/dev/null || true; rm -rf "$work"' EXIT
at() { echo "http://127.0.0.1:$((port + $1 - 1))"; }
for i in 1 2 3; do
  for _ in $(seq 300); do curl -fs "$(at $i)/readyz" >/dev/null && break; sleep 0.2; done
done

say() { printf '\n== %s\n' "$*"; }
links='[{"from":1,"to":2,"mode":"manual"},{"from":2,"to":1,"mode":"manual"},{"from":1,"to":3,"mode":"manual"},{"from":3,"to":1,"mode":"manual"}]'
make() { curl -fs -o /dev/null -d "{\"name\":\"$1\",\"mode\":\"eventual\",\"type\":\"$1\",\"topology\":{\"links\":$links}}" "$(at 1)/v1/namespaces"; }
do_at() { echo "  node $1: $2 ${3:-}" >&2; }
put() { do_at "$1" "PUT $2/$3" "$4"; curl -fs -o /dev/null -X PUT -d "$4" "$(at "$1")/v1/ns/$2/keys/$3"; }
delete() { do_at "$1" "DELETE $2/$3"; curl -fs -o /dev/null -X DELETE "$(at "$1")/v1/ns/$2/keys/$3"; }
op() { do_at "$1" "PATCH $2/$3" "$4"; curl -fs -o /dev/null -X PATCH -H 'Content-Type: application/kv-op+json' -d "$4" "$(at "$1")/v1/ns/$2/keys/$3"; }
get() { curl -s "$(at "$1")/v1/ns/$2/keys/$3"; }
see() { # node, namespace, key, text that must be in the answer
  local found; found=$(get "$1" "$2" "$3")
  echo "  node $1 reads $2/$3: $found"
  case "$found" in *"$4"*) ;; *) echo "that is not what is promised: $4 is missing"; exit 1 ;; esac
}
carry() { # namespace: all links, until all nodes have the same
  for _ in $(seq 100); do
    curl -fs "$(at 1)/v1/ns/$1/convergence" | grep -q '"state":"converged"' && { echo "  links have carried"; return; }
    for link in '2 1' '3 1' '1 2' '1 3'; do
      set -- "$1" $link
      curl -fs -o /dev/null -X POST "$(at "$3")/v1/ns/$1/convergence/pass?from=$2"
    done
    sleep 0.5
  done
  echo "the nodes did not come to the same"; exit 1
}

for type in lww mv counter set map; do make "$type"; done

say "lww: of two concurrent writes one is lost, and named"
put 1 lww motd a; put 2 lww motd b
see 1 lww motd a; see 2 lww motd b
carry lww
see 1 lww motd b; see 3 lww motd b
for _ in $(seq 60); do carry lww; curl -fs "$(at 3)/v1/ns/lww/conflicts" | grep -q '"lost"\|"key"' && break; sleep 0.5; done
curl -fs "$(at 3)/v1/ns/lww/conflicts" | cut -c1-300 | sed 's/^/  node 3, conflicts: /'
curl -fs "$(at 3)/v1/ns/lww/conflicts" | grep -q motd

say "any type: a read at another node does not show a write that was acknowledged"
put 1 lww news today
code=$(curl -s -o /dev/null -w '%{http_code}' "$(at 3)/v1/ns/lww/keys/news")
echo "  node 3 reads lww/news: $code"; [ "$code" = 404 ]
carry lww; see 3 lww news today

say "mv: two carts until somebody merges them"
put 1 mv cart milk; put 2 mv cart bread
carry mv
see 3 mv cart siblings

say "counter: a repeat at another node counts twice"
for node in 1 2; do
  do_at $node "PATCH counter/n" '{"add":1}, both with Idempotency-Key: "once"'
  curl -fs -o /dev/null -X PATCH -H 'Idempotency-Key: "once"' -H 'Content-Type: application/kv-op+json' -d '{"add":1}' "$(at $node)/v1/ns/counter/keys/n"
done
carry counter; see 3 counter n 2

say "set: what one removes another one adds at the same time: it stays"
op 1 set tags '{"set_add":["red"]}'; carry set
op 1 set tags '{"set_remove":["red"]}'; op 2 set tags '{"set_add":["red"]}'
carry set; see 3 set tags red

say "map: a key is deleted while one of its fields is set: it is back with that field"
op 1 map ann '{"fields":{"name":{"put":"Ann"},"age":{"put":7}}}'; carry map
delete 1 map ann; op 2 map ann '{"fields":{"age":{"put":8}}}'
carry map; see 3 map ann '"age":8'
get 3 map ann | grep -q name && { echo "the other field should be gone"; exit 1; }
say "all of them were seen"
