"""Runs the contenders in turn, launch by launch, in an order that chance decides anew for every round."""

from __future__ import annotations

import json
import random
import sys
from dataclasses import dataclass, field

import contenders
from cases import CASES, Item, items_of
from contenders import Setting
from install import Installed
from launch import launch
from ours import Phalanx, Run
from rows import Key, Results, Sample, Series, parse

OURS = Setting("phalanx", "default")


@dataclass
class Plan:
    """What to run."""

    cases: list[str]
    ranks: list[int]
    launches: int
    budget_s: float
    #: Of one launch: for each figure, and for its start.
    limit_s: float
    start_limit_s: float
    seed: int
    cores: int
    tcp: bool
    quick: bool
    peers: dict[str, Installed]
    phalanx: Phalanx | None
    settings: list[Setting] = field(init=False)
    chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        known = contenders.TCP if self.tcp else contenders.SHARED_MEMORY
        self.settings = [setting for setting in known if setting.peer in self.peers]

    def contenders(self, ranks: int, group: list[Item]) -> list[Setting]:
        alone = CASES[group[0].case].alone
        ours = [OURS] if self.phalanx else []
        return ours + [setting for setting in self.settings if setting.applies(ranks, self.cores, alone=alone)]

    def groups(self, ranks: int) -> list[list[Item]]:
        """Items that share a launch."""
        items = items_of(self.cases, ranks, tcp=self.tcp, quick=self.quick)
        together = [item for item in items if not CASES[item.case].alone]
        return ([together] if together else []) + [[item] for item in items if CASES[item.case].alone]


def measure(plan: Plan) -> Results:
    """Runs it all. If it is interrupted, what was measured until then counts."""
    results: Results = {}
    try:
        for ranks in plan.ranks:
            for group in plan.groups(ranks):
                _rounds(plan, results, ranks, group)
    except KeyboardInterrupt:
        print("interrupted: what follows is incomplete", file=sys.stderr)
    return results


def _rounds(plan: Plan, results: Results, ranks: int, group: list[Item]) -> None:
    names = ", ".join(dict.fromkeys(item.case for item in group))
    for number in range(plan.launches):
        order = plan.contenders(ranks, group)
        plan.chance.shuffle(order)
        for setting in order:
            remark = _launch_once(plan, results, ranks, group, setting)
            print(f"{ranks} ranks, launch {number + 1}, {setting.label}: {remark or names}", file=sys.stderr)


def _launch_once(plan: Plan, results: Results, ranks: int, group: list[Item], setting: Setting) -> str | None:
    """Adds a sample to each figure, or the reason why there is none. Returns what was missing, if anything.

    The first figure that is missing is what failed or took too long: that case is given up from that size on. Those
    behind it have another chance in the next launch.
    """
    series = {item: results.setdefault(Key(ranks, item, setting.peer, setting.name), Series()) for item in group}
    items = [item for item in group if not series[item].given_up]
    if not items:
        return "given up"
    found, failure = _run(plan, ranks, items, setting)
    reason = failure or "it wrote no such row"
    missing = [item for item in items if item not in found]
    for item in items:
        if item in found:
            series[item].samples.append(found[item])
    for item in missing:
        series[item].failure = reason
        series[item].given_up = item.case == missing[0].case
    return f"{reason}, without {', '.join(item.label for item in missing)}" if missing else None


def _run(plan: Plan, ranks: int, items: list[Item], setting: Setting) -> tuple[dict[Item, Sample], str | None]:
    limit_s = plan.start_limit_s + plan.limit_s * len(items)
    if setting is OURS:
        run = Run(plan.phalanx, ranks, "tcp" if plan.tcp else "auto", plan.budget_s, limit_s)
        return run.startup() if items[0].case == "startup" else run.figures(items)
    installed = plan.peers[setting.peer]
    if items[0].case == "startup":
        arguments = ["hello"]
    else:
        arguments = ["--budget-ms", f"{plan.budget_s * 1e3:g}", *(item.argument for item in items)]
    command = contenders.command(setting, installed, ranks, plan.cores, arguments)
    outcome = launch(command, contenders.environment(setting, installed), limit_s)
    if items[0].case == "startup":
        found = {} if outcome.failure else {items[0]: Sample.single(outcome.seconds * 1e6)}
    else:
        # The last line of a launch that was ended may be half a row.
        whole = (line for line in outcome.output.splitlines() if line.startswith("{") and line.endswith("}"))
        found = parse(map(json.loads, whole))
    return found, outcome.failure
