"""Runs Phalanx: one launch of `phalanx bench`, or `phalanx run` of a program that does nothing."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from cases import Item
from launch import launch
from rows import Sample, parse

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Phalanx:
    launcher: Path
    #: Start, barrier, finish.
    hello: Path
    version: str


def build() -> Phalanx:
    """Builds what is compared, with optimisation."""
    print("building phalanx", file=sys.stderr)
    cargo = ["cargo", "build", "--release", "--locked", "--quiet"]
    for target in (["-p", "phalanx-launcher"], ["-p", "phalanx-examples", "--example", "hello"]):
        subprocess.run([*cargo, *target], cwd=REPOSITORY, check=True)
    metadata = subprocess.run(
        ["cargo", "metadata", "--no-deps", "--format-version", "1", "--locked"],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        text=True,
    )
    release = Path(json.loads(metadata.stdout)["target_directory"], "release")
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    return Phalanx(release / "phalanx", release / "examples" / "hello", commit.stdout.strip() or "of unknown version")


@dataclass
class Run:
    """One launch of several figures."""

    phalanx: Phalanx
    ranks: int
    transport: str
    budget_s: float
    limit_s: float

    def startup(self) -> tuple[dict[Item, Sample], str | None]:
        command = [str(self.phalanx.launcher), "run", "-n", str(self.ranks), "--transport", self.transport]
        outcome = launch([*command, str(self.phalanx.hello)], {}, self.limit_s)
        if outcome.failure:
            return {}, outcome.failure
        return {Item("startup"): Sample.single(outcome.seconds * 1e6)}, None

    def figures(self, items: list[Item]) -> tuple[dict[Item, Sample], str | None]:
        """One command for the cases that have the same sizes, until the time is over."""
        found: dict[Item, Sample] = {}
        failure = None
        end = time.monotonic() + self.limit_s
        for cases, sizes, work in _commands(items):
            left = end - time.monotonic()
            if left <= 0:
                return found, f"more than {self.limit_s:g} s"
            rows, reason = self._bench(cases, sizes, work, left)
            found |= {item: sample for item, sample in rows.items() if item in items}
            failure = failure or reason
        return found, failure

    def _bench(
        self, cases: list[str], sizes: tuple[int, ...], work: int, limit_s: float
    ) -> tuple[dict[Item, Sample], str | None]:
        with tempfile.TemporaryDirectory(prefix="peers-") as directory:
            file = Path(directory, "rows.json")
            command = [str(self.phalanx.launcher), "bench", "-n", str(self.ranks), *cases, "--launches", "1"]
            command += ["--transport", self.transport, "--budget", str(self.budget_s), "--json", str(file)]
            if any(sizes):
                command += ["--sizes", ",".join(map(str, sizes))]
            if work:
                command += ["--steps", str(work)]
            outcome = launch(command, {}, limit_s)
            if not file.exists():
                return {}, outcome.failure or "it wrote no rows"
            return parse(json.loads(file.read_text())["rows"]), outcome.failure


def _commands(items: list[Item]) -> list[tuple[list[str], tuple[int, ...], int]]:
    """Cases, sizes and work of each command, those with long messages last."""
    sizes: dict[tuple[str, int], set[int]] = {}
    for item in items:
        sizes.setdefault((item.case, item.work), set()).add(item.bytes)
    cases: dict[tuple[tuple[int, ...], int], list[str]] = {}
    for (case, work), of_case in sizes.items():
        cases.setdefault((tuple(sorted(of_case)), work), []).append(case)
    commands = [(names, of_cases, work) for (of_cases, work), names in cases.items()]
    return sorted(commands, key=lambda command: max(command[1]))
