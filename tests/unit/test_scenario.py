"""Scenarios: read from TOML, with single values on top; what is not known is refused by its name."""

import tomllib
from pathlib import Path

import pytest

from compare import scenario
from compare.run import order
from compare.scenario import Placement, Scenario
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
