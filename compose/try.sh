#!/usr/bin/env bash
# Tries the compose file for real, in steps; each begins with nothing, and leaves nothing behind.
#   build   the images, with their sizes        files   compose's own reader accepts the files, and each half alone
#   run     `up -d` as its users say it, a fleet's frames, every one accounted for, `down -v`
#   scale   three fleets and one that joins; a second bridge that comes and goes meanwhile
#   kill    kill -9 of every part and broker once under load; each is back by its own policy; at the end, of a fleet
#   ports   with users, in place of scale: that every open port asks who comes, and what a camera's password opens
# Usage: compose/try.sh [docker|podman] [STEP...]; without steps all of them. 0: all went well; 1: not; 3: something is missing.
# The project has a name of its own, so the volumes of yours stay as they are. CIFAR-10 comes from this machine's cache
# where that has it. RUN, CAMERAS, RATE_HZ, FRAMES, TIERS and the like work as everywhere; FILES names the compose files:
# FILES="compose.yaml compose.secure.yaml" has users, with secrets made for the occasion where SECRETS names none;
# KILL says which are killed, WITHIN_S how long a fleet or a ledger may take; PROJECT is the project's name.
set -euo pipefail
cd "$(dirname "$0")"

engine=${1:-docker}
shift || true
files=${FILES:-compose.yaml}
secured='' every=(build files run scale kill)
[[ $files != *compose.secure.yaml* ]] || secured=yes every=(build files run ports kill)
steps=("${@:-}")
[ -n "${steps[0]}" ] || steps=("${every[@]}")
missing() { echo "try: $*" >&2; exit 3; }
case $engine in
  docker)
    compose=(docker compose)
    docker compose version >/dev/null 2>&1 || missing "docker with its compose plugin is not here; compose/try.sh podman takes podman-compose"
    docker info >/dev/null 2>&1 || missing "docker's daemon does not answer" ;;
  podman)
    compose=(podman-compose)
    command -v podman >/dev/null && command -v podman-compose >/dev/null || missing "podman and podman-compose are not both here" ;;
  *) echo "try: docker or podman, not $engine" >&2; exit 2 ;;
esac
project=${PROJECT:-edgewise-try}
compose+=(-p "$project")
for file in $files; do compose+=(-f "$file"); done
cache=${EDGEWISE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/edgewise}
export RUN=${RUN:-try} TIERS=${TIERS:-gateway,cluster}
brokers=(mosquitto kafka)
spark=(spark-master spark-worker)
parts=(bridge gateway cluster)
killable="ledger kafka mosquitto bridge gateway spark-worker cluster spark-master fleet"
# With users Spark stays inside its driver.
[ -z "$secured" ] || { spark=(); brokers+=(admit); killable="ledger kafka mosquitto bridge gateway cluster fleet"; }
version=$(sed -n 's/^  image: edgewise://p' compose.yaml)
made=''
excuses=() # of frames without an answer, for accounted.py

containers() { # SERVICE: the ids of its containers, one that ended too
  "$engine" ps -aq --filter "label=com.docker.compose.project=$project" --filter "label=com.docker.compose.service=$1"
}

first() { # SERVICE: one of its containers; no head, whose early end would count as an error
  local all
  all=$(containers "$1")
  echo "${all%%$'\n'*}"
}

state() { "$engine" inspect -f "{{.State.$2}}" "$1"; }

say() { echo "try: $*" >&2; }

within() { # SECONDS WHAT COMMAND...: until the command succeeds
  local end=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || { say "not in time: $what"; return 1; }
    sleep 0.5
  done
}

healthy() { # ID: an old podman without systemd never asks by itself, so it is asked here
  if [ "$engine" = podman ]; then podman healthcheck run "$1"; else [ "$(state "$1" Health.Status)" = healthy ]; fi
}

all_healthy() { # SERVICE...
  local service id
  for service in "$@"; do
    for id in $(containers "$service"); do within 300 "$service is healthy" healthy "$id"; done
  done
}

up() { # SERVICE...: in the order in which they need one another, which an old podman does not keep by itself
  local service
  for service in "$@"; do
    "${compose[@]}" up -d --no-recreate --no-deps "$service" >&2
    case $service in
      mosquitto | kafka | spark-*) all_healthy "$service" ;;
      admit) WITHIN_S=120 ended admit || { say "Kafka was not told its users"; return 1; } ;;
    esac
  done
}

secrets() { # of users, in a folder that goes with this script
  [ -n "$secured" ] && [ -z "${SECRETS:-}" ] || return 0
  made=$(mktemp -d)
  local user=0:0 # in a podman that is not root's, that is whoever calls it
  [ "$engine" = podman ] || user=$(id -u):$(id -g)
  "$engine" run --rm --network none --user "$user" -v "$made:/made" "edgewise:$version" \
    security make --out /made/secrets --containers --cameras camera=100 --cameras doomed=2 >&2
  export SECRETS=$made/secrets
}

data_set() {
  [ -f "$cache/cifar10-test.bin" ] && [ -f "$cache/cifar10-train.bin" ] || return 0
  say "CIFAR-10 from $cache"
  tar -C "$cache" -c cifar10-test.bin cifar10-train.bin |
    "${compose[@]}" run --rm -T --no-deps --entrypoint tar ledger -C /data --no-same-owner -x >&2
}

system() { # everything but cameras
  secrets
  data_set
  up "${brokers[@]}" "${spark[@]}" "${parts[@]}" ledger
}

ended() { # SERVICE: when all of its containers have ended; the first exit code that is not 0
  local id code worst=0
  for id in $(containers "$1"); do
    code=$(timeout "${WITHIN_S:-900}" "$engine" wait "$id")
    [ "$code" = 0 ] || worst=$code
  done
  return "$worst"
}

account() { # what became of each frame, when fleets and ledger have ended
  ended fleet || { say "a fleet ended with $?"; return 1; }
  ended ledger || say "the ledger's verdict is $?: see its report for why"
  "$engine" logs "$(first ledger)"
  "${compose[@]}" run --rm -T --no-deps --entrypoint python ledger -c "$(cat accounted.py)" "/runs/$RUN" "${excuses[@]}"
}

nothing_left() {
  local left kind
  left=$("$engine" ps -aq --filter "label=com.docker.compose.project=$project"
    for kind in volume network; do "$engine" "$kind" ls --format '{{.Name}}' | grep "^${project}_" || true; done)
  [ -z "$left" ] || { say "something is left:" $left; return 1; }
}

down() {
  local service kind id
  # The parts before the brokers: their last words go to Kafka.
  for service in fleet "${parts[@]}" ledger; do
    for id in $(containers "$service"); do "$engine" stop -t 45 "$id" >/dev/null & done
  done
  wait
  "${compose[@]}" down -v >&2 || true
  # podman-compose forgets those that --scale and run added.
  for id in $("$engine" ps -aq --filter "label=com.docker.compose.project=$project"); do "$engine" rm -f -v "$id" >/dev/null; done
  for kind in volume network; do
    for id in $("$engine" "$kind" ls -q --filter "label=com.docker.compose.project=$project"); do "$engine" "$kind" rm "$id" >/dev/null; done
  done
}

leave() {
  code=$?
  if [ "$code" != 0 ]; then
    for service in "${brokers[@]}" "${spark[@]}" "${parts[@]}" ledger fleet; do
      for id in $(containers "$service"); do echo "--- $service $id" >&2; "$engine" logs --tail 15 "$id" >&2 || true; done
    done
    down || true
  fi
  [ -z "$made" ] || rm -rf "$made"
}
trap leave EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

step_build() {
  local build=("$engine" build -f Dockerfile)
  # No bridge or name space of its own where the machine forbids it: podman's own words for both.
  [ "$engine" = docker ] || build+=(--isolation "${BUILDAH_ISOLATION:-oci}" --network "${BUILD_NETWORK:-private}")
  local target
  for target in all gateway edge; do
    "${build[@]}" --target "$target" -t "edgewise$([ "$target" = all ] || echo "-$target"):$version" .. >&2
  done
  "$engine" images --format '{{.Repository}}:{{.Tag}} {{.Size}}' | grep -E "edgewise(-gateway|-edge)?:$version" || true
}

step_files() {
  local profiles
  for profiles in edge,cluster,load edge cluster load edge,load; do
    COMPOSE_PROFILES=$profiles "${compose[@]}" config >/dev/null
    COMPOSE_PROFILES=$profiles "${compose[@]}" -f compose.hosts.yaml config >/dev/null
  done
  say "accepted by $("${compose[@]}" version 2>/dev/null | tr "\n" " "), whole and in halves"
}

step_run() {
  if [ "$engine$secured" = podmanyes ]; then
    # podman-compose has podman keep running what a part needs, and admit has ended: older ones then start nothing.
    system
    up fleet
  else
    secrets
    data_set
    "${compose[@]}" up -d >&2
  fi
  all_healthy ledger "${parts[@]}"
  say "all are healthy"
  account
  "${compose[@]}" down -v >&2
}

step_scale() {
  export FRAMES=${FRAMES:-600} RATE_HZ=${RATE_HZ:-10}
  local id scales=(--scale bridge=2 --scale fleet=3)
  system
  "${compose[@]}" up -d --no-recreate --no-deps --scale bridge=2 bridge >&2
  all_healthy bridge cluster
  # podman-compose hears the last --scale only, and leaves alone what it does not speak of.
  [ "$engine" = docker ] || scales=(--scale fleet=3)
  "${compose[@]}" up -d --no-recreate --no-deps "${scales[@]}" fleet >&2
  within 120 "the fleets send" sending
  "${compose[@]}" run -d --no-deps fleet --attach "$RUN" --cameras 2 --rate-hz 10 --frames 200 >&2
  sleep 5
  say "back to one bridge: $(names bridge)"
  if [ "$engine" = docker ]; then
    "${compose[@]}" up -d --no-recreate --no-deps --scale bridge=1 bridge >&2
  else
    id=$(first bridge)
    podman stop "$id" >&2 && podman rm "$id" >&2
  fi
  account
}

names() { for id in $(containers "$1"); do "$engine" logs "$id" 2>&1 | sed -n 's/^bridge: carrying .* as //p'; done | tr '\n' ' '; }

sending() { says "$(first ledger)" 'ledger: [0-9,]+ frames'; } # it has seen answers

says() { [[ $("$engine" logs "$1" 2>&1) =~ $2 ]]; }

killed() { # SERVICE: kill -9 from outside, which is no stop by its owner, then until it is back and well
  local id pid
  id=$(first "$1")
  pid=$(state "$id" Pid)
  [ "$1" != mosquitto ] || excuses+=("forgot=$(date +%s.%N)")
  kill -9 "$pid" || missing "no right to kill process $pid of $1: docker's daemon is elsewhere, or you are not root"
  if [ "$1" != ledger ]; then
    within 60 "$1 is back by itself" back "$id" "$pid"
  else
    within 60 "the ledger is gone" gone "$id"
    "$engine" start "$id" >&2 # its policy is not to come back: its owner says when
  fi
  all_healthy "$1"
  say "$1: killed, back and healthy"
}

killed_fleet() { # one of its own, that joins the run and is killed in the midst of it: what it had sent is answered
  local before id
  before=$(containers fleet)
  "${compose[@]}" run -d -T --no-deps fleet --attach "$RUN" --name doomed --cameras 2 --rate-hz 10 --frames 300 >&2
  id=$(comm -13 <(sort <<<"$before") <(containers fleet | sort))
  within 120 "the other fleet sends" says "$id" '[1-9][0-9,]* sent'
  sleep 5
  excuses+=("killed=doomed@$(date +%s.%N)")
  kill -9 "$(state "$id" Pid)"
  within 60 "the other fleet is gone" gone "$id"
  "$engine" rm "$id" >&2
  say "fleet: killed, and gone, as is its policy"
}

gone() { [ "$(state "$1" Running)" = false ]; }

back() { local now; now=$(state "$1" Pid); [ "$now" != 0 ] && [ "$now" != "$2" ]; }

step_kill() {
  export FRAMES=${FRAMES:-3000} RATE_HZ=${RATE_HZ:-10}
  system
  all_healthy "${parts[@]}"
  up fleet
  within 120 "the fleet sends" sending
  local service
  # What takes long to come back is last: the fleet's own account, at its end, needs a Kafka.
  for service in ${KILL:-$killable}; do
    if [ "$service" = fleet ]; then killed_fleet; else killed "$service"; fi
  done
  [ "$(state "$(containers fleet)" Running)" = true ] || say "the fleet had ended before all were killed: a higher FRAMES gives more time"
  account
}

listening() { # a line of each socket, behind its service's name
  local id
  for id in $("$engine" ps -q --filter "label=com.docker.compose.project=$project"); do
    "$engine" exec "$id" sh -c 'cat /proc/net/tcp; [ ! -e /proc/net/tcp6 ] || cat /proc/net/tcp6' |
      sed "s/^/$("$engine" inspect -f '{{index .Config.Labels "com.docker.compose.service"}}' "$id") /"
  done
}

step_ports() {
  system
  all_healthy "${parts[@]}"
  up fleet
  within 120 "the fleet sends" sending
  listening | "${compose[@]}" run --rm -T --no-deps --entrypoint python fleet -c "$(cat refused.py)"
}

for step in "${steps[@]}"; do
  declare -F "step_$step" >/dev/null || { echo "try: no step '$step'; there is: build files run scale kill ports" >&2; exit 2; }
  say "step $step"
  excuses=()
  "step_$step"
  case $step in scale | kill | ports) down ;; esac
  nothing_left
  say "step $step: done"
done
