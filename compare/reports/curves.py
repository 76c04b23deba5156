"""The per-frame table, grouped for pictures: exact points of a distribution, exact percentiles by second.

Nothing is sampled at random, so the same table gives the same picture. A missing frame
is infinitely late; a frame dropped at its source is owed by no tier, and only offered.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from consumers.ledger.columns import each_once
from consumers.ledger.table import NOT_SENT, Fate
from edgewise.clock import MILLISECOND_NS, SECOND_NS
from edgewise.errors import ConfigError
from edgewise.statistics import SAMPLES_NEEDED, Floats

COLUMNS: Final = ("tier", "fate", "truth", "label", "right_image", "latency_ns", "due_ns", "seen_ns")
"""All that is read of the table."""
POINTS: Final = 400
"""Of a distribution, at most: half of them evenly, half ever closer towards the slowest frame."""
PERIODS: Final = 600
"""Of a time series, at most: by second for ten minutes."""

Whole = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Rows:
    """What one tier owed and gave."""

    due_ns: Whole
    """Of each frame that it owes a result."""
    latency_ms: Floats
    """Of the same frames; infinite where the result is missing."""
    seen_ns: Whole
    """Of each result."""
    truth: Whole
    """The true class of each frame answered, where it is known and the answer is to the frame's image."""
    label: Whole
    """The class given to the same frames."""


@dataclass(frozen=True, slots=True)
class Frames:
    """A run's table, by tier."""

    offered_ns: Whole
    """When each frame was due, dropped ones too."""
    tiers: Mapping[str, Rows]

    def measured_ms(self, tier: str, *, warm_up_s: float) -> Floats:
        """Give the latencies of the frames that were due after the warm-up."""
        rows = self.tiers[tier]
        from_ns = (int(self.offered_ns.min()) if len(self.offered_ns) else 0) + round(warm_up_s * SECOND_NS)
        return rows.latency_ms[rows.due_ns >= from_ns]


@dataclass(frozen=True, slots=True)
class Distribution:
    """Exact points of a cumulative distribution: so large a share of the frames was at most so late."""

    ms: Floats
    share: Floats
    """Ends below 1 if frames are missing."""
    missing: int
    frames: int


@dataclass(frozen=True, slots=True)
class TierSeries:
    """One tier, period by period."""

    results_hz: Floats
    outstanding: Whole
    """Frames due and not answered at the period's end; a missing frame stays among them."""
    p50_ms: Floats
    """Of the frames due in the period. Not a number: too few of them. Infinite: too many are missing."""
    high_ms: Floats
    """The percentile ``Series.high`` of the same."""


@dataclass(frozen=True, slots=True)
class Series:
    """A run, period by period."""

    start_s: Floats
    """Of each period, from the first frame due."""
    period_s: int
    offered_hz: Floats
    high: float | None
    """The highest percentile that the frames of an ordinary period carry; None if they carry none."""
    tiers: Mapping[str, TierSeries]


def read(path: Path, *, tiers: Sequence[str], split: bool = False) -> Frames | None:
    """Read a run's table; None if there is none. In a ``split`` one each frame is in one tier's rows alone.

    Raises:
        ConfigError: it is there, and is no such table.
    """
    try:
        return grouped(pq.read_table(path, columns=list(COLUMNS)), tiers=tiers, split=split)
    except FileNotFoundError:
        return None
    except (pa.ArrowException, OSError, KeyError) as error:
        raise ConfigError(f"{path} cannot be read as a run's table; was it written by another version?") from error


def grouped(table: pa.Table, *, tiers: Sequence[str], split: bool = False) -> Frames:
    """Take a table apart by tier."""
    parts = {tier: table.filter(pc.equal(table["tier"], tier)) for tier in tiers}
    once = each_once(list(parts.values()), split=split)
    offered = np.concatenate([_whole(part["due_ns"]) for part in once]) if once else np.empty(0, np.int64)
    return Frames(offered, {tier: _rows(part) for tier, part in parts.items()})


def _rows(part: pa.Table) -> Rows:
    owed = part.filter(pc.invert(pc.is_in(part["fate"].cast(pa.string()), pa.array(sorted(NOT_SENT), pa.string()))))
    answered = pc.equal(owed["fate"], Fate.ANSWERED.value)
    late_ns = pc.if_else(answered, owed["latency_ns"].cast(pa.float64()), math.inf)
    known = pc.and_(pc.is_valid(owed["truth"]), pc.fill_null(owed["right_image"], fill_value=False))
    judged = owed.filter(pc.and_(answered, known))
    return Rows(
        due_ns=_whole(owed["due_ns"]),
        latency_ms=np.asarray(late_ns.to_numpy(), np.float64) / MILLISECOND_NS,
        seen_ns=_whole(owed.filter(answered)["seen_ns"]),
        truth=_whole(judged["truth"]),
        label=_whole(judged["label"]),
    )


def _whole(column: Any) -> Whole:  # noqa: ANN401 - pyarrow ships no types
    return np.asarray(column.to_numpy(), np.int64)


def distribution(latency_ms: Floats, *, points: int = POINTS) -> Distribution:
    """Give at most so many points, each of them exact, the slowest frame's always among them."""
    frames = len(latency_ms)
    found = np.sort(latency_ms[np.isfinite(latency_ms)])
    answered = len(found)
    ranks = np.empty(0, np.int64)
    if answered:
        evenly = np.linspace(1, answered, points // 2)
        towards_the_end = answered + 1 - np.geomspace(1, answered, points // 2)
        ranks = np.unique(np.rint(np.concatenate([evenly, towards_the_end])).astype(np.int64))
    return Distribution(found[ranks - 1], ranks / max(frames, 1), frames - answered, frames)


def series(frames: Frames, *, at_most: int = PERIODS) -> Series | None:
    """Group a run by second, or by the shortest whole number of them that makes few enough periods."""
    if not len(frames.offered_ns):
        return None
    start_ns = int(frames.offered_ns.min())
    ends_ns = [int(moments.max()) for moments in _moments(frames) if len(moments)]
    period_s = max(1, math.ceil((max(ends_ns) - start_ns + 1) / SECOND_NS / at_most))
    count = (max(ends_ns) - start_ns) // (period_s * SECOND_NS) + 1

    def period(moments_ns: Whole) -> Whole:
        # Clocks of two machines may differ: what was seen before the start belongs to the first period.
        return np.maximum((moments_ns - start_ns) // (period_s * SECOND_NS), 0)

    def counted(moments_ns: Whole) -> Whole:
        return np.bincount(period(moments_ns), minlength=count)

    offered = counted(frames.offered_ns)
    high = next((share for share in (99, 90) if np.median(offered[offered > 0]) >= SAMPLES_NEEDED[share]), None)
    tiers = {}
    for name, rows in frames.tiers.items():
        results, due = counted(rows.seen_ns), period(rows.due_ns)
        by_period = np.lexsort((rows.latency_ms, due))
        sorted_ms, sizes = rows.latency_ms[by_period], np.bincount(due, minlength=count)
        tiers[name] = TierSeries(
            results / period_s,
            np.cumsum(sizes) - np.cumsum(results),
            _percentiles(sorted_ms, sizes, 50),
            np.full(count, np.nan) if high is None else _percentiles(sorted_ms, sizes, high),
        )
    return Series(np.arange(count, dtype=np.float64) * period_s, period_s, offered / period_s, high, tiers)


def _moments(frames: Frames) -> Iterator[Whole]:
    yield frames.offered_ns
    for rows in frames.tiers.values():
        yield rows.seen_ns


def _percentiles(sorted_ms: Floats, sizes: Whole, share: float) -> Floats:
    """Give the exact percentile (nearest rank) of each group; not a number where it has too few samples."""
    enough = sizes >= SAMPLES_NEEDED[share]
    firsts = np.cumsum(sizes) - sizes
    ranks = np.ceil(np.round(sizes * share / 100, 6)).astype(np.int64)
    found = np.full(len(sizes), np.nan)
    found[enough] = sorted_ms[(firsts + ranks - 1)[enough]]
    return found


def confusion(rows: Rows, *, classes: int) -> Whole:
    """Count the frames of each true class (row) by the label given to them (column)."""
    size = max(classes, *(int(values.max()) + 1 for values in (rows.truth, rows.label) if len(values)), 1)
    return np.bincount(rows.truth * size + rows.label, minlength=size * size).reshape(size, size)
