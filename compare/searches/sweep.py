"""One scenario with one setting after the other: what each of its values gives, and costs."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from rich.console import Group, RenderableType

from compare.reports import report
from compare.reports.comparison import Comparison
from edgewise.messages import Tier
from edgewise.show import NOT_MEASURED, cell, grid, titled
from edgewise.summary import Reason

SHOWN = ("latency p50", "latency p99", "right and on time", "accuracy", "CPU for 1,000 right")
"""Figures of a comparison, each a column."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Point(_Part):
    """One point."""

    values: dict[str, Any]
    """Of the settings that change, by dotted name."""
    comparison: Comparison


class Sweep(_Part):
    """All points: the content of ``sweep.json``."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    scenario: str
    verdict: Literal["VALID", "INVALID"]
    reasons: list[Reason]
    """Of the first INVALID run."""
    points: list[Point]


def put_together(scenario: str, points: list[Point]) -> Sweep:
    """Put the points together: one INVALID run makes the whole INVALID, and the others' figures stay."""
    invalid = [point.comparison for point in points if point.comparison.verdict == "INVALID"]
    return Sweep(
        schema=1,
        scenario=scenario,
        verdict="INVALID" if invalid else "VALID",
        reasons=invalid[0].reasons if invalid else [],
        points=points,
    )


def rendered(found: Sweep) -> RenderableType:
    """Lay a sweep out for the terminal: a row for each point and tier."""
    head = report.verdict(found.verdict, f"{found.scenario}, {len(found.points)} points")
    names = list(found.points[0].values)
    units = {figure.name: figure.unit for figure in found.points[0].comparison.figures}
    table = grid(*names, "tier", "verdict", numbers=tuple(f"{name}, {units[name]}" for name in SHOWN))
    for point in found.points:
        figures = {figure.name: figure for figure in point.comparison.figures}
        for tier in [tier.value for tier in Tier if any(tier.value in run.tiers for run in point.comparison.runs)]:
            spreads = [figures[name].tiers.get(tier) for name in SHOWN]
            medians = [NOT_MEASURED if one is None else cell(one.median, digits=2) for one in spreads]
            table.add_row(*(f"{value}" for value in point.values.values()), tier, point.comparison.verdict, *medians)
    notes = ["Medians over the repeats."] if any(len(point.comparison.runs) > 1 for point in found.points) else []
    return Group(head, *report.reasons(found.reasons), *titled("What each setting gives", table, *notes))
