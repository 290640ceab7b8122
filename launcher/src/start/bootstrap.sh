phalanx_begins() {
  umask 077
  hash=@HASH@ bytes=@BYTES@ me=$(id -u) system=$(uname -s)/$(uname -m)
  say() { printf '%s\n' "phalanx-bootstrap: $*"; }
  ours() {
    owner=$(ls -ldn "$1" 2>/dev/null) || return 1
    set -- $owner
    case $1 in drwx------*) [ "$3" = "$me" ] ;; *) return 1 ;; esac
  }
  try() {
    mkdir -p "$1" || return 1
    ours "$1" || { echo "$1 is not a directory of mode 0700 that is ours"; return 1; }
    printf '#!/bin/sh\n:\n' >"$1/$new" && chmod 700 "$1/$new" && "$1/$new" || { rm -f "$1/$new"; return 1; }
    rm -f "$1/$new"
    set -- "$1" $(df -Pk "$1" 2>/dev/null | tail -n 1)
    case $5 in '' | *[!0-9]*) return 0 ;; esac
    [ "$5" -gt $((bytes / 1024 + 64)) ] || { echo "$1: No space left on device ($5 KiB free, $((bytes / 1024)) KiB needed)"; return 1; }
  }
  new=.new-$(uname -n)-$$
  set -- "${XDG_CACHE_HOME:+$XDG_CACHE_HOME/phalanx}" "${HOME:+$HOME/.cache/phalanx}" "/tmp/phalanx-$me" "/var/tmp/phalanx-$me" "/dev/shm/phalanx-$me"
  for place; do
    if [ -n "$place" ] && [ -x "$place/$hash" ] && ours "$place"; then
      say "have $system"
      exec "$place/$hash" @ROLE@ --cache "$place"
    fi
  done
  why=
  for place; do
    [ -n "$place" ] || continue
    if problem=$(try "$place" 2>&1); then
      trap 'rm -f "$place/$new"' EXIT
      trap 'exit 1' HUP INT TERM PIPE
      say "need $system"
      head -c "$bytes" >"$place/$new" || { say "nowhere $place cannot be written to"; exit 1; }
      [ "$(wc -c <"$place/$new")" -eq "$bytes" ] || exit 1
      chmod 700 "$place/$new" && mv -f "$place/$new" "$place/$hash" || exit 1
      exec "$place/$hash" @ROLE@ --cache "$place" --verify "$hash"
    fi
    why="$why$problem; "
  done
  say "nowhere $(printf %s "$why" | tr '\n' ' ')"
  exit 1
}
phalanx_begins
