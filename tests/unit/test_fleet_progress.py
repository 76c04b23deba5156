"""What a fleet shows while it runs: each group's cameras and frames, and all of them together."""

import json
import re
from collections.abc import Sequence
from typing import Final

import pytest

from edgewise import log
from edgewise.account import Plan
from edgewise.clock import SECOND_NS, ManualClock
from producers.camera.tally import Tally
from producers.fleet.progress import SAID_S, shown
from tests.unit.test_account import PLAN

GATE: Final = PLAN.model_copy(update={"fleet": "gate", "cameras": 2, "frames": 900})
FENCE: Final = PLAN.model_copy(update={"fleet": "fence", "cameras": 3, "frames": 10})
STANDING: Final = {
    "gate": Tally(connected=2, sent=1600, confirmed=1540, late=7, dropped=1),
    "fence": Tally(connected=1, sent=20, confirmed=5, late=0, dropped=3),
}


def rows(plans: Sequence[Plan], said: pytest.CaptureFixture[str]) -> list[list[str]]:
    """Give the words of what is drawn at the end, line by line, without its bars."""
    with shown(plans, clock=ManualClock()) as tell:
        tell(STANDING)
    return [re.sub("[━╸╺─]+", " ", line).split() for line in said.readouterr().err.splitlines()]


def test_each_group_has_a_row_and_all_of_them_one(capsys: pytest.CaptureFixture[str]) -> None:
    header, _, *found = rows([GATE, FENCE], capsys)
    assert header == ["group", "progress", "connected", "scheduled", "sent", "confirmed", "late", "dropped"]
    assert found == [
        ["gate", "2/2", "1,800", "1,600", "1,540", "7", "1"],
        ["fence", "1/3", "30", "20", "5", "0", "3"],
        ["all", "3/5", "1,830", "1,620", "1,545", "7", "4"],
    ]


def test_a_single_group_is_all_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert [one[0] for one in rows([GATE], capsys)[2:] if one] == ["gate"]


def test_where_nothing_is_drawn_each_group_is_said_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    clock = ManualClock()
    with shown([GATE, FENCE], clock=clock) as tell:
        for _ in range(2 * round(SAID_S) + 1):
            tell(STANDING)
            clock.advance(by_ns=SECOND_NS)
        said = capsys.readouterr().err.splitlines()
    gate = "fleet: gate: 2 connected, 1,800 scheduled, 1,600 sent, 1,540 confirmed, 7 late, 1 dropped"
    fence = "fleet: fence: 1 connected, 30 scheduled, 20 sent, 5 confirmed, 0 late, 3 dropped"
    assert said[:2] == [gate, fence]
    assert said[2].startswith("fleet: all: 3 connected, 1,830 scheduled, ")
    assert said[3:] == said[:3]
    assert capsys.readouterr().err.count("gate") == 1  # the last of it, drawn


def test_programs_read_the_same_in_fields(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log.SPEAKER, "form", log.Form.JSON)
    clock = ManualClock()
    with shown([GATE], clock=clock) as tell:
        clock.advance(by_ns=round(SAID_S) * SECOND_NS)
        tell(STANDING)
    (line,) = capsys.readouterr().err.splitlines()
    found = json.loads(line)
    asked = {"group": "gate", "cameras": 2, "scheduled": 1800}
    done = {"connected": 2, "sent": 1600, "confirmed": 1540, "late": 7, "dropped": 1}
    assert {name: found[name] for name in asked | done} == asked | done
