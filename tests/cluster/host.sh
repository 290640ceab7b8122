#!/usr/bin/env bash
# host.sh NAME: process 1 of a host of the bed. Everything that a host of its own would have is private: /tmp,
# /var/tmp, /run, /dev/shm, the home directory. Directories in BED_HIDE (colons between) are empty, except on `head`.
set -eu
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
name=$1
mount --make-rprivate /
hostname "$name"
memory() { mount -t tmpfs -o "mode=$2,size=$3" tmpfs "$1"; }
mount --bind "$STATE" /mnt
memory /run 755 64m
mkdir -p /run/sshd /run/lock "$STATE"
mount --bind /mnt "$STATE"
umount /mnt
memory /dev/shm 1777 2g
memory /var/tmp 1777 256m
memory /tmp 1777 1g
mkdir -p "$ROOM"
memory "$ROOM" 700 1g
if [ "$name" != head ]; then
  IFS=: read -ra hidden <<<"${BED_HIDE:-}"
  for directory in "${hidden[@]}"; do
    # A bed whose state lies inside a hidden directory would hide itself.
    [ -d "$directory" ] && memory "$directory" 755 256m
  done
fi
cd /
ip link set lo up
env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  /usr/sbin/sshd -f /etc/ssh/sshd_config -E "$STATE/$name.sshd.log"
touch "$STATE/$name.ready"
trap : TERM HUP INT
while :; do # bash as process 1 also waits for orphans
  sleep 1000 &
  wait $! || :
done
