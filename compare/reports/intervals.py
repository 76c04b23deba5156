"""Intervals of the difference between two runs, each with its source; NumPy alone, nothing is read or written here.

Neighbouring frames share a queue and a micro-batch, so their latencies are alike. What is
drawn with replacement is therefore whole seconds of the schedule and not single frames: the
block bootstrap (S. N. Lahiri, "Resampling Methods for Dependent Data", 2003, chapter 2, blocks
that do not overlap). Both runs keep the same schedule, so a draw takes the same seconds of both.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgewise.statistics import SAMPLES_NEEDED, Floats, Interval, middle, nearest_rank, wilson

Whole = NDArray[np.int64]

BLOCKS_NEEDED: Final = 10
"""Of a run, at least: fewer seconds say too little of how much seconds differ."""
BLOCK_DRAWS: Final = 1_000
"""Of the bootstrap: 25 of them lie beyond each bound."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One number of each frame, and the second of the schedule that the frame belongs to."""

    values: Floats
    block: Whole


@dataclass(frozen=True, slots=True)
class Ratio:
    """Two amounts of each second of the schedule; their sums' ratio is the figure."""

    amount: Floats
    of: Floats
    block: Whole


def newcombe(one: tuple[int, int], other: tuple[int, int]) -> Interval | None:
    """Give the interval of the other's share minus the one's, each as how many of how many; they share no frame.

    R. G. Newcombe, Statistics in Medicine 17 (1998), method 10: from both shares' Wilson intervals.
    """
    of_one, of_other = wilson(*one), wilson(*other)
    if of_one is None or of_other is None:
        return None
    first, second = (right / of for right, of in (one, other))
    return Interval(
        second - first - math.hypot(second - of_other.low, of_one.high - first),
        second - first + math.hypot(of_other.high - second, first - of_one.low),
    )


def percentile_differences(one: Sample, other: Sample, shares: Sequence[float]) -> Mapping[float, Interval]:
    """Give the intervals of the other's percentiles minus the one's, where there are frames and seconds enough."""
    samples = min(len(one.values), len(other.values))
    wanted = [share for share in shares if samples >= SAMPLES_NEEDED[share]]
    if not wanted or not _enough(one.block, other.block):
        return {}
    blocks, (first, second) = _numbered(one.block, other.block)
    sides = [_sorted(one.values, first), _sorted(other.values, second)]
    with np.errstate(invalid="ignore"):  # infinite minus infinite is not a number: no bound then
        drawn = np.array(
            [np.subtract(*(_percentiles(side, times, wanted) for side in sides[::-1])) for times in _draws(blocks)]
        )
    found = {share: middle(drawn[:, place]) for place, share in enumerate(wanted)}
    return {share: within for share, within in found.items() if within is not None}


def ratio_difference(one: Ratio, other: Ratio) -> Interval | None:
    """Give the interval of the other's ratio minus the one's, or None with too few seconds."""
    if not _enough(one.block, other.block):
        return None
    blocks, places = _numbered(one.block, other.block)
    sums = [
        [np.bincount(place, weights=part, minlength=blocks) for part in (side.amount, side.of)]
        for side, place in zip((one, other), places, strict=True)
    ]
    with np.errstate(invalid="ignore", divide="ignore"):
        drawn = np.array(
            [np.subtract(*((times @ amount) / (times @ of) for amount, of in sums[::-1])) for times in _draws(blocks)]
        )
    return middle(drawn)


def _enough(one: Whole, other: Whole) -> bool:
    return min(len(np.unique(one)), len(np.unique(other))) >= BLOCKS_NEEDED


def _numbered(one: Whole, other: Whole) -> tuple[int, tuple[Whole, Whole]]:
    """Give how many seconds either has something of, and each side's by their numbers among these."""
    there = np.unique(np.concatenate([one, other]))
    return len(there), (np.searchsorted(there, one), np.searchsorted(there, other))


def _draws(blocks: int) -> Iterator[Whole]:
    """Give how often each second is drawn, draw by draw; always the same ones."""
    random = np.random.default_rng(1)
    for _ in range(BLOCK_DRAWS):
        yield np.bincount(random.integers(blocks, size=blocks), minlength=blocks)


def _sorted(values: Floats, block: Whole) -> tuple[Floats, Whole]:
    order = np.argsort(values, kind="stable")
    return values[order], block[order]


def _percentiles(side: tuple[Floats, Whole], times: Whole, shares: Sequence[float]) -> Floats:
    """Give exact percentiles (nearest rank) of values that each count as often as their second was drawn."""
    values, block = side
    upto = np.cumsum(times[block])
    if not upto[-1]:
        return np.full(len(shares), np.nan)
    ranks = [nearest_rank(int(upto[-1]), share) for share in shares]
    return values[np.searchsorted(upto, ranks)]
