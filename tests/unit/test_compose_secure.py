"""The secured compose files, read without starting anything: they fit the plain ones, and name no secret."""

import re
import runpy
from typing import Any, Final

import pytest

from brokers.kafka import settings as kafka
from brokers.mqtt import mosquitto
from brokers.secured import folder
from brokers.secured.rights import ADMIN, RIGHTS
from tests.unit.test_compose import FOLDER, read
from tests.unit.test_compose import SERVICES as PLAIN

OVER: Final[dict[str, Any]] = read(FOLDER / "compose.secure.yaml")["services"]
PARTS: Final = {"bridge", "gateway", "cluster", "ledger", "fleet"}
SPARK: Final = ["spark-master", "spark-worker"]
AT: Final = {"host": "h", "port": 1, "controller_port": 2, "secrets": "/secrets", "admin": "admin", "name": "kafka"}


def settings(text: str) -> dict[str, str]:
    """Read a Java settings file."""
    whole = text.replace("\\\n", "")
    return dict(line.split("=", 1) for line in whole.splitlines() if line and not line.startswith("#"))


def test_only_what_is_there_is_secured_and_one_step_is_added() -> None:
    assert set(OVER) - set(PLAIN) == {"admit"}
    assert OVER["admit"]["image"] == PLAIN["cluster"]["image"]


def test_every_image_of_this_project_is_as_bound_as_in_the_plain_file() -> None:
    for name in ("mosquitto", "kafka", "admit"):
        assert OVER[name]["read_only"] is True
        assert OVER[name]["cap_drop"] == ["ALL"]
        assert OVER[name]["security_opt"] == ["no-new-privileges:true"]
    assert OVER["mosquitto"]["user"] == "mosquitto", "as root it would need rights to become another"


def test_spark_is_inside_its_driver_and_no_master_or_worker_is_started() -> None:
    asked = (FOLDER / ".env").read_text().partition("COMPOSE_PROFILES=")[2].strip().split(",")
    for name in SPARK:
        assert OVER[name]["profiles"] == ["open"]
    assert "open" not in asked
    assert "--master=local[${WORKER_CORES:-2}]" in OVER["cluster"]["command"]
    assert OVER["cluster"]["depends_on"]["spark-worker"]["required"] is False
    told = {word.partition("=")[0] for word in PLAIN["cluster"]["command"]}
    assert told == {word.partition("=")[0] for word in OVER["cluster"]["command"]}, "nothing else is told differently"


def test_cameras_have_names_that_the_folder_has_passwords_for() -> None:
    assert OVER["fleet"]["entrypoint"] == ["edgewise", "fleet", "--name=camera"]


def mounted(part: str, target: str) -> dict[str, object]:
    """Give a folder of secrets as a container sees it; Docker would make one that is not there, empty, and root's."""
    found = {"type": "bind", "source": f"${{SECRETS:-../secrets}}/{part}", "target": target}
    return {**found, "read_only": True, "bind": {"create_host_path": False}}


def test_each_container_sees_its_own_secrets_and_no_other_s() -> None:
    for name in (PARTS | {"mosquitto", "kafka"}) & set(OVER):
        mounts = [mount for mount in OVER[name]["volumes"] if "SECRETS" in str(mount)]
        assert mounts == [mounted(name, "/secrets")]
    for name in PARTS:
        assert OVER[name]["environment"] == {"EDGEWISE_SECURITY": "/secrets"}


def test_no_part_begins_before_kafka_knows_it() -> None:
    for name in PARTS:
        waited = dict(OVER[name]["depends_on"]["admit"])
        assert waited.pop("condition") == "service_completed_successfully"
        # Where Kafka is, who is in its half cannot do without; the other half may be on a machine of its own.
        assert waited == ({} if PLAIN[name]["profiles"] == PLAIN["kafka"]["profiles"] else {"required": False})
    assert OVER["admit"]["profiles"] == PLAIN["kafka"]["profiles"]
    assert OVER["admit"]["depends_on"]["kafka"] == {"condition": "service_healthy", "restart": True}


def test_who_admits_sees_the_passwords_that_kafka_is_told_and_no_key() -> None:
    mounts = [mounted(part, f"/secrets/{part}") for part in (*RIGHTS, ADMIN)]
    assert sorted(OVER["admit"]["volumes"], key=str) == sorted(mounts, key=str)


def test_mosquitto_is_told_what_the_embedded_one_is_told() -> None:
    names = {"users": folder.MQTT_USERS, "acl": folder.ACL, "certificate": folder.CERTIFICATE, "key": folder.KEY}
    users = mosquitto.USERS.format(secrets="/secrets", **names)
    told = (FOLDER / "mosquitto.secure.conf").read_text().splitlines()
    plain = (FOLDER / "mosquitto.conf").read_text().splitlines()
    assert {*users.splitlines(), mosquitto.ALL_QUEUED_FOR_USERS} <= set(told)
    kept = {line for line in plain if not line.startswith("#")} - {mosquitto.ANYBODY, mosquitto.ALL_QUEUED}
    assert kept <= set(told)


def test_kafka_is_told_what_the_embedded_one_is_told() -> None:
    files = {"keystore": folder.KEYSTORE, "ca": folder.CA, "password": folder.ADMIN_PASSWORD}
    own = settings(kafka.SECURED.format(**AT, **files))
    here = settings((FOLDER / "kafka.secure.properties").read_text())
    where = {"listeners", "advertised.listeners", "listener.security.protocol.map", "config.providers"}
    assert {name: value for name, value in own.items() if name not in where} == {
        name: here[name] for name in own if name not in where
    }
    assert not re.search("PLAINTEXT", str(here)), "no listener lets anybody in"
    protocols = dict(one.split(":") for one in here["listener.security.protocol.map"].split(","))
    assert protocols == {"SASL_SSL": "SASL_SSL", "HOSTS": "SASL_SSL", "CONTROLLER": "SSL"}
    assert (
        here["listener.name.hosts.scram-sha-512.sasl.jaas.config"]
        == (here["listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config"])
    )


def test_kafka_is_told_the_rest_that_it_is_told_without_users() -> None:
    here = settings((FOLDER / "kafka.secure.properties").read_text())
    apart = re.compile(r"LISTENER|LOG4J|HEAP")
    for name, value in PLAIN["kafka"]["environment"].items():
        if not apart.search(name):
            assert here[name.removeprefix("KAFKA_").replace("_", ".").lower()] == value


# --- who listens, as compose/try.sh ports asks --------------------------------------------------

REFUSED: Final = runpy.run_path(str(FOLDER / "refused.py"))


@pytest.mark.parametrize(
    ("local", "state", "found"),
    [
        ("00000000:075B", "0A", [("a", 1883)]),
        ("0100007F:075B", "0A", []),
        ("0B00007F:90B1", "0A", []),  # docker's own name server
        ("0200590A:2384", "0A", [("a", 9092)]),
        ("0200590A:2384", "01", []),  # a connection
        ("00000000000000000000000000000000:2384", "0A", [("a", 9092)]),
        ("00000000000000000000000001000000:2384", "0A", []),
        ("0000000000000000FFFF00000100007F:2384", "0A", []),
        ("0000000000000000FFFF00000200590A:2384", "0A", [("a", 9092)]),
    ],
)
def test_who_can_be_reached_from_another_container_is_found(local: str, state: str, found: list[object]) -> None:
    title = "a   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"
    assert REFUSED["listeners"]([title, f"a   0: {local} 00000000:0000 {state} 00000000:00000000 00:00 0 0 0"]) == found
    assert f"@/secrets/{folder.FORMAT}" in (FOLDER / "kafka.secure.sh").read_text()
