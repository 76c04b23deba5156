"""Whole commands on runs that are told: whatever ends them, what was run until then stands in the folder."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from compare import run as command
from compare import scenario as scenarios
from compare.runs import ceiling
from compare.runs.rounds import Runs, Surroundings, with_death
from compare.scenario import Scenario
from edgewise import dataset
from edgewise.errors import InvalidRunError, PartDiedError, UnreachableError
from edgewise.messages import Tier
from edgewise.summary import Generator, Summary
from tests.tables import Told, causes

Happens = Callable[[int], None]
"""Does what befalls a run, by its number."""


class ToldRuns(Runs):
    """Runs without brokers and processes."""

    happens: Happens

    @contextmanager
    def brokers(self) -> Iterator[None]:
        yield

    def generator(self, scenario: Scenario) -> Generator:
        return ceiling.asked(scenario.fleet, ceiling_hz=1e6)

    def _one(self, scenario: Scenario, tiers: Sequence[Tier], folder: Path) -> Summary:
        self.happens(int(folder.name.split("-")[-2]))
        fleet = scenario.fleet
        frames = round(fleet.rate_hz * fleet.duration_s)
        return Told(cameras=fleet.cameras, rate_hz=fleet.rate_hz, frames=frames, tiers=tiers).summary()


def nothing(_: int) -> None:
    """Let all go well."""


def at(number: int, error: BaseException) -> Happens:
    def happens(run: int) -> None:
        if run == number:
            raise error

    return happens


Start = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Run a scenario; give the exit code and what stands in the folder."""
    monkeypatch.setattr(command, "Runs", ToldRuns)
    monkeypatch.setattr(dataset, "load", lambda *_, **__: None)

    def started(named: str, *sets: str, happens: Happens = nothing) -> tuple[int, dict[str, Any]]:
        monkeypatch.setattr(ToldRuns, "happens", staticmethod(happens), raising=False)
        anywhere = ("gateway.cores=[]", "cluster.cores=[]", "search.accuracy_points=100")
        try:
            code = command.run(scenarios.read(named, sets=[*anywhere, *sets]), Surroundings(runs=tmp_path))
        except KeyboardInterrupt:
            code = 130
        (path,) = (path for path in tmp_path.glob("*/*.json"))
        return code, json.loads(path.read_text())

    return started


SHORT = ("fleet.duration_s=10", "repeats=1")
DIED = PartDiedError("ledger", code=-9, log="logs/ledger.log", last_words=["its last words"])
AWAY = UnreachableError("Kafka", at="localhost:9092", hint="start it with: edgewise up")


def test_runs_that_all_go_well_are_valid(start: Start) -> None:
    code, found = start("steady", *SHORT)
    assert (code, found["verdict"], [one["verdict"] for one in found["runs"]]) == (0, "VALID", ["VALID", "VALID"])


def test_a_part_that_dies_without_a_summary_is_one_invalid_run_of_a_comparison(start: Start) -> None:
    code, found = start("steady", *SHORT, happens=at(1, DIED))
    assert code == InvalidRunError.exit_code
    assert [(one["tiers"], one["verdict"]) for one in found["runs"]] == [
        (["gateway"], "INVALID"),
        (["cluster"], "VALID"),
    ]
    assert [one["rule"] for one in found["reasons"]] == ["ledger died"]


@pytest.mark.parametrize("error", [AWAY, DIED, KeyboardInterrupt()], ids=["away", "died", "Ctrl-C"])
def test_what_ends_a_comparison_takes_nothing_from_it(start: Start, error: BaseException) -> None:
    code, found = start("steady", *SHORT, happens=at(2, error))
    assert code == (130 if isinstance(error, KeyboardInterrupt) else InvalidRunError.exit_code)
    assert (found["verdict"], found["runs"][0]["verdict"]) == ("INVALID", "VALID")


@pytest.mark.parametrize("error", [AWAY, DIED, KeyboardInterrupt()], ids=["away", "died", "Ctrl-C"])
def test_what_ends_a_search_takes_nothing_from_it(start: Start, error: BaseException) -> None:
    def happens(run: int) -> None:
        if run > 2:
            raise error

    code, found = start("capacity", "search.most_times=4", "fleet.duration_s=20", happens=happens)
    assert code == (130 if isinstance(error, KeyboardInterrupt) else InvalidRunError.exit_code)
    assert found["verdict"] == "INVALID"
    steps = found["tiers"]["gateway"]["steps"]
    assert [one["offered_hz"] for one in steps if one["sustained"]] == [100, 200]


def test_what_ends_a_sweep_takes_nothing_from_it(start: Start) -> None:
    values = 'sweep={"cluster.trigger_ms"=[50, 100, 200]}'
    code, found = start("micro-batch", values, "fleet.duration_s=10", happens=at(3, AWAY))
    assert (code, found["verdict"], found["reasons"][0]["rule"]) == (4, "INVALID", "ended early")
    assert [len(point["comparison"]["runs"]) for point in found["points"]] == [1, 1, 0]


def test_what_cannot_even_begin_is_said_and_leaves_no_comparison(start: Start) -> None:
    with pytest.raises(UnreachableError):
        start("steady", *SHORT, happens=at(1, AWAY))


def test_a_capacity_beyond_the_range_is_valid_as_at_least_that(start: Start) -> None:
    code, found = start("capacity", "placement=gateway", "search.most_times=1", "fleet.duration_s=20")
    assert (code, found["tiers"]["gateway"]["bounded"], found["tiers"]["gateway"]["confirmed"]) == (0, False, True)


def test_a_death_takes_what_may_follow_from_it_and_nothing_else() -> None:
    told = Told()
    told.answers[Tier.GATEWAY].miss(told.after_s > 30)
    told.answers[Tier.GATEWAY].model = "another@0123456789ab"
    found = with_death(told.summary(), PartDiedError("gateway", code=-9, log="logs/gateway.log", last_words=["a", "b"]))
    assert causes(found) == {"gateway died": ["missing in gateway"], "different models": []}
    assert (found.verdict, found.reasons[0].said) == ("INVALID", ["a", "b"])
    assert all(not below.consequences for below in found.reasons[0].consequences)
