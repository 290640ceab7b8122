# shellcheck shell=bash
# What the scripts of the test bed share. Sourced.
BED=${BED:-phalanx}                # every name of a bed begins with this, so that several can stand side by side
BED_NET=${BED_NET:-10.77.0}        # a /24 that exists only inside the bed
BED_NET6=${BED_NET6:-fd77:77::}    # a /64, likewise
BED_IP=${BED_IP:-4}                # which of them there are: 4, 6 or 46
STATE=/run/$BED                    # keys, configuration, process ids
# shellcheck disable=SC2034 # for those who source this
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOM=${BED_ROOM:-$STATE/home}      # home directory of each host, private to it

space() { echo "$BED-$1"; }
hosts() { cat "$STATE/hosts" 2>/dev/null; }
init_of() { cat "$STATE/$1.pid" 2>/dev/null; }

# Whether a host is up, and its number not another's by now.
alive() {
  local pid
  pid=$(init_of "$1")
  [ -n "$pid" ] && grep -qz "^BED_HOST=$BED-$1\$" "/proc/$pid/environ" 2>/dev/null
}

# wait_for SECONDS COMMAND: until the command succeeds.
wait_for() {
  local end=$(($(date +%s) + $1))
  shift
  until "$@"; do
    [ "$(date +%s)" -lt "$end" ] || return 1
    sleep 0.01
  done
}

# Runs a command inside a host. The directory is kept where the host has it. The command ends with whoever runs it.
on() {
  local host=$1 pid
  shift
  alive "$host" || { echo "bed: $host is not up" >&2; return 125; }
  pid=$(init_of "$host")
  if [ -d "/proc/$pid/root$PWD" ]; then set -- --wd="/proc/$pid/root$PWD" -- "$@"; else set -- --wd=/ -- "$@"; fi
  local directory=$1
  shift 2
  # shellcheck disable=SC2086 # nothing or `exec`
  ${ON_EXEC:-} env HOME="$ROOM" nsenter -t "$pid" --net --uts --ipc --pid --mount "$directory" -- \
    setpriv --pdeathsig KILL -- "$@"
}
