"""What is measured, at which sizes and rank counts, and the bars that the results are held against."""

from __future__ import annotations

from dataclasses import dataclass

KIB, MIB = 1024, 1024 * 1024
#: Multiply-adds of an iteration, of which one takes 2 to 3 ns.
USUAL_WORK = 100_000


@dataclass(frozen=True, order=True)
class Item:
    """One figure: a case at a size. `bytes` is 0 where a case has no size; `work` is for `iterate` alone."""

    case: str
    bytes: int = 0
    work: int = 0

    @property
    def argument(self) -> str:
        """How `bench.c` is asked for it."""
        if self.case == "memory":
            return self.case
        return f"{self.case}:{self.work or self.bytes}"

    @property
    def label(self) -> str:
        if self.work:
            return f"{self.case} {self.work // 1000}k"
        return f"{self.case} {size_label(self.bytes)}" if self.bytes else self.case


@dataclass(frozen=True)
class Case:
    sizes: tuple[int, ...] = (0,)
    works: tuple[int, ...] = (0,)
    ranks: tuple[int, ...] = (2, 4, 8, 16)
    #: It gets a launch of its own, as what ran before it would change it.
    alone: bool = False
    #: It says something about TCP, too.
    tcp: bool = True


CASES = {
    "pingpong": Case((8, KIB, 8 * KIB, 64 * KIB, MIB, 4 * MIB), ranks=(2,)),
    "echo": Case((8, 64 * KIB, MIB, 4 * MIB), ranks=(2,)),
    "bandwidth": Case((8, 8 * KIB, 64 * KIB, MIB, 4 * MIB), ranks=(2,)),
    "message-rate": Case((8,)),
    "barrier": Case(ranks=(2, 4, 8, 16, 64)),
    "allreduce": Case((8, KIB, 64 * KIB, MIB, 8 * MIB)),
    "bcast": Case((8, KIB, 64 * KIB, MIB)),
    "reduce": Case((8, 64 * KIB)),
    "allgather": Case((8, KIB, 64 * KIB)),
    "alltoall": Case((8, KIB, 64 * KIB)),
    "iterate": Case(works=(USUAL_WORK, 4 * USUAL_WORK)),
    "startup": Case(ranks=(2, 16, 64), alone=True, tcp=False),
    "memory": Case(ranks=(2, 16, 64), alone=True, tcp=False),
}

#: At these rank counts a case that is not listed for them still runs, at its smallest size.
SMALLEST_ONLY = {64: ("allreduce",)}

#: The figures of `--quick`.
QUICK = {8, 64 * KIB, MIB}


def items_of(cases: list[str], ranks: int, *, tcp: bool, quick: bool) -> list[Item]:
    """The items of these cases that exist at a rank count, small ones first."""
    items = []
    for name in cases:
        case = CASES[name]
        sizes = case.sizes
        if name in SMALLEST_ONLY.get(ranks, ()):
            sizes = sizes[:1]
        elif ranks not in case.ranks:
            continue
        if tcp and not case.tcp:
            continue
        if quick and len(sizes) > 1:
            sizes = tuple(size for size in sizes if size in QUICK)
        items += [Item(name, size, work) for size in sizes for work in case.works]
    return sorted(items, key=lambda item: (item.bytes, item.work, item.case))


@dataclass(frozen=True)
class Bar:
    """What a figure must not exceed: a ratio to the best peer, or an absolute value in the unit of its case."""

    limit: float
    absolute: bool = False

    def met(self, ours: float, ratio: float | None) -> bool | None:
        value = ours if self.absolute else ratio
        return None if value is None else value <= self.limit


@dataclass(frozen=True)
class Rule:
    """Which figures a bar is for; without sizes or ranks, for all."""

    bar: Bar
    cases: tuple[str, ...]
    sizes: tuple[int, ...] | None = None
    ranks: tuple[int, ...] | None = None

    def covers(self, item: Item, ranks: int) -> bool:
        return (
            item.case in self.cases
            and (self.sizes is None or item.bytes in self.sizes)
            and (self.ranks is None or ranks in self.ranks)
        )


#: Those of 4 ranks and more are meant for ranks that outnumber the cores.
BARS = (
    Rule(Bar(1.1), ("pingpong", "echo"), sizes=(8,)),
    Rule(Bar(1.0), ("pingpong", "echo", "bandwidth"), sizes=(64 * KIB, MIB, 4 * MIB)),
    Rule(Bar(1.1), ("allreduce",), ranks=(2,)),
    Rule(Bar(0.7), ("barrier",), ranks=(4, 8, 16, 64)),
    Rule(Bar(0.7), ("allreduce",), sizes=(8,), ranks=(4, 8, 16, 64)),
    Rule(Bar(0.8), ("allreduce",), sizes=(MIB,), ranks=(4, 8, 16)),
    Rule(Bar(1.0), ("iterate",), ranks=(4, 8, 16)),
    Rule(Bar(0.3), ("startup",)),
    Rule(Bar(2.0, absolute=True), ("memory",), ranks=(64,)),
)
TCP_BARS = (Rule(Bar(1.0), ("pingpong",), sizes=(8,)), Rule(Bar(1.0), ("bandwidth",), sizes=(MIB,)))


def bar_of(item: Item, ranks: int, *, tcp: bool) -> Bar | None:
    """The bar of one figure, if it has one."""
    rules = TCP_BARS if tcp else BARS
    return next((rule.bar for rule in rules if rule.covers(item, ranks)), None)


def size_label(size: int) -> str:
    if size >= MIB:
        return f"{size // MIB} MiB"
    return f"{size // KIB} KiB" if size >= KIB else f"{size} B"
