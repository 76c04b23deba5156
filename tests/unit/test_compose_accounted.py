"""What compose/try.sh calls accounted for: each frame by itself, and only what its camera or a kill explains."""

import runpy
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from consumers.ledger.table import FILE, Fate
from edgewise.places import CHECKOUT

JUDGED: Final = runpy.run_path(str(CHECKOUT / "compose" / "accounted.py"))["judged"]
AT_S: Final = 1_000.0
FRAMES: Final = 4


def rows(*, tiers: Sequence[str] = ("gateway", "cluster"), **fates: Fate) -> list[dict[str, Any]]:
    """Give the rows of frames that were answered, but for those that are named: ``gateway_2=Fate.UNBRIDGED``."""
    return [
        {
            "camera": "camera-0",
            "number": number,
            "tier": tier,
            "fate": fates.get(f"{tier}_{number}", Fate.ANSWERED).value,
            "due_ns": round((AT_S + number) * 1e9),
            "copies": 0,
        }
        for tier in tiers
        for number in range(FRAMES)
    ]


def problems(found: Sequence[dict[str, Any]], *excuses: str, scheduled: int = FRAMES) -> list[str]:
    wrong: list[str] = JUDGED(found, scheduled=scheduled, excuses=excuses)[1]
    return wrong


def test_frames_that_are_all_answered_are_accounted_for() -> None:
    assert problems(rows()) == []


def test_a_copy_of_one_frame_does_not_stand_for_another() -> None:
    found = rows(cluster_2=Fate.UNANSWERED)
    found[-1]["copies"] = 1
    assert problems(found) == ["cluster: 1 bridged, no result, such as camera-0/2, due 1002.000"]
    twice = [*rows()[:-1], rows()[0] | {"tier": "cluster"}]
    assert problems(twice) == ["cluster: 4 were scheduled, 3 have a fate, in 4 rows"]


def test_a_frame_that_the_table_lacks_is_missed() -> None:
    assert problems(rows(), scheduled=FRAMES + 1) != []
    assert problems([]) == ["no tier owed anything"]


@pytest.mark.parametrize("fate", [Fate.UNBRIDGED, Fate.UNHEARD, Fate.REFUSED, Fate.NO_ACCOUNT, Fate.UNCONFIRMED])
def test_without_a_kill_nothing_but_what_was_never_sent_is_excused(fate: Fate) -> None:
    assert problems(rows(gateway_1=Fate.DROPPED, cluster_1=Fate.DROPPED)) == []
    assert problems(rows(gateway_1=fate, cluster_1=fate)) != []


def test_a_killed_mosquitto_excuses_what_it_had_around_that_time() -> None:
    lost = rows(gateway_1=Fate.UNBRIDGED, cluster_1=Fate.UNBRIDGED)
    assert problems(lost, f"forgot={AT_S + 3}") == []
    assert problems(lost, f"forgot={AT_S + 300}") != []
    assert problems(lost, f"forgot={AT_S - 300}") != []


def test_of_what_was_bridged_a_killed_mosquitto_excuses_only_the_tier_beside_it() -> None:
    assert problems(rows(gateway_1=Fate.UNANSWERED), f"forgot={AT_S}") == []
    assert problems(rows(cluster_1=Fate.UNANSWERED), f"forgot={AT_S}") != []


def test_a_killed_fleet_excuses_its_own_cameras_from_then_on() -> None:
    silent = rows(cluster_3=Fate.NO_ACCOUNT, gateway_3=Fate.NO_ACCOUNT)
    assert problems(silent, f"killed=camera@{AT_S + 3}") == []
    assert problems(silent, f"killed=other@{AT_S + 3}") != []
    assert problems(silent, f"killed=camera@{AT_S + 30}") != [], "what it had sent was to be answered"


def test_the_table_of_a_ledger_has_what_is_looked_at(tmp_path: Path) -> None:
    from consumers.ledger.table import SCHEMA

    pq.write_table(pa.Table.from_pylist([], schema=SCHEMA), tmp_path / FILE)
    columns = runpy.run_path(str(CHECKOUT / "compose" / "accounted.py"))["COLUMNS"]
    assert pq.read_table(tmp_path / FILE, columns=columns).column_names == columns
