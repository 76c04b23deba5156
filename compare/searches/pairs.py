"""Both tiers at one load, one after the other on the same frames: who has more answers that are right and on time.

A single pair of runs is enough to search by. What an answer stands on is asked again, in turning
order, and a pair of which the machine was unsteady counts less.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from pydantic import Field, model_validator

from compare.reports import intervals, one_model, tiers_paired
from compare.reports.intervals import BLOCKS_NEEDED, Ratio
from compare.reports.tiers_paired import Frames
from compare.runs.ran import Ran
from compare.scenario import Scenario
from compare.searches.steps import DisturbedError, Run, invalid, told
from edgewise.errors import InvalidRunError
from edgewise.messages import Tier
from edgewise.parts import say
from edgewise.statistics import percentile
from edgewise.summary import Interval, Strict

AT_ONCE: Final = 16
"""Probes of a search, about: the intervals of all of them hold together."""
MORE: Final = 2
"""Pairs of runs that an unsteady machine may cost beyond those that are asked for."""


class OnTime(Strict):
    """What one tier came to with so many cameras."""

    folders: list[str]
    """Of its runs."""
    share: float
    """Of the frames, that were answered rightly within the deadline."""
    values: list[float] = Field(default=[])
    """The same of each run."""
    frames: int | None = None
    """Of all runs: due after the warm-up of both tiers."""
    interval: Interval
    """By blocks of seconds: neighbouring frames share a queue."""
    p50_ms: float | None
    p99_ms: float | None
    """Of these frames, the median over the runs."""

    @model_validator(mode="before")
    @classmethod
    def _older(cls, given: Any) -> Any:  # noqa: ANN401 - as it stands in a file
        """Read what an older version wrote of its single run."""
        if isinstance(given, dict) and "folder" in given:
            return {"folders": [given["folder"]]} | {name: value for name, value in given.items() if name != "folder"}
        return given


class Probe(Strict):
    """Both tiers with so many cameras, one after the other."""

    cameras: int
    offered_hz: float
    tiers: dict[str, OnTime]
    difference: Interval | None = None
    """Of the cluster's share minus the gateway's, on the same frames."""
    better: Tier | None
    """None where the difference may be none, or runs contradict one another."""

    @property
    def best_share(self) -> float:
        """Give the better share of the two."""
        return max(one.share for one in self.tiers.values())


@dataclass(frozen=True, slots=True)
class Side:
    """One tier's run of a pair."""

    folder: str
    on_time: Ratio
    p50_ms: float | None
    p99_ms: float | None

    @property
    def share(self) -> float:
        """Give the share that is right and on time."""
        return float(self.on_time.amount.mean())


@dataclass(frozen=True, slots=True)
class Pair:
    """One run of each tier."""

    sides: Mapping[Tier, Side]
    unsteady: bool


class Pairs:
    """All pairs of a search, by the number of cameras."""

    def __init__(self, scenario: Scenario, run: Run) -> None:
        self._scenario, self._run = scenario, run
        self.folders: list[str] = []
        """Of all runs, in their order, those too that tell nothing or do not count."""
        self._found: dict[int, list[Pair]] = {}
        self._count = 0

    def probe(self, cameras: int, *, repeats: int) -> Probe:
        """Run both tiers until there are pairs enough; which goes first turns from pair to pair.

        Raises:
            DisturbedError: a run says nothing about its tier, or the tiers ran different models.
            InvalidRunError: the runs have no frames in common to judge by, or too few.
        """
        scenario = self._scenario.at({"fleet.cameras": cameras})
        pairs = self._found.setdefault(cameras, [])
        while not (enough := counted(pairs, scenario, repeats=repeats)):
            pairs.append(self._pair(scenario))
        found = judged(enough, scenario)
        say(_answer(found, pairs=len(enough)))
        return found

    def _pair(self, scenario: Scenario) -> Pair:
        tiers = [tier for (tier,) in scenario.placement.rounds]
        self._count += 1
        ran: dict[Tier, Ran] = {}
        for tier in tiers if self._count % 2 else tiers[::-1]:
            ran[tier], _ = told(self._noted, scenario, tier, earlier=[])
        if different := list(one_model.different(scenario, list(ran.values()))):
            raise DisturbedError(invalid(ran[tiers[-1]], scenario, tiers[-1], different, earlier=[]))
        return pair(ran, deadline_ms=scenario.deadline_ms)

    def _noted(self, scenario: Scenario, tier: Tier) -> Ran:
        ran = self._run(scenario, tier)
        self.folders.append(ran.folder)
        return ran


def pair(ran: Mapping[Tier, Ran], *, deadline_ms: float) -> Pair:
    """Set two runs beside one another, on the frames that are after the warm-up in both.

    Raises:
        InvalidRunError: they have no such frames.
    """
    from_s = tiers_paired.warm_up_s(list(ran.values()))
    frames: dict[Tier, Frames] = {}
    for tier, one in ran.items():
        table = one.frames()
        if table is None:
            raise InvalidRunError(f"{one.folder} has no per-frame table: its frames cannot be compared")
        frames[tier] = tiers_paired.taken(table, tier)
    if not frames[Tier.GATEWAY].same_as(frames[Tier.CLUSTER]):
        folders = " and ".join(one.folder for one in ran.values())
        raise InvalidRunError(f"{folders} are not of the same frames; did fleet.images or the kit change meanwhile?")
    sides = {}
    for tier, mine in frames.items():
        late_ms = mine.latency_ms[mine.owed & mine.after(from_s)]
        on_time = mine.on_time(from_s, deadline_ms)
        if not intervals.enough(on_time.block):
            raise InvalidRunError(
                f"{ran[tier].folder} has frames in fewer than {BLOCKS_NEEDED} seconds after the warm-up: "
                "too few for an interval; let the runs last longer, fleet.duration_s"
            )
        sides[tier] = Side(ran[tier].folder, on_time, percentile(late_ms, 50), percentile(late_ms, 99))
    return Pair(sides, unsteady=any(one.unsteady for one in ran.values()))


def counted(pairs: Sequence[Pair], scenario: Scenario, *, repeats: int) -> Sequence[Pair]:
    """Give the pairs that count once there are enough of them; none until then.

    Those of a steady machine do. Of an unsteady one it takes one more that says the same; where they
    go on to contradict one another, all of them count, and then hardly show a difference.
    """
    steady = [one for one in pairs if not one.unsteady]
    if len(steady) >= repeats:
        return steady
    answers = Counter(judged([one], scenario).better for one in pairs)
    agree = max(answers.values(), default=0)
    return pairs if agree > repeats or len(pairs) >= repeats + MORE else ()


def judged(pairs: Sequence[Pair], scenario: Scenario) -> Probe:
    """Say which tier is the better one by all these pairs: on their frames together, and in each of them."""
    joined = {tier: tiers_paired.join([one.sides[tier].on_time for one in pairs]) for tier in Tier}
    within = intervals.ratio_difference(joined[Tier.GATEWAY], joined[Tier.CLUSTER], at_once=AT_ONCE)
    tiers = {tier: _on_time([one.sides[tier] for one in pairs], joined[tier]) for tier in Tier}
    gateway, cluster = (tiers[tier].values for tier in Tier)
    better = None
    if within is not None and within.low > 0 and min(cluster) > max(gateway):
        better = Tier.CLUSTER
    elif within is not None and within.high < 0 and min(gateway) > max(cluster):
        better = Tier.GATEWAY
    return Probe(
        cameras=scenario.fleet.cameras,
        offered_hz=scenario.fleet.offered_hz,
        tiers={tier.value: found for tier, found in tiers.items()},
        difference=within and Interval(low=within.low, high=within.high),
        better=better,
    )


def _on_time(sides: Sequence[Side], joined: Ratio) -> OnTime:
    share = float(joined.amount.mean())
    sure = intervals.ratio_bounds(joined)
    low, high = (share, share) if sure is None else sure
    return OnTime(
        folders=[one.folder for one in sides],
        share=share,
        values=[one.share for one in sides],
        frames=len(joined.amount),
        interval=Interval(low=max(0.0, low), high=min(1.0, high)),
        p50_ms=_middle([one.p50_ms for one in sides]),
        p99_ms=_middle([one.p99_ms for one in sides]),
    )


def _middle(values: Sequence[float | None]) -> float | None:
    """Give the median; None if one of them was not measured, or is infinite."""
    known = [one for one in values if one is not None]
    return median(known) if len(known) == len(values) else None


def _answer(found: Probe, *, pairs: int) -> str:
    named = "neither tier is shown to be better" if found.better is None else f"the {found.better} is better"
    shares = ", ".join(f"{tier} {one.share * 100:.1f} %" for tier, one in found.tiers.items())
    runs = "run" if pairs == 1 else "runs"
    return f"with {found.cameras:,} cameras {named} ({shares} right and on time, {pairs} {runs} each)"
