"""Which tier is the better one for how many cameras: the share of answers that are right and on time decides."""

from collections.abc import Iterator
from typing import Final

from rich.console import Group, RenderableType
from rich.text import Text

from compare.reports import report
from compare.scenario import Scenario
from compare.searches.search import crossover
from compare.searches.steps import DisturbedError, Run, Searched, told
from edgewise.messages import Tier
from edgewise.show import cell, grid, interval, percent, titled
from edgewise.statistics import overlap, wilson
from edgewise.summary import Generator, Interval, Strict, Summary

NEITHER: Final = "neither"
HEAD: Final = (
    *("better", "cameras", "offered/s"),
    *(text for tier in Tier for text in (f"{tier} %", f"95 % of {tier}", f"{tier} p50 ms")),
)
NOTE: Final = "Better only where the intervals do not overlap. Late, lost and wrong answers count alike."
NAME: Final = "crossover.json"


class OnTime(Strict):
    """What one tier came to with so many cameras."""

    folder: str
    share: float
    """Of the frames due after the warm-up, that were answered rightly within the deadline."""
    interval: Interval
    """Wilson's."""
    p50_ms: float | None
    p99_ms: float | None


class Probe(Strict):
    """Both tiers with so many cameras, one after the other."""

    cameras: int
    offered_hz: float
    tiers: dict[str, OnTime]
    better: Tier | None
    """None where the intervals overlap."""


class Crossover(Searched):
    """A whole search: the content of ``crossover.json``."""

    before: Tier | None = None
    """The better tier with the scenario's cameras; None if neither is."""
    after: Tier | None = None
    """The better one from ``from_cameras`` on; None if it does not change within the range."""
    from_cameras: int | None = None
    """The fewest with which it is."""
    not_with_cameras: int | None = None
    """The most with which it is not."""
    probes: list[Probe]
    """In the order in which they were run."""


def searched(scenario: Scenario, run: Run, generator: Generator) -> Crossover:
    """Search; a run that is INVALID for another cause than its load ends it."""
    probes: list[Probe] = []

    def better(cameras: int) -> Tier | None:
        probes.append(_probe(scenario.at({"fleet.cameras": cameras}), run, turned=len(probes) % 2 == 1))
        return probes[-1].better

    start = scenario.fleet.cameras
    by_ceiling = int(generator.limit_share * generator.ceiling_hz / scenario.fleet.rate_hz)
    whole = Crossover(
        schema=1,
        scenario=scenario.name,
        deadline_ms=scenario.deadline_ms,
        generator=generator,
        verdict="VALID",
        reasons=[],
        probes=probes,
    )
    try:
        most = max(start, min(round(scenario.search.most_times * start), by_ceiling))
        found = crossover(better, start=start, most=most, within=scenario.search.within_share)
    except DisturbedError as error:
        return whole.model_copy(update={"verdict": "INVALID", "reasons": error.reasons, "probes": probes})
    change = (
        {"from_cameras": found.high, "not_with_cameras": found.low} if found.after else {"not_with_cameras": found.low}
    )
    return whole.model_copy(update={"before": found.before, "after": found.after, "probes": probes, **change})


def _probe(scenario: Scenario, run: Run, *, turned: bool) -> Probe:
    """Run both tiers with the same schedule; which one goes first turns from probe to probe."""
    tiers = [tier for (tier,) in scenario.placement.rounds]
    found = {tier: _on_time(*told(run, scenario, tier), tier) for tier in (tiers[::-1] if turned else tiers)}
    gateway, cluster = found[Tier.GATEWAY], found[Tier.CLUSTER]
    better = None
    if not overlap(gateway.interval, cluster.interval):
        better = Tier.GATEWAY if gateway.share > cluster.share else Tier.CLUSTER
    return Probe(
        cameras=scenario.fleet.cameras,
        offered_hz=scenario.fleet.offered_hz,
        tiers={tier.value: found[tier] for tier in tiers},
        better=better,
    )


def _on_time(folder: str, summary: Summary, tier: Tier) -> OnTime:
    found = summary.tiers[tier.value]
    share, frames = found.on_time or 0.0, found.measured or 0
    sure = wilson(round(share * frames), frames)
    return OnTime(
        folder=folder,
        share=share,
        interval=Interval(low=0.0, high=1.0) if sure is None else Interval(low=sure.low, high=sure.high),
        p50_ms=found.latency_ms.p50,
        p99_ms=found.latency_ms.p99,
    )


def said(found: Crossover) -> str:
    """Say the answer in a sentence."""
    within = f"for answers within {found.deadline_ms:g} ms"
    if found.reasons:
        return f"The search {within} did not come to its end."
    first, last = found.probes[0].cameras, found.not_with_cameras
    before = "neither tier is shown to be better" if found.before is None else f"the {found.before} is the better tier"
    if found.after is None:
        sure = max((probe.cameras for probe in found.probes if probe.better is found.before), default=first)
        more = "" if sure == last else f"; with more, up to {last:,}, neither is shown to be"
        return f"From {first:,} to {sure:,} cameras {before} {within}{more}: no crossover in that range."
    after = f"from {found.from_cameras:,} on it is the {found.after}, and with {last:,} not yet"
    return f"With {first:,} cameras {before} {within}; {after}."


def rendered(found: Crossover) -> RenderableType:
    """Lay a search out for the terminal: the verdict, the answer, and what it stands on."""
    head = report.verdict(found.verdict, f"{found.scenario}, crossover")
    table = grid(HEAD[0], numbers=HEAD[1:])
    for row in rows(found):
        table.add_row(*row)
    titles = titled(f"Right within {found.deadline_ms:g} ms", table, NOTE)
    return Group(head, *report.reasons(found.reasons), Text(), Text(said(found)), *titles)


def rows(found: Crossover) -> Iterator[tuple[str, ...]]:
    """Give each probe, as written, by the number of cameras."""
    for probe in sorted(found.probes, key=lambda one: one.cameras):
        tiers = [probe.tiers[tier.value] for tier in Tier]
        cells = [text for one in tiers for text in (percent(one.share), _sure(one), cell(one.p50_ms))]
        yield probe.better or NEITHER, f"{probe.cameras:,}", cell(probe.offered_hz), *cells


def _sure(found: OnTime) -> str:
    return interval(found.interval, times=100)
