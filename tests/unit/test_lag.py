"""What a look at a group's lag says, and what it does not claim to know."""

import json
from collections.abc import Sequence

import pytest
from rich.console import Console

from edgewise import lag
from edgewise.lag import PartitionLag

BEHIND = [PartitionLag(0, committed=7, end=10), PartitionLag(1, committed=1_200, end=1_200)]


def printed(look: lag.Look) -> str:
    console = Console(width=100, color_system=None)
    with console.capture() as captured:
        console.print(lag.rendered(look))
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())


def test_a_partitions_lag_is_what_is_there_and_not_finished() -> None:
    assert [one.lag for one in BEHIND] == [3, 0]
    assert PartitionLag(0, committed=None, end=10).lag is None


def test_a_topic_that_was_made_anew_does_not_look_finished() -> None:
    assert PartitionLag(0, committed=10, end=4).lag == -6


@pytest.mark.parametrize(
    ("partitions", "total"),
    [
        (BEHIND, 3),
        ([*BEHIND, PartitionLag(2, committed=None, end=0)], 3),
        ([*BEHIND, PartitionLag(2, committed=None, end=5)], None),
        ([PartitionLag(0, committed=None, end=0)], None),
        ([PartitionLag(0, committed=0, end=0)], 0),
        ([], None),
    ],
)
def test_a_sum_is_only_given_where_all_of_it_is_known(partitions: Sequence[PartitionLag], total: int | None) -> None:
    assert lag.total(partitions) == total


def test_a_look_is_this_letter_by_letter() -> None:
    silent = [PartitionLag(0, committed=None, end=10), PartitionLag(1, committed=None, end=1_200)]
    assert printed({"cluster": BEHIND, "gateway": silent}) == (
        "group    partition  committed    end  lag\n"
        "─────────────────────────────────────────\n"
        "cluster          0          7     10    3\n"
        "cluster          1      1,200  1,200    0\n"
        "cluster        all                      3\n"
        "gateway          0        n/a     10  n/a\n"
        "gateway          1        n/a  1,200  n/a\n"
        "gateway        all                    n/a\n"
        "gateway has committed nothing: it has finished no record yet, or has no group. A gateway that reads\n"
        "MQTT has none.\n"
    )


def test_json_is_one_line_with_null_for_what_is_not_known() -> None:
    text = lag.line({"cluster": BEHIND[:1], "gateway": [PartitionLag(0, committed=None, end=10)]}, at_ns=5)
    assert "\n" not in text
    assert json.loads(text) == {
        "at_ns": 5,
        "topic": "frames",
        "groups": {
            "cluster": {"lag": 3, "partitions": [{"partition": 0, "committed": 7, "end": 10, "lag": 3}]},
            "gateway": {"lag": None, "partitions": [{"partition": 0, "committed": None, "end": 10, "lag": None}]},
        },
    }
