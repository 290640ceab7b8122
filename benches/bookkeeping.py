#!/usr/bin/env python3
"""What it costs that calls are compared, remembered and recorded: the library as it is beside one without.

The one without is built with `--cfg bare`: no signatures of collectives, no account of past calls, no black box.
Both run the same `phalanx bench`, turn by turn, in an order drawn anew for each round. What is printed is the
median over rounds of the medians of the launches, with the range of rounds, and the median of the differences
between the two of a round.

    python3 benches/bookkeeping.py                  # 15 rounds, a few minutes; the machine should be quiet
    python3 benches/bookkeeping.py --rounds 3 --budget 0.05 --transport tcp
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import tempfile
from pathlib import Path
from statistics import median

REPOSITORY = Path(__file__).resolve().parents[1]
CASES = ["pingpong", "barrier", "allreduce"]


def build(flags: str, target: Path) -> Path:
    """The launcher, which is also the program of the ranks."""
    environment = {**os.environ, "CARGO_TARGET_DIR": str(target), "RUSTFLAGS": flags}
    command = ["cargo", "build", "--release", "--locked", "--quiet", "-p", "phalanx-launcher"]
    subprocess.run(command, cwd=REPOSITORY, env=environment, check=True)
    return target / "release" / "phalanx"


def measure(launcher: Path, words: list[str]) -> dict[str, float]:
    """One launch: the median of each case, in nanoseconds."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "rows.json")
        command = [str(launcher), "bench", *CASES, "--launches", "1", "--json", str(file), *words]
        subprocess.run(command, check=True, capture_output=True)
        rows = json.loads(file.read_text())["rows"]
    scale = {"us": 1e3, "µs": 1e3, "ns": 1.0}
    return {f"{row['case']}, {row['bytes']} bytes": row["median"] * scale[row["unit"]] for row in rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--transport", default="shm")
    parser.add_argument("--sizes", default="8")
    parser.add_argument("--budget", default="0.3", help="seconds for each figure in each launch")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--only-build", action="store_true")
    options = parser.parse_args()
    target = REPOSITORY / "target"
    kinds = {"as it is": build("", target), "bare": build("--cfg bare", target / "bare")}
    if options.only_build:
        return
    print(f"seed {options.seed}")
    dice = random.Random(options.seed)
    words = ["-n", str(options.ranks), "--transport", options.transport]
    words += ["--sizes", options.sizes, "--budget", options.budget]
    rounds: list[dict[str, dict[str, float]]] = []
    for _ in range(options.rounds):
        order = dice.sample(sorted(kinds), len(kinds))
        rounds.append({kind: measure(kinds[kind], words) for kind in order})
    print(f"{options.ranks} ranks, {options.transport}, {options.rounds} rounds, in ns")
    print("| case | as it is | bare | difference | of it |\n|---|---|---|---|---|")
    for case in rounds[0]["bare"]:
        cells = []
        for kind in kinds:
            times = [each[kind][case] for each in rounds]
            cells.append(f"{median(times):.0f} ({min(times):.0f} to {max(times):.0f})")
        differences = [each["as it is"][case] - each["bare"][case] for each in rounds]
        share = median(each["as it is"][case] / each["bare"][case] - 1 for each in rounds)
        print(f"| {case} | {cells[0]} | {cells[1]} | {median(differences):+.1f} | {100 * share:+.1f} % |")


if __name__ == "__main__":
    main()
