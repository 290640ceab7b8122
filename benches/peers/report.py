"""Tables of what was measured, in Markdown, and the rows as JSON."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cases import Bar, Item, bar_of
from contenders import TITLES
from rows import Key, Results, Series


@dataclass(frozen=True)
class Best:
    """The best setting of one contender, or of several, for one figure."""

    key: Key
    series: Series

    @property
    def label(self) -> str:
        return f"{TITLES[self.key.peer]} ({self.key.setting})"


def best(results: Results, ranks: int, item: Item, peers: set[str]) -> Best | None:
    found = [
        Best(key, series)
        for key, series in results.items()
        if key.ranks == ranks and key.item == item and key.peer in peers and series.samples
    ]
    return min(found, key=lambda each: each.series.median, default=None)


def figures(results: Results) -> list[tuple[int, Item]]:
    """Every figure that was asked for, by case, size and ranks."""
    return sorted({(key.ranks, key.item) for key in results}, key=lambda figure: (figure[1].case, figure[1], figure[0]))


def ratios(results: Results, *, tcp: bool) -> list[str]:
    """Ours against the best peer of each figure, with its bar."""
    rivals = {key.peer for key in results} - {"phalanx"}
    lines = []
    for ranks, item in figures(results):
        ours = best(results, ranks, item, {"phalanx"})
        rival = best(results, ranks, item, rivals)
        ratio = ours.series.median / rival.series.median if ours and rival else None
        bar = bar_of(item, ranks, tcp=tcp)
        lines.append(
            [
                item.label,
                str(ranks),
                _value(item, ours),
                _value(item, rival),
                rival.label if rival else "-",
                f"{ratio:.2f}" if ratio else "-",
                f"<= {bar.limit:g}{' MiB' if bar.absolute else ''}" if bar else "",
                _verdict(bar, ours, ratio),
            ]
        )
    return _table(["figure", "ranks", "ours", "best peer", "which", "ours / best", "bar", ""], lines, "lrrrlrll")


def _verdict(bar: Bar | None, ours: Best | None, ratio: float | None) -> str:
    met = bar.met(ours.series.median, ratio) if bar and ours else None
    return "" if met is None else "met" if met else "**missed**"


def each_peer(results: Results) -> list[str]:
    """Every contender's defaults, and its best settings where they differ."""
    peers = [peer for peer in TITLES if any(key.peer == peer for key in results)]
    lines = []
    for ranks, item in figures(results):
        line = [item.label, str(ranks)]
        for peer in peers:
            usual = results.get(Key(ranks, item, peer, "default"))
            top = best(results, ranks, item, {peer})
            text = _short(item, usual) if usual else ""
            if top and top.key.setting != "default":
                text = f"{text} / " if text else ""
                text += f"{_short(item, top.series)} {top.key.setting}"
            line.append(text or "-")
        lines.append(line)
    return _table(["figure", "ranks", *(TITLES[peer] for peer in peers)], lines, "lr" + "r" * len(peers))


def failures(results: Results) -> list[str]:
    """What has no value, or fewer samples than it should."""
    reasons: dict[tuple, list[str]] = {}
    for key, series in results.items():
        if series.failure:
            effect = "in some launches" if series.samples else "never"
            reasons.setdefault((key.ranks, key.peer, key.setting, series.failure, effect), []).append(key.item.label)
    return [
        f"* {ranks} ranks, {TITLES[peer]} ({setting}), {effect}: {', '.join(items)}. The launch: {failure}"
        for (ranks, peer, setting, failure, effect), items in sorted(reasons.items())
    ]


def page(results: Results, machine: dict, *, tcp: bool) -> str:
    """The whole report."""
    parts = [
        f"Machine: {machine['processor']}, {machine['cores']} cores, kernel {machine['kernel']}. "
        f"{'TCP over loopback' if tcp else 'Shared memory'}. Launches {machine['launches']}, seed {machine['seed']}, "
        f"{', '.join(f'{TITLES[name]} {version}' for name, version in machine['versions'].items())}.",
        "Microseconds; start-up in ms, memory in MiB per rank. Median over launches of the median of a launch, "
        "(least to greatest launch). The best peer of a figure is the best over all settings of all peers.",
        "\n".join(ratios(results, tcp=tcp)),
        "Each contender, with its defaults / its best settings where those are better:",
        "\n".join(each_peer(results)),
    ]
    if missing := failures(results):
        parts += ["Measured never, or not in every launch, and why:", "\n".join(missing)]
    return "\n\n".join(parts) + "\n"


def rows(results: Results, *, tcp: bool) -> list[dict]:
    """In the shape of `phalanx bench --json`, with the contender added."""
    return [
        {
            "case": key.item.case,
            "ranks": key.ranks,
            "bytes": key.item.bytes,
            "work": key.item.work,
            "transport": "tcp" if tcp else "shm",
            "peer": key.peer,
            "settings": key.setting,
            "unit": "MiB" if key.item.case == "memory" else "us",
            "min": min((sample.least for sample in series.samples), default=None),
            "median": series.median if series.samples else None,
            "p99": max((sample.p99 for sample in series.samples), default=None),
            "launches": series.medians,
            "failure": series.failure,
        }
        for key, series in results.items()
    ]


def _scaled(item: Item, value: float) -> str:
    value = value / 1e3 if item.case == "startup" else value
    digits = max(0, 2 - int(math.floor(math.log10(value)))) if value > 0 else 0
    return f"{value:.{digits}f}"


def _value(item: Item, which: Best | None) -> str:
    if not which:
        return "-"
    low, high = min(which.series.medians), max(which.series.medians)
    spread = f" ({_scaled(item, low)} to {_scaled(item, high)})" if len(which.series.samples) > 1 else ""
    return _scaled(item, which.series.median) + spread


def _short(item: Item, series: Series) -> str:
    if series.samples:
        return _scaled(item, series.median)
    return series.failure if series.failure and series.failure.startswith("more than") else "failed"


def _table(head: list[str], lines: list[list[str]], align: str) -> list[str]:
    widths = [max(len(line[column]) for line in [head, *lines]) for column in range(len(head))]

    def row(cells: list[str]) -> str:
        columns = zip(cells, widths, align, strict=True)
        padded = (cell.ljust(width) if side == "l" else cell.rjust(width) for cell, width, side in columns)
        return f"| {' | '.join(padded)} |"

    rule = ("-" * width if side == "l" else "-" * (width - 1) + ":" for width, side in zip(widths, align, strict=True))
    return [row(head), f"| {' | '.join(rule)} |", *map(row, lines)]
