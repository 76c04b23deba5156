"""Two runs' per-frame tables: whether they are of the same frames, and the intervals that these allow."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from compare.reports import intervals
from compare.reports.intervals import Ratio, Sample, Whole
from consumers.ledger.columns import Rows, mask, rows
from edgewise.clock import SECOND_NS
from edgewise.messages import Tier
from edgewise.statistics import Interval
from edgewise.summary import Summary

PERCENTILES: Final[Mapping[float, str]] = {50: "latency p50", 90: "latency p90", 99: "latency p99"}
FIGURES: Final = len(PERCENTILES) + 4
"""That a tier may have an interval of: accuracy, right and on time, throughput and uplink are the others."""


@dataclass(frozen=True, slots=True)
class Same:
    """Whether two runs are of the same frames. None is not known."""

    schedule: bool | None = None
    """Each frame of each camera was due at the same moment after the first."""
    images: bool | None = None
    """Each frame of each camera has the same image."""


@dataclass(frozen=True, slots=True)
class Side:
    """One tier of a run."""

    rows: Rows
    warm_up_s: float
    deadline_ms: float | None

    @property
    def start_ns(self) -> int:
        """Say when the first frame was due."""
        return self.rows.start_ns

    @property
    def second(self) -> Whole:
        """Say which second of the schedule each frame is due in."""
        return (self.rows.due_ns - self.start_ns) // SECOND_NS

    @property
    def after_warm_up(self) -> NDArray[np.bool_]:
        """Say which frames latencies may be taken from."""
        return self.rows.due_ns >= self.start_ns + round(self.warm_up_s * SECOND_NS)


def same(one: pa.Table | None, other: pa.Table | None) -> Same:
    """Say whether two runs are of the same frames, in each tier that both have."""
    if one is None or other is None:
        return Same()
    first, second = (pc.unique(table["tier"]).to_pylist() for table in (one, other))
    found = [_same(_frames(one, tier), _frames(other, tier)) for tier in first if tier in second]
    found = found or [_same(_frames(one, *first[:1]), _frames(other, *second[:1]))]
    return Same(all(tier.schedule for tier in found), all(tier.images for tier in found))


def _same(first: pa.Table, second: pa.Table) -> Same:
    named = all(first[name].equals(second[name]) for name in ("camera", "number"))
    schedule = named and bool(np.array_equal(_offsets_ns(first), _offsets_ns(second)))
    return Same(schedule, named and first["image"].equals(second["image"]))


def _frames(table: pa.Table, tier: str = "") -> pa.Table:
    """Give a tier's frames, by camera and number; every one there is if no tier is named."""
    mine = table.filter(pc.equal(table["tier"], tier)) if tier else table
    plain = mine.select(["number", "due_ns", "image"]).append_column("camera", mine["camera"].cast(pa.string()))
    return plain.sort_by([("camera", "ascending"), ("number", "ascending")]).combine_chunks()


def _offsets_ns(frames: pa.Table) -> Whole:
    due_ns = np.asarray(frames["due_ns"], dtype=np.int64)
    return due_ns - (due_ns.min() if len(due_ns) else 0)


def differences(
    summaries: Sequence[Summary], tables: Sequence[pa.Table | None], tier: str, *, found: Same, tiers: int = 1
) -> Mapping[str, Interval]:
    """Give the interval of each figure's difference, other minus one, as far as the tables allow one.

    Args:
        summaries: of both runs.
        tables: of both, as far as they are there.
        tier: that both have.
        found: whether the runs are of the same frames.
        tiers: how many are judged at once: the intervals of all of them hold together.
    """
    one, other = tables
    at_once = tiers * FIGURES
    given: dict[str, Interval | None] = {}
    if one is None or other is None:
        given["accuracy"] = _of_shares(summaries, tier, at_once=at_once)
        return {name: within for name, within in given.items() if within is not None}
    sides = [_side(summary, table, tier) for summary, table in zip(summaries, (one, other), strict=True)]
    paired = found.images
    given["accuracy"] = (
        _of_same_images(*sides, at_once=at_once) if paired else _of_shares(summaries, tier, at_once=at_once)
    )
    if found.schedule:
        given |= dict(_by_block(*sides, at_once=at_once))
    return {name: within for name, within in given.items() if within is not None}


def _side(summary: Summary, table: pa.Table, tier: str) -> Side:
    warm_up_s = 0.0 if summary.warm_up is None else summary.warm_up.lasted_s
    return Side(rows(table, Tier(tier)), warm_up_s, summary.deadline_ms)


def _by_block(one: Side, other: Side, *, at_once: int) -> Iterator[tuple[str, Interval | None]]:
    """Give the intervals of what neighbouring frames share, by drawing blocks of seconds."""
    found = intervals.percentile_differences(_latency(one), _latency(other), list(PERCENTILES), at_once=at_once)
    yield from ((name, found.get(share)) for share, name in PERCENTILES.items())
    if one.deadline_ms is not None and one.deadline_ms == other.deadline_ms:
        on_time = intervals.ratio_difference(_on_time(one), _on_time(other), at_once=at_once)
        yield "right and on time", _scaled(on_time, times=100)
    yield "throughput", intervals.ratio_difference(_throughput(one), _throughput(other), at_once=at_once)
    yield "uplink for 1,000 right", intervals.ratio_difference(_uplink(one), _uplink(other), at_once=at_once)


def _latency(side: Side) -> Sample:
    which = side.rows.owed & side.after_warm_up
    return Sample(side.rows.latency_ms[which], side.second[which])


def _on_time(side: Side) -> Ratio:
    which = side.after_warm_up
    right = side.rows.correct & (side.rows.latency_ms <= (side.deadline_ms or 0))
    return Ratio(right[which].astype(np.float64), np.ones(int(which.sum())), side.second[which])


def _throughput(side: Side) -> Ratio:
    """Count the results seen in each second; the last one lasts as long as results came."""
    after_ns = side.rows.seen_ns[side.rows.answered] - side.start_ns
    last_ns = int(after_ns.max()) if len(after_ns) else 0
    seconds = np.arange(last_ns // SECOND_NS + 1)
    seen = np.bincount(np.maximum(after_ns // SECOND_NS, 0), minlength=len(seconds))
    lasted_s = np.minimum(1.0, last_ns / SECOND_NS - seconds)
    return Ratio(seen.astype(np.float64), lasted_s, seconds)


def _uplink(side: Side) -> Ratio:
    """Give what travelled up, in MB, and thousands of right answers."""
    # As in the summary: results from the gateway, frames to the cluster whether answered or not.
    gateway = side.rows.tier is Tier.GATEWAY
    size_bytes = np.asarray(side.rows.table["result_bytes" if gateway else "size_bytes"].fill_null(0), np.float64)
    sent = np.where(side.rows.answered, size_bytes, 0) if gateway else size_bytes
    return Ratio(sent / 1e6, side.rows.correct / 1000, side.second)


def _of_same_images(one: Side, other: Side, *, at_once: int) -> Interval | None:
    """Compare the answers to the same images: McNemar's table, by paired bootstrap."""
    (first, knows), (second, other_knows) = (_right(side) for side in (one, other))
    judged = knows & other_knows
    only_one, only_other = (int((judged & right & ~wrong).sum()) for right, wrong in ((first, second), (second, first)))
    found = intervals.paired_difference(only_one, only_other, of=int(judged.sum()), at_once=at_once)
    return _scaled(found, times=100)


def _right(side: Side) -> tuple[Any, Any]:
    """Say of each frame, by camera and number, whether its answer was right, and whether that is known."""
    table = side.rows.table
    camera = np.asarray(table["camera"].cast(pa.string()).to_pylist(), dtype=np.str_)
    order = np.lexsort((np.asarray(table["number"]), camera))
    known = side.rows.answered & mask(pc.is_valid(table["correct"]))
    return side.rows.correct[order], known[order]


def _of_shares(summaries: Sequence[Summary], tier: str, *, at_once: int) -> Interval | None:
    """Compare the accuracies on images of which nothing is known but that they are of the same kind."""
    counts = []
    for summary in summaries:
        found = summary.tiers[tier]
        if not found.accuracy:
            return None  # of how many is not known
        counts.append((found.correct, round(found.correct / found.accuracy)))
    return _scaled(intervals.newcombe(*counts, at_once=at_once), times=100)


def _scaled(found: Interval | None, *, times: float) -> Interval | None:
    return found and Interval(found.low * times, found.high * times)
