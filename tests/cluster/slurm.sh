#!/usr/bin/env bash
# Slurm on a bed that is up (bed.sh): munge on every host, the controller on `head`, slurmd on the nodes.
#
#   slurm.sh up [PROCESSORS]    so many on each node (2)
#   slurm.sh on HOST COMMAND    runs a command inside a host, which finds this Slurm
#
# `bed.sh down` ends it with the hosts.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
ROOT=$STATE/slurm
export SLURM_CONF=$ROOT/slurm.conf

nodes() { hosts | grep -v '^head$'; }

configure() {
  local processors=$1 names
  names=$(nodes | paste -sd,)
  mkdir -p "$ROOT/state"
  head -c 1024 /dev/urandom >"$ROOT/munge.key"
  chmod 600 "$ROOT/munge.key"
  cat >"$SLURM_CONF" <<C
ClusterName=bed
SlurmctldHost=head
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
StateSaveLocation=$ROOT/state
SlurmdSpoolDir=/var/tmp/slurmd
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.pid
SlurmctldLogFile=$ROOT/controller.log
SlurmdLogFile=$ROOT/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1,sched_min_interval=0,batch_sched_delay=0
MpiDefault=none
ReturnToService=2
KillWait=2
PropagateResourceLimits=NONE
SlurmdParameters=config_overrides
NodeName=$names CPUs=$processors Boards=1 SocketsPerBoard=1 CoresPerSocket=$processors ThreadsPerCore=1 RealMemory=1000
PartitionName=all Nodes=$names Default=YES MaxTime=INFINITE State=UP
C
  # slurmd loads a plugin for control groups even when nothing uses them, and finds none by itself inside a host.
  printf 'CgroupPlugin=cgroup/v1\nCgroupAutomount=no\nConstrainCores=no\nConstrainRAMSpace=no\n' >"$ROOT/cgroup.conf"
}

start_munge() {
  on "$1" sh -c "mkdir -p /run/munge /var/tmp/munge && exec munged --force --key-file=$ROOT/munge.key \
    --socket=/run/munge/munge.socket.2 --pid-file=/run/munge/munged.pid --log-file=/var/tmp/munge/log \
    --seed-file=/var/tmp/munge/seed --num-threads=2"
}

all_idle() { [ "$(on head sinfo -h -N -o %T 2>/dev/null | grep -c '^idle$')" = "$(nodes | wc -l)" ]; }

up() {
  local host
  configure "${1:-2}"
  for host in $(hosts); do start_munge "$host"; done
  on head slurmctld -f "$SLURM_CONF"
  for host in $(nodes); do on "$host" sh -c "mkdir -p /var/tmp/slurmd && exec slurmd -N $host -f $SLURM_CONF"; done
  wait_for 30 all_idle || {
    echo "slurm: the nodes do not become idle:" >&2
    on head sinfo -N -l >&2 || :
    tail -n 20 "$ROOT"/*.log >&2
    return 1
  }
}

case ${1:-} in
  up) "$@" ;;
  on) export ON_EXEC=exec; "$@" ;;
  *) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
