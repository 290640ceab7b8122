phalanx_begins() {
  for program in @PROGRAM@ "$(command -v phalanx)"; do
    if [ -n "$program" ] && [ -x "$program" ]; then
      printf '%s\n' "phalanx-bootstrap: have $(uname -s)/$(uname -m)"
      exec "$program" @ROLE@
    fi
  done
  printf '%s\n' "phalanx-bootstrap: missing"
  exit 1
}
phalanx_begins
