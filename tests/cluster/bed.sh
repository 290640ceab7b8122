#!/usr/bin/env bash
# A bed of several hosts on one machine: see README.md.
#
#   bed.sh up [N]             a head and N nodes (3); BED_IP=6 or 46 gives them IPv6 addresses
#   bed.sh down               ends and removes all of it
#   bed.sh on HOST COMMAND    runs a command inside a host
#   bed.sh fault cut HOST     its network drops everything, silently
#   bed.sh fault cut-between A B
#   bed.sh fault block A B PORTS   drops what A sends to TCP ports of B, such as 20000-20999
#   bed.sh fault break A B    refuses and resets all TCP connections between two hosts with IPv4 addresses
#   bed.sh fault heal         undoes cuts, blocks and breaks
#   bed.sh fault kill HOST    ends every process of a host; its kernel still answers
#   bed.sh fault power HOST   silence, then every process ended
#   bed.sh fault stop-sshd HOST | start-sshd HOST | end-sessions HOST
#   bed.sh fault freeze HOST | thaw HOST
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

keys() {
  local keys=$STATE/keys name
  mkdir -p "$keys"
  chmod 700 "$keys"
  for name in client host other; do
    [ -f "$keys/$name" ] || ssh-keygen -q -t ed25519 -N '' -C bed -f "$keys/$name"
  done
  cp "$keys/client.pub" "$keys/authorized_keys"
  { hosts | paste -sd,; echo "$BED_NET.*,$BED_NET6*"; cut -d' ' -f1,2 "$keys/host.pub"; } \
    | sed '1s/$/,/' | tr '\n' ' ' | sed 's/, /,/' >"$keys/known_hosts"
  echo >>"$keys/known_hosts"
}

# What `ip netns exec` lays over /etc.
configure() {
  local etc=/etc/netns/$1 name=$2 number=0 host listen=0.0.0.0
  [ "$BED_IP" = 4 ] || listen=::
  mkdir -p "$etc/ssh"
  {
    echo "127.0.0.1 localhost"
    for host in $(hosts); do
      number=$((number + 1))
      [ "$BED_IP" = 6 ] || echo "$BED_NET.$number $host"
      [ "$BED_IP" = 4 ] || echo "$BED_NET6$number $host"
    done
    [ "$BED_IP" = 6 ] || echo "$BED_NET.250 nowhere"
    [ "$BED_IP" = 4 ] || echo "${BED_NET6}250 nowhere"
  } >"$etc/hosts"
  : >"$etc/resolv.conf"
  echo "$name" >"$etc/hostname"
  awk -F: -v OFS=: -v room="$ROOM" '$3 == 0 { $6 = room; $7 = "/bin/bash" } { print }' /etc/passwd >"$etc/passwd"
  printf 'passwd: files\ngroup: files\nhosts: files\nservices: files\n' >"$etc/nsswitch.conf"
  cat >"$etc/ssh/sshd_config" <<C
Port 22
ListenAddress $listen
HostKey $STATE/keys/host
AuthorizedKeysFile $STATE/keys/authorized_keys
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
StrictModes no
PidFile /run/sshd.pid
MaxStartups 1000:30:2000
MaxSessions 1000
KexAlgorithms curve25519-sha256
LogLevel ERROR
PrintMotd no
C
  cat >"$etc/ssh/ssh_config" <<C
Host *
  IdentityFile $STATE/keys/client
  IdentitiesOnly yes
  UserKnownHostsFile $STATE/keys/known_hosts
  GlobalKnownHostsFile /dev/null
C
}

plug_in() {
  local switch space=$1 name=$2 number=$3
  switch=$(space switch)
  ip netns add "$space"
  ip -n "$switch" link add "p-$name" type veth peer name eth0 netns "$space"
  ip -n "$switch" link set "p-$name" master br0 up
  [ "$BED_IP" = 6 ] || ip -n "$space" addr add "$BED_NET.$number/24" dev eth0
  [ "$BED_IP" = 4 ] || ip -n "$space" addr add "$BED_NET6$number/64" dev eth0 nodad
  ip -n "$space" link set eth0 up
  ip -n "$space" link set lo up
}

has_child() { grep -q . "/proc/$1/task/$1/children" 2>/dev/null; }

boot() {
  local space=$1 name=$2 outer init freezer
  rm -f "$STATE/$name.ready"
  export BED BED_NET
  BED_ROOM=$ROOM BED_HOST=$space setsid ip netns exec "$space" \
    unshare --uts --ipc --pid --mount --fork --mount-proc --kill-child \
    bash "$HERE/host.sh" "$name" </dev/null >"$STATE/$name.log" 2>&1 &
  outer=$!
  disown
  wait_for 10 has_child "$outer" || return 1
  init=$(cat "/proc/$outer/task/$outer/children")
  init=${init%% *}
  echo "$init" >"$STATE/$name.pid"
  freezer=/sys/fs/cgroup/freezer/$space
  if mkdir -p "$freezer" 2>/dev/null; then
    { echo "$outer" >"$freezer/cgroup.procs"; echo "$init" >"$freezer/cgroup.procs"; } 2>/dev/null || :
  fi
}

up() {
  local count=${1:-3} switch name number=0
  mkdir -p "$STATE"
  { echo head; seq -f 'node%g' "$count"; } >"$STATE/hosts"
  keys
  switch=$(space switch)
  ip netns add "$switch"
  ip -n "$switch" link add br0 type bridge forward_delay 0 stp_state 0
  ip -n "$switch" link set br0 up
  for name in $(hosts); do
    number=$((number + 1))
    configure "$(space "$name")" "$name"
    plug_in "$(space "$name")" "$name" "$number"
    boot "$(space "$name")" "$name"
  done
  for name in $(hosts); do
    wait_for 20 test -e "$STATE/$name.ready" || {
      echo "bed: $name did not come up:" >&2
      cat "$STATE/$name.log" >&2
      return 1
    }
  done
}

is_gone() { ! alive "$1"; }

down() {
  local name space
  for name in $(hosts); do
    space=$(space "$name")
    { echo THAWED >"/sys/fs/cgroup/freezer/$space/freezer.state"; } 2>/dev/null || :
    if alive "$name"; then kill -9 "$(init_of "$name")"; fi
    wait_for 10 is_gone "$name" || :
    [ ! -d "/sys/fs/cgroup/freezer/$space" ] || wait_for 2 rmdir "/sys/fs/cgroup/freezer/$space" 2>/dev/null || :
  done
  for name in $(hosts) switch; do
    space=$(space "$name")
    ip netns del "$space" 2>/dev/null || :
    rm -rf "/etc/netns/$space"
  done
  rm -rf "$STATE"
}

switch_rule() { ip netns exec "$(space switch)" nft "$@"; }

drop() {
  switch_rule add table bridge bed
  switch_rule 'add chain bridge bed forward { type filter hook forward priority 0; }'
  switch_rule add rule bridge bed forward "$@" drop
}

refuse() {
  on "$1" nft add table inet broken
  on "$1" nft 'add chain inet broken output { type filter hook output priority 0; }'
  on "$1" nft add rule inet broken output ip daddr "$2" meta l4proto tcp reject with tcp reset
}

# shellcheck disable=SC2016 # some of it is expanded inside the host
fault() {
  local verb=$1 host=${2:-} freezer
  freezer=/sys/fs/cgroup/freezer/$(space "$host")/freezer.state
  case $verb in
    cut) drop iifname "p-$host"; drop oifname "p-$host" ;;
    cut-between) drop iifname "p-$2" oifname "p-$3"; drop iifname "p-$3" oifname "p-$2" ;;
    block) drop iifname "p-$2" oifname "p-$3" tcp dport "$4" ;;
    break) refuse "$2" "$3"; refuse "$3" "$2" ;;
    heal)
      ! switch_rule list table bridge bed >/dev/null 2>&1 || switch_rule delete table bridge bed
      for host in $(hosts); do
        ! on "$host" nft list table inet broken >/dev/null 2>&1 || on "$host" nft delete table inet broken
      done
      ;;
    kill) kill -9 "$(init_of "$host")" ;;
    power) ip -n "$(space switch)" link set "p-$host" down; kill -9 "$(init_of "$host")" ;;
    stop-sshd) on "$host" sh -c 'kill "$(cat /run/sshd.pid)"' ;;
    start-sshd) # among those that freeze with the host
      (
        { echo "$BASHPID" >"${freezer%/*}/cgroup.procs"; } 2>/dev/null || :
        on "$host" /usr/sbin/sshd -f /etc/ssh/sshd_config -E "$STATE/$host.sshd.log"
      )
      ;;
    end-sessions) on "$host" sh -c 'kill -9 $(pgrep -x sshd)' ;;
    freeze) echo FROZEN >"$freezer" ;;
    thaw) echo THAWED >"$freezer" ;;
    *) usage ;;
  esac
}

usage() { sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2; }

case ${1:-} in
  up | down | fault) "$@" ;;
  on) export ON_EXEC=exec; "$@" ;;
  *) usage ;;
esac
