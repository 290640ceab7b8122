#!/usr/bin/env python3
"""Draws what `compare.py --json` wrote. Needs matplotlib (`pip install matplotlib`). See README.md."""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from pathlib import Path

from cases import size_label
from contenders import TITLES

COLOURS = {"phalanx": "#c0392b", "openmpi": "#2c7fb8", "mpich": "#7fb82c", "impi": "#7d5ba6"}
#: Cases drawn over the size of the message, for each number of ranks; the others over the ranks.
OVER_SIZES = ("pingpong", "echo", "bandwidth", "allreduce", "bcast", "allgather", "alltoall")
OVER_RANKS = ("barrier", "allreduce 8 B", "iterate 100k", "iterate 400k", "startup", "memory")
#: What is not shown in microseconds, and by how much a figure is multiplied for it.
UNITS = {"memory": ("MiB a rank", 1), "startup": ("ms", 1e-3)}

Points = dict[str, dict[float, float]]


def main() -> int:
    parser = argparse.ArgumentParser(description="Plots of rows that compare.py --json wrote.")
    parser.add_argument("rows", type=Path, nargs="+", metavar="ROWS.json")
    parser.add_argument("--output", type=Path, default=Path("docs/plots"), metavar="DIR")
    parser.add_argument("--ranks", type=int, action="append", metavar="N", help="over sizes: only for this number")
    options = parser.parse_args()
    try:
        import matplotlib as mpl
    except ImportError:
        print("plot: matplotlib is missing: pip install matplotlib", file=sys.stderr)
        return 1
    mpl.use("svg")
    # The same input gives the same bytes; text stays text, a third of the size of outlines.
    mpl.rcParams.update({"svg.hashsalt": "phalanx", "svg.fonttype": "none"})
    mpl.rcParams.update({"font.size": 9, "axes.grid": True, "grid.alpha": 0.3})
    rows = [row for path in options.rows for row in json.loads(path.read_text())["rows"]]
    options.output.mkdir(parents=True, exist_ok=True)
    sized = [row for row in rows if not options.ranks or row["ranks"] in options.ranks]
    for title, points, label in [*over_sizes(sized), *over_ranks(rows)]:
        draw(options.output / f"{title.replace(' ', '-').replace(',', '').lower()}.svg", title, points, label)
    return 0


def over_sizes(rows: list[dict]) -> list[tuple[str, Points, str]]:
    pictures: dict[tuple, Points] = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        if row["case"] in OVER_SIZES and row["median"] is not None:
            keep(pictures[row["case"], row["ranks"], row["transport"]][row["peer"]], row["bytes"], row["median"])
    return [
        (f"{case}, {ranks} ranks, {transport}", points, "bytes")
        for (case, ranks, transport), points in sorted(pictures.items())
        if max(len(line) for line in points.values()) > 1
    ]


def over_ranks(rows: list[dict]) -> list[tuple[str, Points, str]]:
    pictures: dict[str, Points] = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        name = row["case"]
        if row["work"]:
            name += f" {row['work'] // 1000}k"
        elif name in OVER_SIZES:
            name += f" {row['bytes']} B"
        if name in OVER_RANKS and row["median"] is not None and row["transport"] == "shm":
            keep(pictures[name][row["peer"]], row["ranks"], row["median"])
    return [
        (f"{name} over ranks", points, "ranks")
        for name, points in sorted(pictures.items())
        if max(len(line) for line in points.values()) > 1
    ]


def keep(line: dict[float, float], place: float, value: float) -> None:
    """The best setting of a contender counts."""
    line[place] = min(value, line.get(place, value))


def draw(path: Path, title: str, points: Points, label: str) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(5, 3.2), layout="constrained")
    figure.patch.set_facecolor("white")
    unit, scale = UNITS.get(title.split()[0], ("µs", 1))
    for peer, line in sorted(points.items(), key=lambda item: list(COLOURS).index(item[0])):
        places = sorted(line)
        axes.loglog(
            places,
            [line[place] * scale for place in places],
            marker="o",
            markersize=3,
            color=COLOURS[peer],
            linewidth=2 if peer == "phalanx" else 1.2,
            label=TITLES[peer],
        )
    axes.set(title=title, xlabel=label, ylabel=unit)
    places = sorted({place for line in points.values() for place in line})
    axes.set_xticks(places, [size_label(place) if label == "bytes" else f"{place:g}" for place in places])
    axes.minorticks_off()
    axes.legend(fontsize=8)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


if __name__ == "__main__":
    sys.exit(main())
