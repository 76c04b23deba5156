#!/usr/bin/env bash
# Tries the compose file for real: builds the image, starts everything, waits for the ledger's report, removes it all.
# Usage: compose/try.sh [docker|podman]. The exit code is the ledger's: 0 is a VALID run.
# The project has a name of its own, so the volumes of yours stay as they are. CIFAR-10 comes from this machine's
# cache where that has it. RUN, CAMERAS, RATE_HZ, FRAMES and TIERS work as everywhere; WITHIN_S is how long it may take,
# and BUILT=yes takes the image that is there.
set -euo pipefail
cd "$(dirname "$0")"

engine=${1:-docker}
case $engine in
  docker) compose=(docker compose) ;;
  podman) compose=(podman-compose) ;;
  *) echo "try: docker or podman, not $engine" >&2; exit 2 ;;
esac
project=edgewise-try
compose+=(-p "$project" -f compose.yaml)
cache=${EDGEWISE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/edgewise}
tiers=${TIERS:-gateway,cluster}
# shellcheck disable=SC2206 # names without spaces
services=(mosquitto kafka bridge ${tiers//,/ } ledger fleet)

container() {
  "$engine" ps -aq --filter "label=com.docker.compose.project=$project" --filter "label=com.docker.compose.service=$1"
}

ended() { # give the exit code of a service's container when it has ended
  timeout "${WITHIN_S:-900}" "$engine" wait "$(container "$1")"
}

leave() {
  code=$?
  if [ "$code" != 0 ]; then "${compose[@]}" logs --tail 30 >&2 || true; fi
  # The parts before the brokers: their last words go to Kafka.
  "${compose[@]}" stop "${services[@]:2}" >&2 || true
  "${compose[@]}" down -v >&2
}
trap leave EXIT

[ -n "${BUILT:-}" ] || "${compose[@]}" build
if [ -f "$cache/cifar10-test.bin" ] && [ -f "$cache/cifar10-train.bin" ]; then
  echo "try: CIFAR-10 from $cache" >&2
  tar -C "$cache" -c cifar10-test.bin cifar10-train.bin |
    "${compose[@]}" run --rm -T --no-deps --entrypoint tar fleet -C /data --no-same-owner -x
fi

"${compose[@]}" up -d mosquitto kafka
if [ "$engine" = podman ]; then
  # An old podman does not wait for health, and without systemd it does not even ask.
  for broker in mosquitto kafka; do
    until podman healthcheck run "$(container "$broker")" >/dev/null 2>&1; do sleep 1; done
  done
fi
"${compose[@]}" up -d "${services[@]}"
sent=$(ended fleet)
if [ "$sent" != 0 ]; then echo "try: the fleet ended with $sent" >&2; exit "$sent"; fi
code=$(ended ledger)
"$engine" logs "$(container ledger)"
exit "$code"
