"""Whoever waits for a part waits for one that is ready now, and says for what."""

from collections.abc import Mapping, Sequence
from typing import Final

import pytest

from edgewise import account, topics
from edgewise.account import Closing, Entry, Opening
from edgewise.clock import SECOND_NS, ManualClock
from edgewise.entries import await_open, open_parts
from edgewise.errors import MissingError
from edgewise.kafka import Place, Record

RUN: Final = "tale"
OPENED: Final = Opening(run=RUN, part="cluster", name="cluster", ready_ns=7, facts={"startup_s": 21.5})
CLOSED: Final = Closing(run=RUN, part="cluster", name="cluster", summary={})


class Runs:
    """The topic runs, under a clock that waiting moves: an entry is there from its second on."""

    def __init__(self, *entries: tuple[float, Entry]) -> None:
        self.clock = ManualClock()
        self._left = list(entries)

    def _there(self) -> list[tuple[float, Entry]]:
        return [one for one in self._left if one[0] * SECOND_NS <= self.clock.ticks_ns()]

    def take(self, *, limit: int, wait_s: float) -> Sequence[Record]:
        there = self._there()[:limit]
        self._left = [one for one in self._left if one not in there]
        if not there:
            self.clock.advance(by_ns=round(wait_s * SECOND_NS))
        return [Record(topics.RUNS, 0, 0, account.key(one), account.encode(one), (), 0) for _, one in there]

    def lag(self) -> int:
        return len(self._there())

    def commit(self, following: Mapping[Place, int]) -> None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


def waited(runs: Runs, *, within_s: float = 60) -> list[str]:
    """Wait for the cluster; give what was said meanwhile."""
    said: list[str] = []
    await_open(runs, RUN, parts={"cluster"}, clock=runs.clock, within_s=within_s, talk=said.append)
    return said


def test_a_cluster_that_has_opened_the_run_is_not_waited_for() -> None:
    runs = Runs((0, OPENED))
    assert waited(runs) == []
    assert runs.clock.ticks_ns() == 0


def test_one_that_comes_late_is_waited_for_and_that_is_said_once() -> None:
    runs = Runs((30, OPENED))
    assert waited(runs) == ["waiting up to 60 s for the cluster to open run tale ..."]
    assert 30 <= runs.clock.ticks_ns() / SECOND_NS < 31


@pytest.mark.parametrize(
    "other",
    [
        OPENED.model_copy(update={"run": "another"}),
        OPENED.model_copy(update={"part": "gateway"}),
        CLOSED,
    ],
)
def test_one_that_does_not_come_is_named_with_the_command_that_starts_it(other: Entry) -> None:
    with pytest.raises(MissingError) as caught:
        waited(Runs((0, other)), within_s=5)
    expected = "no cluster has opened run tale within 5 s; start one with: edgewise cluster --run tale"
    assert str(caught.value) == expected
    assert caught.value.exit_code == 3


def test_one_that_has_closed_the_run_is_not_there() -> None:
    with pytest.raises(MissingError):
        waited(Runs((0, OPENED), (0, CLOSED)))


def test_one_that_was_started_again_is_there_again() -> None:
    assert waited(Runs((0, OPENED), (0, CLOSED), (0, OPENED))) == []


def test_another_one_of_its_kind_that_closed_harms_nobody() -> None:
    assert open_parts([OPENED, CLOSED.model_copy(update={"name": "cluster-2"})]) == {"cluster"}


def test_what_is_there_is_read_before_anyone_is_missed() -> None:
    assert waited(Runs((0, OPENED)), within_s=0) == []
