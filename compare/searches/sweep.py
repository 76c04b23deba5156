"""One scenario with one setting after the other: what each of its values gives, and costs."""

from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal

from pydantic import Field
from rich.console import Group, RenderableType
from rich.text import Text

from compare.reports import report
from compare.reports.comparison import Comparison, compared
from compare.reports.headlines import FIGURES
from compare.runs.ran import Ran
from compare.scenario import Scenario
from edgewise.messages import Tier
from edgewise.show import cell, grid, titled
from edgewise.summary import Reason, Strict

SHOWN: Final = tuple(one for one in FIGURES if one.column)
"""Figures of a comparison, each a column."""
NAME: Final = "sweep.json"


class Point(Strict):
    """One point."""

    values: dict[str, Any]
    """Of the settings that change, by dotted name."""
    comparison: Comparison


class Sweep(Strict):
    """All points: the content of ``sweep.json``."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    scenario: str
    verdict: Literal["VALID", "INVALID"]
    reasons: list[Reason]
    """What ended it early, or those of the first INVALID run."""
    points: list[Point]


def point(values: dict[str, Any], scenario: Scenario, runs: Sequence[Ran], *, ended: Reason | None) -> Point:
    """Put the runs of one point together."""
    return Point(values=values, comparison=compared(scenario, runs, ended=ended))


def put_together(scenario: str, points: list[Point], *, ended: Reason | None = None) -> Sweep:
    """Put the points together: one INVALID run makes the whole INVALID, and the others' figures stay.

    Args:
        scenario: its name.
        points: those that were run.
        ended: what ended them before the last, if something did.
    """
    invalid = [point.comparison for point in points if point.comparison.verdict == "INVALID"]
    reasons = [ended] if ended else invalid[0].reasons if invalid else []
    return Sweep(
        schema=1,
        scenario=scenario,
        verdict="INVALID" if reasons else "VALID",
        reasons=reasons,
        points=points,
    )


def rendered(found: Sweep) -> RenderableType:
    """Lay a sweep out for the terminal: a row for each point and tier."""
    title = report.verdict(found.verdict, f"{found.scenario}, {len(found.points)} points")
    names = head(found)
    table = grid(*names[: -len(SHOWN)], numbers=names[-len(SHOWN) :])
    for row in rows(found):
        table.add_row(*row)
    answer = [Text(sentence) for sentence in said(found)]
    return Group(
        title, *report.reasons(found.reasons), *answer, *titled("What each setting gives", table, *notes(found))
    )


def said(found: Sweep) -> list[str]:
    """Say where each tier has the lowest latency, and where it costs least: what was found, and no more."""
    sentences = []
    for tier in sorted({tier for point in found.points for tier in tiers(point)}):
        for figure, what in (
            ("latency p99", "lowest latency p99"),
            ("CPU for 1,000 right", "least CPU for 1,000 right"),
        ):
            known = [(value, point) for point in found.points if (value := median(point, figure, tier)) is not None]
            if known:
                value, point = min(known, key=lambda one: one[0])
                sentences.append(f"The {tier}'s {what}: {value:,.2f} {_unit(point, figure)}, with {named(point)}.")
    return sentences


def _unit(point: Point, figure: str) -> str:
    return next(one.unit for one in point.comparison.figures if one.name == figure)


def head(found: Sweep) -> tuple[str, ...]:
    """Name the columns: the settings, then the figures."""
    first = found.points[0]
    return *first.values, "tier", "verdict", *(one.column for one in SHOWN)


def rows(found: Sweep) -> Iterator[tuple[str, ...]]:
    """Give each point and tier, as written."""
    for point in found.points:
        for tier in tiers(point):
            medians = [cell(median(point, one.name, tier), digits=2) for one in SHOWN]
            yield *(f"{value}" for value in point.values.values()), tier, point.comparison.verdict, *medians


def notes(found: Sweep) -> list[str]:
    """Say what stands in the cells, where it is not one run's figure."""
    return ["Medians over the repeats."] if any(len(point.comparison.runs) > 1 for point in found.points) else []


def named(point: Point) -> str:
    """Name a point by its values, short."""
    return ", ".join(f"{name.rpartition('.')[2]} {value}" for name, value in point.values.items())


def tiers(point: Point) -> list[str]:
    """Name the tiers that ran."""
    ran = {tier for run in point.comparison.runs for tier in run.tiers}
    return [tier.value for tier in Tier if tier.value in ran]


def median(point: Point, figure: str, tier: str) -> float | None:
    """Give a figure's median in one tier; None if it was not measured."""
    spread = next(one for one in point.comparison.figures if one.name == figure).tiers.get(tier)
    return None if spread is None else spread.median
