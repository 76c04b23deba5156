"""Whether two runs differ, or two comparisons: figure by figure, and what cannot be compared at all.

Nothing is read or written here. B minus A throughout: above 0 there is more of it in B.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

import pyarrow as pa
from pydantic import Field

from compare.reports import alike, same_frames
from compare.reports.alike import Facts, Obstacle, Setting
from compare.reports.comparison import REPEATS_NEEDED, Comparison, Figure, listed
from compare.reports.headlines import HEADLINES
from compare.reports.same_frames import Same
from compare.reports.spread import Spread
from edgewise.statistics import Bounds, overlap
from edgewise.summary import Interval, Strict, Summary

Verdict = Literal["differs", "no difference shown", "n/a"]
DIFFERS: Final = "differs"
NOT_SHOWN: Final = "no difference shown"
NOT_COMPARED: Final = "n/a"
ONE_EACH: Final = " One run each: whether repeats of them would differ is not known."
"""Nothing in two runs tells how much the next one of the same settings would differ."""


class Change(Strict):
    """One figure of one tier, in A and in B."""

    tier: str
    name: str
    unit: str
    a: float | None
    b: float | None
    """Of comparisons these are medians."""
    a_interval: Interval | None = None
    b_interval: Interval | None = None
    """Of the medians; None of single runs."""
    difference: float | None
    """B minus A."""
    interval: Interval | None
    """Of the difference: those of all figures hold together with 95 %; None where there is none, as of comparisons."""
    verdict: Verdict


class Folder(Strict):
    """One of the two."""

    name: str
    verdict: Literal["VALID", "INVALID"]


class Differences(Strict):
    """Two runs, or two comparisons, set beside one another."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    of: Literal["runs", "comparisons"]
    a: Folder
    b: Folder
    answer: str
    obstacles: list[Obstacle]
    """What keeps figures from a verdict."""
    settings: list[Setting]
    """Those that differ."""
    changes: list[Change]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """All that is known of a run."""

    name: str
    summary: Summary
    settings: Mapping[str, object]
    """By dotted name; empty if they are not known."""
    frames: pa.Table | None
    """Its per-frame table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeated:
    """All that is known of a comparison of several runs."""

    name: str
    comparison: Comparison
    settings: Mapping[str, object]
    """By dotted name; empty if they are not known."""


def between_runs(one: Run, other: Run) -> Differences:
    """Compare two runs."""
    same = same_frames.same(one.frames, other.frames)
    facts = [_facts(run) for run in (one, other)]
    usable = all(run.summary.verdict == "VALID" for run in (one, other))
    shared = [name for name in one.summary.tiers if name in other.summary.tiers]
    found = {
        tier: same_frames.differences(
            (one.summary, other.summary), (one.frames, other.frames), tier, found=same, tiers=len(shared)
        )
        for tier in (shared if usable else ())
    }
    changes = [change for tier in shared for change in _of_tier(one, other, tier, found.get(tier))]
    return _told((one.name, other.name), facts, list(alike.obstacles(*facts, same=same)), changes, of="runs")


def _facts(run: Run) -> Facts:
    return Facts(
        verdict=run.summary.verdict,
        models={name: tier.model for name, tier in run.summary.tiers.items()},
        deadline_ms=run.summary.deadline_ms,
        settings=run.settings,
    )


def _of_tier(one: Run, other: Run, tier: str, found: Mapping[str, Bounds] | None) -> Iterator[Change]:
    """Give each figure of a tier, as if nothing were in the way of a verdict; of INVALID runs both values alone."""
    for headline in HEADLINES:
        a, b = (headline.take(run.summary.tiers[tier]) for run in (one, other))
        difference = b - a if a is not None and b is not None and found is not None else None
        within = None if difference is None or found is None else _interval(found.get(headline.name))
        yield Change(
            tier=tier,
            name=headline.name,
            unit=headline.unit,
            a=a,
            b=b,
            difference=difference,
            interval=within,
            verdict=_verdict(within),
        )


def _interval(found: Bounds | None) -> Interval | None:
    return None if found is None else Interval(low=found.low, high=found.high)


def _verdict(within: Interval | None) -> Verdict:
    if within is None:
        return NOT_COMPARED
    return NOT_SHOWN if within.low <= 0 <= within.high else DIFFERS


def between_comparisons(one: Repeated, other: Repeated) -> Differences:
    """Compare two comparisons: figures differ if their intervals do not overlap."""
    facts = [_facts_of_all(found) for found in (one, other)]
    changes = list(_of_figures(one.comparison, other.comparison))
    obstacles = list(alike.obstacles(*facts, same=Same()))
    return _told((one.name, other.name), facts, obstacles, changes, of="comparisons")


def _facts_of_all(found: Repeated) -> Facts:
    deadline_ms = found.settings.get("deadline_ms")
    return Facts(
        verdict=found.comparison.verdict,
        models={tier: _model(found, tier) for run in found.comparison.runs for tier in run.tiers},
        deadline_ms=deadline_ms if isinstance(deadline_ms, int | float) else None,
        settings=found.settings,
    )


def _model(found: Repeated, tier: str) -> str | None:
    model = found.settings.get(f"{tier}.model") or found.settings.get("model")
    return str(model) if model else None


def _of_figures(one: Comparison, other: Comparison) -> Iterator[Change]:
    usable = one.verdict == other.verdict == "VALID"
    spreads = {(tier, figure.name): spread for figure in other.figures for tier, spread in figure.tiers.items()}
    for tier in dict.fromkeys(tier for figure in one.figures for tier in figure.tiers):
        for figure in one.figures:
            a, b = figure.tiers.get(tier), spreads.get((tier, figure.name))
            if a is not None and b is not None:
                yield _of_spreads(tier, figure, a, b, usable=usable)


def _of_spreads(tier: str, figure: Figure, a: Spread, b: Spread, *, usable: bool) -> Change:
    enough = min(len(a.values), len(b.values)) >= REPEATS_NEEDED
    apart: Verdict = NOT_SHOWN if overlap(a.interval, b.interval) else DIFFERS
    return Change(
        tier=tier,
        name=figure.name,
        unit=figure.unit,
        a=a.median,
        b=b.median,
        a_interval=a.interval,
        b_interval=b.interval,
        difference=b.median - a.median if usable else None,
        interval=None,
        verdict=apart if usable and enough else NOT_COMPARED,
    )


def _told(
    names: tuple[str, str],
    facts: Sequence[Facts],
    obstacles: Sequence[Obstacle],
    changes: Sequence[Change],
    *,
    of: Literal["runs", "comparisons"],
) -> Differences:
    """Take back the verdicts that obstacles forbid, and say it all in a sentence."""
    judged = [
        change.model_copy(update={"verdict": NOT_COMPARED})
        if alike.forbidden(obstacles, tier=change.tier, figure=change.name)
        else change
        for change in changes
    ]
    a, b = (Folder(name=name, verdict=one.verdict) for name, one in zip(names, facts, strict=True))
    return Differences(
        schema=1,
        of=of,
        a=a,
        b=b,
        answer=answer(judged, obstacles, of=of),
        obstacles=list(obstacles),
        settings=alike.settings(facts[0].settings, facts[1].settings),
        changes=judged,
    )


def answer(changes: Sequence[Change], obstacles: Sequence[Obstacle], *, of: Literal["runs", "comparisons"]) -> str:
    """Give what came out, in a sentence; of single runs with what they do not tell."""
    found = {verdict: [one for one in changes if one.verdict == verdict] for verdict in get_args(Verdict)}
    told = len(found[DIFFERS]) + len(found[NOT_SHOWN])
    if not told:
        why = f": {obstacles[0].what}" if obstacles else ": no figure has an interval in both"
        return f"A and B cannot be compared{why}."
    left = f"; no verdict on {_counted(len(found[NOT_COMPARED]))}" if found[NOT_COMPARED] else ""
    if not found[DIFFERS]:
        return f"No difference shown between A and B in {_counted(told)}{left}."
    tiers = dict.fromkeys(one.tier for one in found[DIFFERS])
    parts = [f"{listed([one.name for one in found[DIFFERS] if one.tier == tier])} of the {tier}" for tier in tiers]
    return f"A and B differ in {', and in '.join(parts)}{left}.{ONE_EACH if of == 'runs' else ''}"


def _counted(figures: int) -> str:
    return "1 figure" if figures == 1 else f"{figures} figures"
