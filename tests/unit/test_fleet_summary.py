"""What a fleet prints at its end: the same shape for one group and for many, with units, and all of them together."""

import json
from collections.abc import Mapping
from typing import Final

import numpy as np
import pytest

from edgewise import show
from edgewise.clock import MILLISECOND_NS
from edgewise.messages import Codec
from producers.camera.tally import Tally
from producers.fleet.settings import Group
from producers.fleet.share import Account, Spent
from producers.fleet.summary import Summary, summed

GATE: Final = Group(name="gate", cameras=2, codec=Codec.PNG)
FENCE: Final = Group.model_validate({"name": "fence", "link": "delay_ms=80"})


def spent(late_ms: Mapping[str, list[int]], *, overdue: int = 0) -> Spent:
    """Give what one process did: each group's frames, all of them confirmed, so many of them overdue."""
    accounts = []
    for name, each_ms in late_ms.items():
        frames = len(each_ms)
        tally = Tally(scheduled=frames, due=frames, sent=frames, confirmed=frames, overdue=overdue, connections_lost=1)
        late_ns = np.array(each_ms, dtype=np.int64) * MILLISECOND_NS
        accounts.append(Account(name, (), tally, late_ns, last_ns=1))
    return Spent(accounts, cpu_s=0.25, memory_bytes=1_500_000, hindered=0, hindrance=None)


def printed(found: Summary, said: pytest.CaptureFixture[str]) -> list[str]:
    show.summed(found, as_json=False)
    return [" ".join(line.split()) for line in said.readouterr().out.splitlines()]


def test_processes_add_up_to_groups_and_groups_to_the_whole() -> None:
    found = summed([GATE, FENCE], [spent({"gate": [1, 2], "fence": [9]}), spent({"gate": [3]}, overdue=1)])
    assert {name: one["sent"] for name, one in found.groups.items()} == {"gate": 3, "fence": 1}
    assert (found.whole["sent"], found.whole["connections_lost"]) == (4, 3)
    assert found.groups["gate"]["lateness_ms"] == {"p50": 2.0, "p99": 3.0, "max": 3.0}
    assert found.whole["lateness_ms"] == {"p50": 3.0, "p99": 9.0, "max": 9.0}
    assert [one["bottleneck"] for one in (*found.groups.values(), found.whole)] == [True, False, True]
    assert found.groups["fence"]["link"] == {"delay_ms": 80.0}
    assert found.cost == {"cpu_s": 0.5, "memory_bytes": 3_000_000}


def test_programs_find_the_same_keys_whether_there_is_one_group_or_more(capsys: pytest.CaptureFixture[str]) -> None:
    shapes = []
    for groups in ([GATE], [GATE, FENCE]):
        show.summed(summed(groups, [spent({group.name: [1] for group in groups})]), as_json=True)
        told = json.loads(capsys.readouterr().out)
        assert list(told.pop("groups")) == [group.name for group in groups]
        shapes.append(set(told))
    assert shapes[0] == shapes[1]
    assert {"scheduled", "sent", "dropped_at_source", "lateness_ms", "bottleneck", "cpu_s", "memory_bytes"} <= shapes[0]


def test_people_get_a_row_for_each_group_with_units(capsys: pytest.CaptureFixture[str]) -> None:
    found = printed(summed([GATE, FENCE], [spent({"gate": [1, 2], "fence": []}, overdue=1)]), capsys)
    assert "gate 2 2 2 0 0 0" in found
    assert "all 2 2 2 0 0 0" in found
    assert "group codec bottleneck p50 ms p99 ms max ms connections lost" in found
    assert "gate png the cameras 2.000 2.000 2.000 1" in found
    assert "fence raw the cameras n/a n/a n/a 1" in found
    assert "gate: 1 of 2 frames had their turn too late: this machine was too slow" in found
    assert "CPU 0.25 s, memory 1.50 MB." in found


def test_a_single_group_is_not_added_up(capsys: pytest.CaptureFixture[str]) -> None:
    found = printed(summed([GATE], [spent({"gate": [1]})]), capsys)
    assert [line for line in found if line.startswith("all ")] == []
