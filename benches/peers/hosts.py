#!/usr/bin/env python3
"""How long a job on several hosts takes from its command to its end: Phalanx, Open MPI and Hydra over ssh.

The hosts are namespaces of this machine (tests/cluster/bed.sh, as root), each with an sshd of its own. They share the
file system here as they would over NFS, so that the peers find themselves there. See README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from install import InstallError, Installed, install
from ours import REPOSITORY, Phalanx, build

BED = REPOSITORY / "tests" / "cluster" / "bed.sh"
#: On the head, so that what leads there is not timed: limit, then the command.
TIMER = """
import json, subprocess, sys, time
begun = time.monotonic()
try:
    done = subprocess.run(sys.argv[2:], stdin=subprocess.DEVNULL, capture_output=True, timeout=float(sys.argv[1]))
    code, said = done.returncode, (done.stderr or done.stdout).decode(errors="replace")
except subprocess.TimeoutExpired:
    code, said = None, ""
print(json.dumps([time.monotonic() - begun, code, said.strip()[-300:]]))
"""
#: What a node keeps of a launch of ours.
FORGET = ["sh", "-c", "rm -rf $HOME/.cache/phalanx /tmp/phalanx-* /var/tmp/phalanx-* /dev/shm/phalanx-*"]
#: Daemons of the peers end a moment after their launchers.
PAUSE_S = 0.2


@dataclass(frozen=True)
class Contender:
    title: str
    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    #: Nothing of it is on the nodes when it starts.
    cold: bool = False


def main() -> int:
    options = _options()
    try:
        peers = install(options.cache, ["mpich", "openmpi"])
        phalanx = build()
    except (InstallError, OSError, subprocess.CalledProcessError) as error:
        print(f"hosts: {error}", file=sys.stderr)
        return 1
    dice = random.Random(options.seed)
    print(f"seed {options.seed}, load {os.getloadavg()[0]:.2f} on {os.cpu_count()} cores", file=sys.stderr)
    table = Table()
    for count in options.hosts:
        with bed(count) as names:
            for per_host in options.per_host:
                contenders = _contenders(phalanx, peers, names, per_host, options.program)
                measure(table, count, per_host, contenders, options, dice)
    page = table.page()
    print(page, end="")
    if options.markdown:
        options.markdown.write_text(page)
    return 1 if table.failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time jobs on several hosts, from the command to the end, over ssh.")
    numbers = _numbers
    parser.add_argument("--hosts", type=numbers, default=[2, 3, 16], metavar="LIST", help="[default: 2,3,16]")
    parser.add_argument("--per-host", type=numbers, default=[1, 4], metavar="LIST", help="ranks [default: 1,4]")
    parser.add_argument("--launches", type=int, default=7, metavar="N", help="of each, in turn [default: 7]")
    parser.add_argument("--limit", type=float, default=60, metavar="S", help="of one launch [default: 60]")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="of the order of launches")
    parser.add_argument(
        "--program",
        choices=["barrier", "true"],
        default="barrier",
        help="start, barrier, end; or /bin/true, which leaves the launchers alone [default: barrier]",
    )
    parser.add_argument("--cache", type=Path, default=REPOSITORY / "target" / "peers", metavar="DIR")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write what is printed")
    return parser.parse_args()


def _numbers(text: str) -> list[int]:
    return [int(word) for word in text.split(",")]


def _contenders(
    phalanx: Phalanx, peers: dict[str, Installed], names: list[str], per_host: int, program: str
) -> list[Contender]:
    ranks = str(per_host * len(names))
    counted = ",".join(f"{name}:{per_host}" for name in names)

    def work(barrier: list[str]) -> list[str]:
        return barrier if program == "barrier" else ["/bin/true"]

    ours = [str(phalanx.launcher), "run", "--host", counted, "-n", ranks]
    hello = work([str(phalanx.hello)])
    openmpi, mpich = peers["openmpi"], peers["mpich"]
    root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    root |= {"PRTE_ALLOW_RUN_AS_ROOT": "1", "PRTE_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    # More ranks than cores are refused without it.
    mapping = ["--host", counted, "--map-by", ":OVERSUBSCRIBE"]
    return [
        Contender("Phalanx, all sent", [*ours, *hello], cold=True),
        Contender("Phalanx, kept there", [*ours, *hello]),
        Contender("Phalanx --no-ship", [*ours, "--no-ship", *hello]),
        Contender("Open MPI", [openmpi.mpiexec, *mapping, "-n", ranks, *work([str(openmpi.program), "hello"])], root),
        Contender(
            "Hydra (MPICH)",
            [mpich.mpiexec, "-hosts", ",".join(names), "-ppn", str(per_host), "-n", ranks]
            + work([str(mpich.program), "hello"]),
        ),
    ]


@contextmanager
def bed(count: int) -> Iterator[list[str]]:
    """Hosts, which are gone afterwards; the nodes' names."""
    os.environ["BED"] = f"peers{os.getpid()}"
    subprocess.run([BED, "up", str(count)], check=True)
    try:
        yield [f"node{number}" for number in range(1, count + 1)]
    finally:
        subprocess.run([BED, "down"], check=True)


def on(host: str, command: list[str], extra: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        [BED, "on", host, *command], env=os.environ | (extra or {}), check=True, capture_output=True, text=True
    )
    return done.stdout


def measure(
    table: Table, count: int, per_host: int, contenders: list[Contender], options: argparse.Namespace, dice: random.Random
) -> None:
    """All contenders in turn, in an order drawn anew for each round; the first round warms up."""
    for launch in range(-1, options.launches):
        for contender in dice.sample(contenders, len(contenders)):
            if table.gave_up(count, per_host, contender.title):
                continue
            if contender.cold:
                for number in range(1, count + 1):
                    on(f"node{number}", FORGET)
            words = [sys.executable, "-c", TIMER, str(options.limit), *contender.command]
            seconds, code, said = json.loads(on("head", words, contender.environment).splitlines()[-1])
            if code != 0:
                table.fail(count, per_host, contender.title, f"{'too slow' if code is None else code}: {said}")
            elif launch >= 0:
                table.add(count, per_host, contender.title, seconds)
            time.sleep(PAUSE_S)


class Table:
    """Times by hosts, ranks on each, and contender."""

    def __init__(self) -> None:
        self.times: dict[tuple[int, int, str], list[float]] = {}
        self.failed: dict[tuple[int, int, str], str] = {}

    def add(self, count: int, per_host: int, title: str, seconds: float) -> None:
        self.times.setdefault((count, per_host, title), []).append(seconds)

    def fail(self, count: int, per_host: int, title: str, why: str) -> None:
        self.failed[count, per_host, title] = why
        print(f"{title} on {count} hosts with {per_host} ranks each failed: {why}", file=sys.stderr)

    def gave_up(self, count: int, per_host: int, title: str) -> bool:
        return (count, per_host, title) in self.failed

    def page(self) -> str:
        titles = list(dict.fromkeys(title for *_, title in self.times))
        titles.sort(key=lambda title: (not title.startswith("Phalanx"), title))
        lines = ["| hosts | ranks on each | " + " | ".join(titles) + " |", "| ---: | ---: |" + " ---: |" * len(titles)]
        for count, per_host in dict.fromkeys((count, per_host) for count, per_host, _ in self.times):
            cells = [self._cell(count, per_host, title) for title in titles]
            lines.append(f"| {count} | {per_host} | " + " | ".join(cells) + " |")
        return "\n".join(lines) + "\n"

    def _cell(self, count: int, per_host: int, title: str) -> str:
        if self.gave_up(count, per_host, title):
            return "failed"
        times = [seconds * 1e3 for seconds in self.times[count, per_host, title]]
        return f"{statistics.median(times):.0f} ({min(times):.0f} to {max(times):.0f})"


if __name__ == "__main__":
    sys.exit(main())
