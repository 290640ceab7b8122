"""Runs one command within a time limit and leaves nothing of it behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

#: Set for every process of a launch, so that those which left the process group are found, too.
MARK = "PHALANX_PEERS_LAUNCH"
#: What a launcher gets to end its ranks after the time limit.
GRACE_S = 5


@dataclass(frozen=True)
class Outcome:
    seconds: float
    output: str
    #: None if it ended with exit code 0.
    failure: str | None


def launch(command: list[str], extra: dict[str, str], limit_s: float) -> Outcome:
    """Runs a command. What it printed until a failure or the time limit counts, too."""
    mark = uuid.uuid4().hex
    with tempfile.TemporaryDirectory(prefix="peers-", ignore_cleanup_errors=True) as scratch:
        # Files, not pipes: a rank that survives its launcher would keep a pipe open.
        output, errors = Path(scratch, "output"), Path(scratch, "errors")
        variables = {**os.environ, **extra, MARK: mark, "TMPDIR": scratch}
        with output.open("wb") as out, errors.open("wb") as err:
            begun = time.monotonic()
            process = subprocess.Popen(
                command, env=variables, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
            )
            try:
                failure = _wait(process, limit_s)
                seconds = time.monotonic() - begun
            finally:
                _end(process, mark)
        if failure and not failure.startswith("more than"):
            failure = f"{failure}: {_last_line(errors) or _last_line(output)}"
        return Outcome(seconds, output.read_text(errors="replace"), failure)


def _wait(process: subprocess.Popen, limit_s: float) -> str | None:
    try:
        code = process.wait(limit_s)
    except subprocess.TimeoutExpired:
        return f"more than {limit_s:g} s"
    return f"exit code {code}" if code else None


def _end(process: subprocess.Popen, mark: str) -> None:
    """Asks the launcher to end its job, then kills what is left of it and removes the shared memory it had."""
    late = process.poll() is None
    shared = {file for pid in _marked(mark) for file in _shared_files(pid)} if late else set()
    if late:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_S)
    for pid in _marked(mark):
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    process.wait()
    for file in shared:
        file.unlink(missing_ok=True)


def _marked(mark: str) -> list[int]:
    """The processes of a launch."""
    entry, found = f"{MARK}={mark}".encode(), []
    for directory in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if entry in (directory / "environ").read_bytes().split(b"\0"):
                found.append(int(directory.name))
    return found


def _shared_files(pid: int) -> set[Path]:
    """The files in /dev/shm that a process has mapped and that still have their name."""
    with contextlib.suppress(OSError):
        paths = (line.split(maxsplit=5)[-1] for line in Path(f"/proc/{pid}/maps").read_text().splitlines())
        return {Path(path) for path in paths if path.startswith("/dev/shm/") and not path.endswith("(deleted)")}
    return set()


def _last_line(path: Path) -> str:
    lines = [line.strip(" -") for line in path.read_text(errors="replace").splitlines()]
    return next((line for line in reversed(lines) if line), "")
