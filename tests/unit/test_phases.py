"""A fleet that joins a run under way begins a phase, and each phase has its own load and latency."""

from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from compare.reports import grids, report
from consumers.ledger import phases
from edgewise.clock import SECOND_NS
from edgewise.messages import Tier
from edgewise.summary import Phase
from tests.tables import START_NS, Told

JOINS_S = 20


def found(told: Told, *, from_s: float = 0) -> list[Phase]:
    later = told.plan.model_copy(update={"fleet": "late", "start_ns": told.plan.start_ns + JOINS_S * SECOND_NS})
    rows = [told.rows(tier) for tier in told.tiers]
    return phases.find([later, told.plan], rows, from_ns=START_NS + round(from_s * SECOND_NS), split=False)


def test_one_fleet_has_no_phases() -> None:
    told = Told()
    assert phases.find([told.plan], [told.rows(Tier.GATEWAY)], from_ns=START_NS, split=False) == []
    assert told.summary().phases == []


def test_a_phase_goes_from_one_joining_to_the_next() -> None:
    told = Told()
    slow_ms = np.where(told.after_s >= JOINS_S, 100.0, 0.0)
    told.answers[Tier.CLUSTER].wait(slow_ms)
    first, second = found(told)
    assert (first.begins_s, first.joined, first.cameras) == (0, ["yard"], 4)
    assert (second.begins_s, second.joined, second.cameras) == (JOINS_S, ["late"], 8)
    assert first.frames + second.frames == len(told.due_ns)
    assert [phase.scheduled_hz for phase in (first, second)] == pytest.approx([60, 60], rel=0.02)
    assert first.latency_ms["gateway"].p50 == pytest.approx(second.latency_ms["gateway"].p50, rel=0.05)
    assert first.latency_ms["cluster"].p50 == pytest.approx(250, rel=0.02)
    assert second.latency_ms["cluster"].p50 == pytest.approx(350, rel=0.02)


def test_fleets_without_a_frame_of_these_tiers_have_no_phases() -> None:
    told = Told()
    other = told.plan.model_copy(update={"fleet": "late"})
    rows = replace(told.rows(Tier.GATEWAY), due_ns=np.empty(0, np.int64))
    assert phases.find([told.plan, other], [rows], from_ns=START_NS, split=True) == []


def test_the_warm_up_counts_in_no_phase() -> None:
    first, second = found(Told(), from_s=JOINS_S + 1)
    assert (first.latency_ms["gateway"].p50, first.frames) == (None, found(Told())[0].frames)
    assert second.latency_ms["gateway"].p50 is not None


def test_what_a_joining_changed_is_told_and_shown() -> None:
    summary = Told().summary().model_copy(update={"phases": found(Told())})
    console = Console(width=120, no_color=True)
    with console.capture() as captured:
        console.print(report.rendered(summary))
    said = captured.get()
    assert "Phases: a fleet joined" in said
    (row,) = (line for line in said.splitlines() if line.startswith("late "))
    assert row.split()[:3] == ["late", "20.0", "8"]
    (grid,) = grids.phases(summary)
    assert [cells[0] for cells in grid.rows] == ["yard", "late"]
    assert list(grids.phases(Told().summary())) == []
