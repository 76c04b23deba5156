"""The compose file, read without starting anything: it asks for what there is, and gives away nothing."""

import re
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest
import typer
import yaml  # type: ignore[import-untyped]  # it ships no types

from brokers.kafka import settings as kafka
from brokers.mqtt import answer, mosquitto
from edgewise import places
from edgewise.cli.program import app
from edgewise.places import CHECKOUT

FOLDER: Final = CHECKOUT / "compose"
FILE: Final[dict[str, Any]] = yaml.safe_load((FOLDER / "compose.yaml").read_text())
SERVICES: Final[dict[str, dict[str, Any]]] = FILE["services"]
DOCKERFILE: Final = (FOLDER / "Dockerfile").read_text()
VERSION: Final = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["version"]
OURS: Final = [name for name, service in SERVICES.items() if service["image"].startswith("edgewise:")]
PARTS: Final = ["bridge", "gateway", "cluster", "ledger", "fleet"]
PLACES: Final = {"listener", "persistence_location", "user"}
"""What of mosquitto's settings depends on where it runs."""


def without_variables(word: str) -> str:
    """Give a word as compose does where nobody has set a variable."""
    return re.sub(r"\$\{[A-Z_]+:-([^}]*)\}", r"\1", word)


def told(text: str) -> dict[str, set[str]]:
    """Read mosquitto's settings: name -> values."""
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#")]
    return {name: {value for key, value in lines if key == name} for name, _ in lines}


def test_the_whole_way_of_a_frame_is_there() -> None:
    assert list(SERVICES) == ["mosquitto", "kafka", *PARTS]
    assert OURS == PARTS


@pytest.mark.parametrize("name", OURS)
def test_a_part_is_told_only_what_its_command_knows(name: str) -> None:
    command, *options = [without_variables(word) for word in SERVICES[name]["command"]]
    assert command == name
    known = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # a group
    # Refuses a command, an option or a value that there is not; starts nothing.
    known[command].make_context(command, options)


def test_all_parts_belong_to_one_run_that_one_variable_names() -> None:
    for name in OURS:
        assert "--run=${RUN:-first}" in SERVICES[name]["command"]
    assert "--out=/runs/${RUN:-first}" in SERVICES["ledger"]["command"]


def test_all_parts_are_one_image_of_this_version_built_once_and_fetched_from_nowhere() -> None:
    assert {(SERVICES[name]["image"], SERVICES[name]["pull_policy"]) for name in OURS} == {
        (f"edgewise:{VERSION}", "never")
    }
    builds = [service["build"] for service in SERVICES.values() if "build" in service]
    assert builds == [{"context": "..", "dockerfile": "compose/Dockerfile"}]


def test_every_image_is_pinned() -> None:
    images = [service["image"] for service in SERVICES.values()]
    images += re.findall(r"^FROM (\S+)", DOCKERFILE, flags=re.MULTILINE)
    assert [image for image in images if not re.fullmatch(r"[a-z/-]+:\d[\w.-]*", image)] == []


def test_parts_find_the_brokers_by_the_variables_that_the_options_read() -> None:
    for name in OURS:
        environment = SERVICES[name]["environment"]
        assert environment["EDGEWISE_MQTT"] == "mosquitto:1883"
        assert environment["EDGEWISE_KAFKA"] == "kafka:9092"
        assert set(environment) <= {"EDGEWISE_MQTT", "EDGEWISE_KAFKA", "EDGEWISE_CACHE"}
    assert "EDGEWISE_CACHE" in Path(places.__file__).read_text()


def test_no_port_is_open_while_brokers_ask_nobody_for_a_name() -> None:
    assert [name for name, service in SERVICES.items() if "ports" in service or "network_mode" in service] == []


def test_what_is_kept_is_kept_in_named_volumes_and_of_the_host_only_settings_are_read() -> None:
    named = set()
    for service in SERVICES.values():
        for mount in service.get("volumes", []):
            source, target, *mode = mount.split(":")
            assert target.startswith("/")
            if source.startswith("./"):
                assert (FOLDER / source).is_file()
                assert mode == ["ro"]
            else:
                assert re.fullmatch(r"[a-z]+", source)
                named.add(source)
    assert named == set(FILE["volumes"])


def test_the_data_set_has_a_volume_and_no_way_into_the_image() -> None:
    for name in ("ledger", "fleet"):
        assert f"data:{SERVICES[name]['environment']['EDGEWISE_CACHE']}" in SERVICES[name]["volumes"]
    ignored = [line for line in (CHECKOUT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert ignored[0] == "*", "everything stays out but what is named"
    let_in = [line.removeprefix("!") for line in ignored if line.startswith("!")]
    assert [name for name in let_in if not (CHECKOUT / name).exists()] == []
    assert not {"runs", "training", ".venv", ".git"} & set(let_in)
    assert "cifar" not in re.sub(r"^#.*$", "", DOCKERFILE, flags=re.MULTILINE).lower()


def test_the_image_is_not_run_as_root() -> None:
    users = re.findall(r"^USER (\S+)", DOCKERFILE, flags=re.MULTILINE)
    assert users == ["edgewise"]


def test_parts_wait_for_brokers_that_answer() -> None:
    for name in OURS:
        for broker in ("mosquitto", "kafka"):
            assert SERVICES[name]["depends_on"][broker] == {"condition": "service_healthy"}
            assert SERVICES[broker]["healthcheck"]["test"]


def test_mosquitto_is_told_what_the_kit_s_own_is_told() -> None:
    places_apart = dict.fromkeys(("port", "host", "data", "user"), "x")
    own = told(mosquitto.SETTINGS.format(packet_max_bytes=answer.PACKET_MAX_BYTES, **places_apart))
    here = told((FOLDER / "mosquitto.conf").read_text())
    assert {name: values for name, values in here.items() if name not in PLACES} == {
        name: values for name, values in own.items() if name not in PLACES
    }


def test_kafka_is_told_what_the_kit_s_own_is_told_where_it_matters_for_frames() -> None:
    environment = SERVICES["kafka"]["environment"]
    assert environment["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
    assert environment["KAFKA_MESSAGE_MAX_BYTES"] == str(kafka.MESSAGE_MAX_BYTES)
    assert all(isinstance(value, str) for value in environment.values()), "YAML's own true is not Kafka's"
    logs = environment["KAFKA_LOG_DIRS"]
    assert f"kafka:{logs}" in SERVICES["kafka"]["volumes"]


def test_the_page_names_every_variable_with_its_default() -> None:
    page = (CHECKOUT / "docs" / "compose.md").read_text()
    used = set(re.findall(r"\$\{([A-Z_]+):-([^}]*)\}", (FOLDER / "compose.yaml").read_text()))
    for variable, default in used:
        (row,) = (line for line in page.splitlines() if line.startswith("|") and f"`{variable}`" in line)
        assert default in row
    assert len({variable for variable, _ in used}) == len(used), "one default each"
