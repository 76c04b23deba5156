"""Both tiers on the same frames over the repeats, also where they ran one after the other.

Every run of a scenario sends the same schedule, frame for frame, so that what one tier made of a
frame stands beside what the other made of it. For the same reason ten repeats know no more of
accuracy than one: its interval is drawn over images, and those of times over blocks of seconds.
Shares and latencies are of the frames due after the longest warm-up: the same ones in each run.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from compare.reports import intervals
from compare.reports.headlines import ACCURACY, ON_TIME, P50, P99
from compare.reports.intervals import Ratio, Sample, Whole
from compare.reports.spread import Spread, spread
from compare.runs.ran import Ran
from consumers.ledger.columns import mask, moments, rows
from edgewise.clock import SECOND_NS
from edgewise.messages import Tier
from edgewise.statistics import Bounds, Floats, Interval, Mask, mcnemar_p, percentile
from edgewise.summary import Strict

CHANCE: Final = 0.05
"""How likely tiers that are equally often right may differ so much, and yet be said to differ."""


class Contrast(Strict):
    """One figure of both tiers on the same frames."""

    name: str
    unit: str
    spread: Spread


class Paired(Strict):
    """The tiers on the same frames. A frame that one of them did not answer counts in none but *on time*."""

    frames: list[int]
    """Answered by both tiers, in each repeat."""
    figures: list[Contrast]
    """Differences are the cluster's minus the gateway's: above 0 the cluster has more of it."""
    images: int
    """That both answered."""
    only_gateway_right: int
    """Images that the gateway got right oftener than the cluster."""
    only_cluster_right: int
    mcnemar_p: float
    """How likely tiers that are equally often right differ in so many images (McNemar's exact test)."""


@dataclass(frozen=True, slots=True)
class Found:
    """What the frames of all runs say."""

    from_s: float
    """Shares and latencies are of the frames due from then on, after the first: the longest warm-up has ended."""
    values: Mapping[str, Mapping[str, list[float]]]
    """By figure and tier, run by run."""
    on_time: Mapping[str, Interval]
    """By tier: where its share that is right and on time lies, in percent."""
    apart: frozenset[str]
    """Figures that differ between the tiers, by their frames."""
    same: bool
    """Whether the frames that were to be the same are."""
    paired: Paired | None
    """None where the tiers have not the same frames, or just one ran."""


@dataclass(frozen=True, slots=True)
class Frames:
    """One tier's frames in one run, by camera and number."""

    cameras: Sequence[str]
    camera: Whole
    number: Whole
    offset_ns: Whole
    """When it was due, after the run's first frame."""
    image: Whole
    label: Whole
    answered: Mask
    owed: Mask
    known: Mask
    """Answered, and its true class is known."""
    right: Mask
    latency_ms: Floats
    """Infinite where there is no answer."""

    def same_as(self, other: "Frames") -> bool:
        """Say whether both are of the same frames, due at the same moments, with the same images."""
        columns = ("camera", "number", "offset_ns", "image")
        equal = (np.array_equal(getattr(self, name), getattr(other, name)) for name in columns)
        return self.cameras == other.cameras and all(equal)

    def after(self, from_s: float) -> Mask:
        """Say which frames are due from a moment on."""
        found: Mask = self.offset_ns >= round(from_s * SECOND_NS)
        return found

    def on_time(self, from_s: float, deadline_ms: float) -> Ratio:
        """Count what was answered rightly by then, and what was due, with the second of each frame."""
        which = self.after(from_s)
        found = (self.right & (self.latency_ms <= deadline_ms))[which].astype(np.float64)
        return Ratio(found, np.ones(len(found)), (self.offset_ns // SECOND_NS)[which])


def taken(table: pa.Table, tier: Tier) -> Frames:
    """Take one tier's frames out of a run's table."""
    mine = rows(table, tier)
    codes, names = mine.codes("camera")
    cameras = sorted({names[code] for code in np.unique(codes)})
    places = {name: place for place, name in enumerate(cameras)}
    ranks = np.array([places.get(name, -1) for name in names], dtype=np.int64)
    camera, number = ranks[codes], np.asarray(mine.table["number"], dtype=np.int64)
    order = np.lexsort((number, camera))
    first_ns = int(np.min(moments(table["due_ns"]))) if table.num_rows else 0

    def column(name: str) -> Whole:
        return np.asarray(mine.table[name].fill_null(-1), dtype=np.int64)[order]

    return Frames(
        cameras=cameras,
        camera=camera[order],
        number=number[order],
        offset_ns=mine.due_ns[order] - first_ns,
        image=column("image"),
        label=column("label"),
        answered=mine.answered[order],
        owed=mine.owed[order],
        known=(mine.answered & mask(pc.is_valid(mine.table["correct"])))[order],
        right=mine.correct[order],
        latency_ms=mine.latency_ms[order],
    )


def warm_up_s(runs: Sequence[Ran]) -> float:
    """Say when the longest warm-up of some runs had ended, after their first frame."""
    return max((one.summary.warm_up.lasted_s for one in runs if one.summary and one.summary.warm_up), default=0.0)


def join(parts: Sequence[Ratio]) -> Ratio:
    """Put runs of the same schedule together: the same second of each counts as one."""
    return Ratio(*(np.concatenate([getattr(one, name) for one in parts]) for name in ("amount", "of", "block")))


def find(runs: Sequence[Ran], *, deadline_ms: float, split: bool) -> Found | None:
    """Look into the frames of a scenario's runs; None where one of them has none.

    Args:
        runs: all of them, in their order.
        deadline_ms: by when an answer is on time.
        split: whether each frame went to one tier alone.
    """
    from_s = warm_up_s(runs)
    by_tier = {tier: [one for one in runs if tier.value in one.tiers] for tier in Tier}
    tiers = {tier: _Tier(from_s, deadline_ms) for tier, mine in by_tier.items() if mine}
    pairs = None if split or len(tiers) < len(Tier) else _Pairs(from_s, deadline_ms)
    for repeat in range(max(map(len, by_tier.values()), default=0)):
        sides = {}
        for tier, found in tiers.items():
            table = by_tier[tier][repeat].frames() if repeat < len(by_tier[tier]) else None
            if table is None:
                return None
            sides[tier] = taken(table, tier)
            found.add(sides[tier])
        if pairs is not None:
            pairs.add(sides[Tier.GATEWAY], sides[Tier.CLUSTER])
    return Found(
        from_s=from_s,
        values=_by_figure({tier: one.values for tier, one in tiers.items()}),
        on_time={tier.value: sure for tier, one in tiers.items() if (sure := one.sure()) is not None},
        apart=frozenset(_apart(tiers, pairs)) if len(tiers) == len(Tier) else frozenset(),
        same=pairs is None or pairs.same,
        paired=None if pairs is None else pairs.told(),
    )


def _by_figure(values: Mapping[Tier, Mapping[str, list[float]]]) -> Mapping[str, Mapping[str, list[float]]]:
    names = (P50, P99, ON_TIME)
    return {name: {tier.value: found[name] for tier, found in values.items() if found.get(name)} for name in names}


def _apart(tiers: Mapping[Tier, "_Tier"], pairs: "_Pairs | None") -> Iterator[str]:
    """Name the figures in which the tiers' frames differ."""
    gateway, cluster = tiers[Tier.GATEWAY], tiers[Tier.CLUSTER]
    if _without_zero(intervals.ratio_difference(join(gateway.on_time), join(cluster.on_time))):
        yield ON_TIME
    if pairs is None:  # other frames, each of them the same in all repeats
        accuracy = intervals.newcombe(gateway.first_right, cluster.first_right)
        if _without_zero(accuracy):
            yield ACCURACY
    elif _without_zero(pairs.accuracy()) and pairs.chance() < CHANCE:
        yield ACCURACY


def _without_zero(found: Bounds | None) -> bool:
    return found is not None and not found.low <= 0 <= found.high


@dataclass
class _Tier:
    """One tier, run by run."""

    from_s: float
    deadline_ms: float
    values: dict[str, list[float]] = field(default_factory=dict)
    on_time: list[Ratio] = field(default_factory=list)
    first_right: tuple[int, int] = (0, 0)
    """Of the first run: right answers, and answers that can be judged."""

    def add(self, frames: Frames) -> None:
        late_ms = frames.latency_ms[frames.owed & frames.after(self.from_s)]
        ratio = frames.on_time(self.from_s, self.deadline_ms)
        judged = frames.known.any() or not frames.answered.any()
        share = float(ratio.amount.mean()) * 100 if judged and len(ratio.amount) else None
        if not self.on_time:
            self.first_right = int(frames.right.sum()), int(frames.known.sum())
        self.on_time.append(ratio)
        for name, value in ((P50, percentile(late_ms, 50)), (P99, percentile(late_ms, 99)), (ON_TIME, share)):
            if value is not None:
                self.values.setdefault(name, []).append(round(value, 4))

    def sure(self) -> Interval | None:
        """Say where the share that is right and on time lies, in percent."""
        return _percent(intervals.ratio_bounds(join(self.on_time)))


@dataclass
class _Pairs:
    """Both tiers' answers to the same frames, repeat by repeat."""

    from_s: float
    deadline_ms: float
    frames: list[int] = field(default_factory=list)
    values: dict[str, list[float]] = field(default_factory=dict)
    first: Frames | None = None
    same: bool = True
    later: list[Sample] = field(default_factory=list)
    on_time: list[tuple[Ratio, Ratio]] = field(default_factory=list)
    images: dict[str, Whole] = field(default_factory=dict)
    """By what is counted: of each image."""

    def add(self, gateway: Frames, cluster: Frames) -> None:
        self.first = self.first or gateway
        if not (self.first.same_as(gateway) and gateway.same_as(cluster)):
            self.same = False
            return
        both, known = gateway.answered & cluster.answered, gateway.known & cluster.known
        timed = both & gateway.after(self.from_s)
        later_ms = cluster.latency_ms[timed] - gateway.latency_ms[timed]
        self.later.append(Sample(later_ms, (gateway.offset_ns // SECOND_NS)[timed]))
        oftener = cluster.right[known].astype(np.int64) - gateway.right[known].astype(np.int64)
        same = gateway.label == cluster.label
        self._count("both", gateway.image, both)
        self._count("same", gateway.image, both & same)
        self._count("judged", gateway.image, known)
        self._count("gateway", gateway.image, known & gateway.right)
        self._count("cluster", gateway.image, known & cluster.right)
        ratios = [one.on_time(self.from_s, self.deadline_ms) for one in (gateway, cluster)]
        self.on_time.append((ratios[0], ratios[1]))
        self.frames.append(int(both.sum()))
        self._note("agreement", same[both].mean() * 100 if both.any() else None)
        self._note("latency difference p50", percentile(later_ms, 50))
        self._note("latency difference p90", percentile(later_ms, 90))
        self._note("accuracy difference", oftener.mean() * 100 if len(oftener) else None)
        shares = [one.amount.mean() for one in ratios if len(one.amount)]
        self._note("right and on time difference", (shares[1] - shares[0]) * 100 if shares else None)

    def _count(self, what: str, image: Whole, which: Mask) -> None:
        counted = np.bincount(image[which], minlength=int(image.max(initial=0)) + 1)
        self.images[what] = self.images.get(what, np.zeros_like(counted)) + counted

    def _note(self, name: str, value: float | None) -> None:
        if value is not None:
            self.values.setdefault(name, []).append(round(float(value), 4))

    @property
    def oftener(self) -> Whole:
        """Say of each image how much oftener the cluster's answers were right."""
        return self.images["cluster"] - self.images["gateway"]

    def accuracy(self) -> Interval | None:
        """Say where the accuracies' difference lies, in percentage points; None without the same frames."""
        if not self.same or not self.frames:
            return None
        return _percent(intervals.image_mean(self.oftener, self.images["judged"]))

    def chance(self) -> float:
        """Say how likely tiers that are equally often right differ in so many images."""
        return mcnemar_p(int((self.oftener < 0).sum()), int((self.oftener > 0).sum()))

    def told(self) -> Paired | None:
        """Say what it comes to; None where it was not the same frames."""
        if not self.same or not self.frames:
            return None
        late = Sample(*(np.concatenate([getattr(one, name) for one in self.later]) for name in ("values", "block")))
        later_ms = intervals.percentile_bounds(late, [50, 90])
        on_time = intervals.ratio_difference(*(join(side) for side in zip(*self.on_time, strict=True)))
        sure: dict[str, tuple[str, Interval | None]] = {
            "agreement": ("%", _percent(intervals.image_mean(self.images["same"], self.images["both"]))),
            "latency difference p50": ("ms", later_ms.get(50)),
            "latency difference p90": ("ms", later_ms.get(90)),
            "accuracy difference": ("points", self.accuracy()),
            "right and on time difference": ("points", _percent(on_time)),
        }
        return Paired(
            frames=self.frames,
            figures=[
                Contrast(name=name, unit=unit, spread=spread(self.values[name], within))
                for name, (unit, within) in sure.items()
                if name in self.values
            ],
            images=int((self.images["judged"] > 0).sum()),
            only_gateway_right=int((self.oftener < 0).sum()),
            only_cluster_right=int((self.oftener > 0).sum()),
            mcnemar_p=self.chance(),
        )


def _percent(found: Interval | None) -> Interval | None:
    return None if found is None else Interval(found.low * 100, found.high * 100)
