"""Scenarios: read from TOML, with single values on top; what is not known is refused by its name."""

import tomllib
from pathlib import Path

import pytest

from compare import scenario
from compare.scenario import Kind, Placement, Scenario, order
from edgewise.errors import ConfigError
from edgewise.messages import Tier


@pytest.mark.parametrize("name", scenario.shipped())
def test_each_shipped_scenario_can_be_read_and_says_what_it_is_for(name: str) -> None:
    found = scenario.read(name)
    assert found.name == name
    assert (scenario.SHIPPED / f"{name}.toml").read_text().startswith("# ")


def test_what_is_written_down_is_what_was_read() -> None:
    found = scenario.read("steady", sets=["fleet.cameras=3", "gateway.cores=[0, 1]", 'model="mine.onnx"'])
    assert Scenario.model_validate(tomllib.loads(scenario.text(found))) == found
    assert (found.fleet.cameras, found.gateway.cores, found.model) == (3, (0, 1), "mine.onnx")


def test_typed_values_come_before_flags_and_flags_before_the_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[fleet]\ncameras = 2\nrate_hz = 3.0\nduration_s = 10\n")
    found = scenario.read(str(path), over={"fleet.cameras": 5, "fleet.rate_hz": 7.0}, sets=["fleet.cameras=9"])
    assert (found.name, found.fleet.cameras, found.fleet.rate_hz, found.fleet.schedule.frames) == ("mine", 9, 7.0, 70)


def test_a_word_needs_no_quotes() -> None:
    assert scenario.read("laptop", sets=["gateway.engine=openvino-int8"]).gateway.engine == "openvino-int8"


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        (["fleet.camera=3"], "scenario laptop: fleet.camera is not known; did you mean cameras?"),
        (["pace=3"], "scenario laptop: pace is not known; did you mean placement?"),
        (["xyz=3"], "scenario laptop: xyz is not known; known are name, placement, "),
        (["fleet.cameras=0"], "scenario laptop: fleet.cameras = 0: "),
        (
            ["fleet.link=delay=3"],
            "scenario laptop: fleet.link = 'delay=3': Value error, delay is not known; did you mean ",
        ),
        (["fleet.churn=share=2"], "scenario laptop: fleet.churn = 'share=2': Value error, share = '2': "),
        (
            ["fleet.connections=2", "fleet.churn=share=0.5"],
            "scenario laptop: fleet.connections: cameras that come and ",
        ),
        (
            ["fleet.connections=2", "fleet.link=delay_ms=5"],
            "scenario laptop: fleet.connections: cameras that come and ",
        ),
        (
            ["fleet.connections=5", "fleet.cameras=4"],
            "scenario laptop: fleet.connections: there are only 4 cameras to share 5",
        ),
        (["fleet.ramp_hz=2"], "scenario laptop: fleet.ramp_hz is not known; did you mean "),
        (["fleet.rate_hz=fast"], "scenario laptop: fleet.rate_hz = 'fast': "),
        (["cluster.engine=torch"], "scenario laptop: cluster.engine = 'torch': "),
        (["placement=cloud"], "scenario laptop: placement = 'cloud': "),
        (["fleet"], "--set 'fleet' is not NAME=VALUE, for example fleet.cameras=8"),
        (["repeats.more=3"], "--set repeats.more: repeats is a value, not a table"),
    ],
)
def test_what_is_not_known_or_not_allowed_is_named(sets: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        scenario.read("laptop", sets=sets, over={"repeats": 1})
    assert str(refused.value).startswith(said)


def test_a_scenario_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(ConfigError, match=r"no scenario 'latop': neither a file nor one of .*laptop"):
        scenario.read("latop")


def test_a_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    (tmp_path / "odd.toml").write_text("cameras: 3")
    with pytest.raises(ConfigError, match=r"odd\.toml is no TOML: "):
        scenario.read(str(tmp_path / "odd.toml"))


def test_runs_that_alternate_begin_with_each_tier_in_turn() -> None:
    gateway, cluster = (Tier.GATEWAY,), (Tier.CLUSTER,)
    found = order(Scenario(placement=Placement.ALTERNATE, repeats=3))
    assert found == [gateway, cluster, cluster, gateway, gateway, cluster]
    assert order(Scenario(repeats=2)) == [(Tier.GATEWAY, Tier.CLUSTER)] * 2
    assert order(Scenario(placement=Placement.CLUSTER)) == [cluster]


def test_each_point_of_a_sweep_is_a_scenario_with_its_values() -> None:
    found = scenario.read("laptop", sets=['sweep={"cluster.trigger_ms"=[50, 100],"fleet.cameras"=[1, 2]}'])
    assert [values for values, _ in found.points] == [
        {"cluster.trigger_ms": 50, "fleet.cameras": 1},
        {"cluster.trigger_ms": 50, "fleet.cameras": 2},
        {"cluster.trigger_ms": 100, "fleet.cameras": 1},
        {"cluster.trigger_ms": 100, "fleet.cameras": 2},
    ]
    last = found.points[-1][1]
    assert (last.cluster.trigger_ms, last.fleet.cameras, last.fleet.rate_hz, last.sweep) == (100, 2, 15.0, {})
    assert Scenario.model_validate(tomllib.loads(scenario.text(found))) == found


def test_a_scenario_without_a_sweep_is_its_only_point() -> None:
    found = scenario.read("laptop")
    assert found.points == [({}, found)]


def test_a_step_of_a_search_keeps_what_the_search_judges_by() -> None:
    found = scenario.read("capacity", sets=["search.delivered_share=0.5"])
    step = found.at({"fleet.rate_hz": 33.0})
    assert (step.fleet.rate_hz, step.search.kind, step.search.delivered_share) == (33.0, Kind.NONE, 0.5)


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        (['sweep={"cluster.triggr_ms"=[5]}'], "cluster.triggr_ms is not known; did you mean trigger_ms?"),
        (['sweep={"cluster.trigger_ms"=[]}'], "sweep.cluster.trigger_ms = []: "),
        (['sweep={"repeats.x"=[5]}'], "sweep repeats.x: repeats is a value, not a table"),
        (["search.kind=capacity"], 'a search runs one tier at a time: placement = "alternate", not "both"'),
        (
            ["search.kind=crossover", "placement=gateway"],
            'a crossover is between two tiers: placement = "alternate", not "gateway"',
        ),
        (
            ["search.kind=capacity", "placement=gateway", 'sweep={"fleet.cameras"=[1]}'],
            "a scenario has a search or a sweep, not both",
        ),
        (
            ["search.kind=capacity", "placement=gateway", "fleet.arrival=trace:a.csv"],
            "a trace has one load; search with another fleet.arrival",
        ),
        (
            ["search.kind=capacity", "placement=gateway", "fleet.cameras=1", "fleet.duration_s=60"],
            "a search judges p99, which needs 918 frames in its first run, half of them warm-up: ",
        ),
        (
            ["search.kind=capacity", "placement=gateway", "fleet.duration_s=19"],
            "a growing backlog is judged over 10 s after the warm-up: fleet.duration_s must be at least twice",
        ),
    ],
)
def test_searches_and_sweeps_that_cannot_be_are_refused(sets: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        scenario.read("laptop", sets=sets)
    assert str(refused.value).removeprefix("scenario laptop: ").startswith(said)
