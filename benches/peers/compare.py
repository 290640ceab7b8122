#!/usr/bin/env python3
"""Phalanx against Open MPI, MPICH and Intel MPI, on this machine and in the same run. See README.md."""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import signal
import subprocess
import sys
from pathlib import Path

import report
from cases import CASES
from install import PACKAGES, InstallError, install
from measure import Plan, measure
from ours import REPOSITORY, build


def main() -> int:
    options = _options()
    try:
        peers = install(options.cache, options.peers)
        phalanx = None if options.without_phalanx else build()
    except (InstallError, OSError, subprocess.CalledProcessError) as error:
        print(f"compare: {error}", file=sys.stderr)
        return 1
    plan = Plan(
        cases=options.cases,
        ranks=options.ranks,
        launches=options.launches,
        budget_s=options.budget_ms / 1e3,
        limit_s=options.limit,
        start_limit_s=20,
        seed=options.seed,
        cores=len(os.sched_getaffinity(0)),
        tcp=options.tcp,
        quick=options.quick,
        peers=peers,
        phalanx=phalanx,
    )
    print(f"seed {plan.seed}, load {os.getloadavg()[0]:.2f} on {plan.cores} cores", file=sys.stderr)
    # As an interrupt from the keyboard, so that the launch of the moment is ended in either case.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    results = measure(plan)
    machine = _machine(plan)
    page = report.page(results, machine, tcp=plan.tcp)
    print(page, end="")
    if options.markdown:
        options.markdown.write_text(page)
    if options.json:
        rows = report.rows(results, tcp=plan.tcp)
        options.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Compare Phalanx with Open MPI, MPICH and Intel MPI: medians over launches that take turns.",
        epilog="example: compare.py --cases pingpong,barrier --ranks 2,4 --markdown table.md",
    )
    parser.add_argument(
        "--cases",
        type=_names(list(CASES)),
        default=list(CASES),
        metavar="LIST",
        help=f"which, of {', '.join(CASES)} [default: all]",
    )
    parser.add_argument(
        "--ranks",
        type=_numbers,
        default=[2, 4, 8, 16, 64],
        metavar="LIST",
        help="rank counts; each case has its own among them [default: 2,4,8,16,64]",
    )
    parser.add_argument(
        "--peers",
        type=_names(list(PACKAGES)),
        default=list(PACKAGES),
        metavar="LIST",
        help=f"which, of {', '.join(PACKAGES)} [default: all]",
    )
    parser.add_argument("--without-phalanx", action="store_true", help="measure the peers alone")
    parser.add_argument("--tcp", action="store_true", help="TCP over loopback instead of shared memory")
    parser.add_argument("--launches", type=_positive, metavar="N", help="launches of each [default: 5, quick: 3]")
    parser.add_argument(
        "--budget-ms", type=_positive, metavar="MS", help="time for one figure in one launch [default: 200, quick: 30]"
    )
    parser.add_argument(
        "--limit",
        type=_positive,
        default=4,
        metavar="S",
        help="time limit of one launch for each of its figures, and 20 s; what exceeds it is said to [default: 4]",
    )
    parser.add_argument("--seed", type=int, metavar="N", help="repeats an order of launches [default: by chance]")
    parser.add_argument("--quick", action="store_true", help="few sizes, few and short launches: a look, no result")
    parser.add_argument(
        "--cache",
        type=Path,
        default=REPOSITORY / "target" / "peers",
        metavar="DIR",
        help="where the peers are installed [default: target/peers]",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows of every contender")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write what is printed")
    options = parser.parse_args()
    options.launches = options.launches or (3 if options.quick else 5)
    options.budget_ms = options.budget_ms or (30 if options.quick else 200)
    options.seed = random.randrange(1_000_000) if options.seed is None else options.seed
    return options


def _names(known: list[str]):
    def parse(text: str) -> list[str]:
        names = text.split(",")
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: not among {', '.join(known)}")
        return names

    return parse


def _numbers(text: str) -> list[int]:
    return [_positive(number) for number in text.split(",")]


def _positive(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return number


def _machine(plan: Plan) -> dict:
    versions = {"phalanx": plan.phalanx.version} if plan.phalanx else {}
    return {
        "processor": _processor(),
        "cores": plan.cores,
        "kernel": platform.release(),
        "load": os.getloadavg()[0],
        "launches": plan.launches,
        "seed": plan.seed,
        "budget_ms": plan.budget_s * 1e3,
        "limit_s": plan.limit_s,
        "versions": versions | {peer: installed.version for peer, installed in plan.peers.items()},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


if __name__ == "__main__":
    sys.exit(main())
