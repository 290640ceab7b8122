"""The rows that both benchmarks write, and what several launches make of them."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field

from cases import Item


@dataclass(frozen=True)
class Sample:
    """One figure of one launch, in microseconds (`memory`: MiB)."""

    least: float
    median: float
    p99: float

    @classmethod
    def single(cls, value: float) -> Sample:
        return cls(value, value, value)


def parse(rows: Iterable[dict]) -> dict[Item, Sample]:
    """The samples in rows of either benchmark."""
    found = {}
    for row in rows:
        item = Item(row["case"], row["bytes"], row["work"])
        found[item] = Sample(row["min"], row["median"], row["p99"])
    return found


@dataclass
class Series:
    """One figure of one contender over the launches."""

    samples: list[Sample] = field(default_factory=list)
    #: Why a launch gave none.
    failure: str | None = None
    #: It is not tried again.
    given_up: bool = False

    @property
    def medians(self) -> list[float]:
        return [sample.median for sample in self.samples]

    @property
    def median(self) -> float:
        return statistics.median(self.medians)


@dataclass(frozen=True)
class Key:
    ranks: int
    item: Item
    #: `phalanx`, `openmpi`, `mpich` or `impi`, and which of its settings.
    peer: str
    setting: str


Results = dict[Key, Series]
