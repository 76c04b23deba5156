"""Intervals of runs' figures and of their differences, each with its source; NumPy alone, nothing is read or written.

Neighbouring frames share a queue and a micro-batch, so their latencies are alike. What is
drawn with replacement is therefore whole blocks of the schedule and not single frames: the
block bootstrap (S. N. Lahiri, "Resampling Methods for Dependent Data", 2003, chapter 2, blocks
that do not overlap). Both runs keep the same schedule, so a draw takes the same blocks of both.

Many figures are judged at once, and of many that are equal one seems to differ by chance. So each
interval is widened until all of them together hold their differences with 95 % (Bonferroni's
inequality: C. E. Bonferroni, 1936), and for how few blocks there are (Student's t).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgewise.statistics import (
    DRAWS,
    SAMPLES_NEEDED,
    Z_TWO_SIDED,
    Floats,
    Interval,
    middle,
    nearest_rank,
    share_difference,
    student_t,
    wilson,
)

Whole = NDArray[np.int64]

BLOCKS_NEEDED: Final = 10
"""Of a run, at least: fewer say too little of how much they differ from one another."""
BLOCKS_MOST: Final = 30
"""A block is a second, or as many as leave no more blocks than these: a queue outlasts a second."""
MISSED: Final = 0.05
"""How often one of the intervals judged at once may miss its difference."""
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


def newcombe(one: tuple[int, int], other: tuple[int, int], *, at_once: int = 1) -> Interval | None:
    """Give the interval of the other's share minus the one's, each as how many of how many; they share no frame.

    R. G. Newcombe, Statistics in Medicine 17 (1998), method 10: from both shares' Wilson intervals.
    """
    of_one, of_other = wilson(*one), wilson(*other)
    if of_one is None or of_other is None:
        return None
    first, second = (right / of for right, of in (one, other))
    found = Interval(
        second - first - math.hypot(second - of_other.low, of_one.high - first),
        second - first + math.hypot(of_other.high - second, first - of_one.low),
    )
    return _widened(found, about=second - first, at_once=at_once)


def paired_difference(only_one: int, only_other: int, *, of: int, at_once: int = 1) -> Interval | None:
    """Give the interval of the other's share of right answers minus the one's, on the same images."""
    found = share_difference(only_one, only_other, of=of)
    return found and _widened(found, about=(only_other - only_one) / of, at_once=at_once)


def image_mean(amount: Whole, of: Whole) -> Interval | None:
    """Give the interval of a mean over answers to the same images again and again; None of no image.

    The bootstrap over images, whole: repeats and cameras show the same image again, and the same
    model gives it the same answer, so that only another image is something new (A. C. Davison,
    D. V. Hinkley, "Bootstrap Methods and their Application", 1997, section 3.8). Images that are
    alike in both numbers are drawn together, as a multinomial says.

    Args:
        amount: of each image, what all its answers come to together.
        of: of each image, how many answers there are.
    """
    there = of > 0
    if not there.any():
        return None
    kinds, images = np.unique(np.stack([amount[there], of[there]]), axis=1, return_counts=True)
    drawn = np.random.default_rng(1).multinomial(images.sum(), images / images.sum(), size=DRAWS)
    return middle((drawn @ kinds[0]) / (drawn @ kinds[1]))


def percentile_bounds(sample: Sample, shares: Sequence[float]) -> Mapping[float, Interval]:
    """Give the intervals of percentiles, where there are frames and seconds enough."""
    wanted = [share for share in shares if len(sample.values) >= SAMPLES_NEEDED[share]]
    if not wanted or not enough(sample.block):
        return {}
    blocks, (place,) = _numbered(sample.block)
    values = _sorted(sample.values, place)
    drawn = np.array([_percentiles(values, times, wanted) for times in _draws(blocks)])
    told = _percentiles(values, np.ones(blocks, dtype=np.int64), wanted)
    return dict(_each_widened(wanted, drawn, told, at_once=1, blocks=blocks))


def percentile_differences(
    one: Sample, other: Sample, shares: Sequence[float], *, at_once: int = 1
) -> Mapping[float, Interval]:
    """Give the intervals of the other's percentiles minus the one's, where there are frames and seconds enough.

    Args:
        one: that is subtracted.
        other: from which it is.
        shares: the percentiles, in percent.
        at_once: how many intervals are to hold together.
    """
    samples = min(len(one.values), len(other.values))
    wanted = [share for share in shares if samples >= SAMPLES_NEEDED[share]]
    if not wanted or not enough(one.block, other.block):
        return {}
    blocks, (first, second) = _numbered(one.block, other.block)
    sides = [_sorted(other.values, second), _sorted(one.values, first)]
    with np.errstate(invalid="ignore"):  # infinite minus infinite is not a number: no bound then
        drawn = np.array(
            [np.subtract(*(_percentiles(side, times, wanted) for side in sides)) for times in _draws(blocks)]
        )
        told = np.subtract(*(_percentiles(side, np.ones(blocks, dtype=np.int64), wanted) for side in sides))
    return dict(_each_widened(wanted, drawn, told, at_once=at_once, blocks=blocks))


def _each_widened(
    shares: Sequence[float], drawn: Floats, told: Floats, *, at_once: int, blocks: int
) -> Iterator[tuple[float, Interval]]:
    for place, share in enumerate(shares):
        if (within := middle(drawn[:, place])) is not None:
            yield share, _widened(within, about=float(told[place]), at_once=at_once, blocks=blocks)


def ratio_bounds(one: Ratio) -> Interval | None:
    """Give the interval of a ratio, or None with too few seconds."""
    if not enough(one.block):
        return None
    blocks, places = _numbered(one.block)
    ((drawn, about),) = _ratios([one], places, blocks)
    found = middle(drawn)
    return found and _widened(found, about=about, at_once=1, blocks=blocks)


def ratio_difference(one: Ratio, other: Ratio, *, at_once: int = 1) -> Interval | None:
    """Give the interval of the other's ratio minus the one's, or None with too few seconds."""
    if not enough(one.block, other.block):
        return None
    blocks, places = _numbered(one.block, other.block)
    (first, of_one), (second, of_other) = _ratios([one, other], places, blocks)
    with np.errstate(invalid="ignore"):
        found = middle(second - first)
    return found and _widened(found, about=of_other - of_one, at_once=at_once, blocks=blocks)


def _ratios(sides: Sequence[Ratio], places: Sequence[Whole], blocks: int) -> Iterator[tuple[Floats, float]]:
    """Give each ratio as often as blocks are drawn, the same ones for each, and as it was found."""
    for side, place in zip(sides, places, strict=True):
        amount, of = (np.bincount(place, weights=part, minlength=blocks) for part in (side.amount, side.of))
        with np.errstate(invalid="ignore", divide="ignore"):
            drawn = np.array([(times @ amount) / (times @ of) for times in _draws(blocks)])
            yield drawn, float(amount.sum() / of.sum())


def _widened(found: Interval, *, about: float, at_once: int, blocks: int | None = None) -> Interval:
    """Widen an interval of one difference so that so many of them hold together; blocks, if few of them were drawn."""
    z = NormalDist().inv_cdf(1 - MISSED / (2 * at_once))
    times = (z if blocks is None else student_t(blocks - 1, z=z)) / Z_TWO_SIDED
    return Interval(about - times * max(0.0, about - found.low), about + times * max(0.0, found.high - about))


def enough(*seconds: Whole) -> bool:
    """Say whether each side has seconds enough for an interval."""
    return min(len(np.unique(side)) for side in seconds) >= BLOCKS_NEEDED


def _numbered(*seconds: Whole) -> tuple[int, list[Whole]]:
    """Give how many blocks there are of the seconds that any side has something of, and the block of each second."""
    there = np.unique(np.concatenate(seconds))
    length_s = math.ceil(len(there) / BLOCKS_MOST)
    return math.ceil(len(there) / length_s), [np.searchsorted(there, side) // length_s for side in seconds]


def _draws(blocks: int) -> Iterator[Whole]:
    """Give how often each block is drawn, draw by draw; always the same ones."""
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
