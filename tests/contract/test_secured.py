"""Brokers that ask who comes: with the right secrets a whole run goes through, with wrong ones one line says why."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

import mqtt5
import psutil
import pytest
from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    NewTopic,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
)
from kafka.errors import TopicAuthorizationFailedError

from brokers.broker import Broker
from brokers.secured import admission, folder
from edgewise import kafka, security, topics
from edgewise.clock import SystemClock
from edgewise.errors import ConfigError, RefusedError, UnreachableError
from edgewise.kafka import Client
from edgewise.mqtt.access import login
from edgewise.mqtt.connection import Connection
from edgewise.mqtt.inbox import ALL_FRAMES, MqttInbox, Subscription
from edgewise.mqtt.outbox import Answer, MqttOutbox
from edgewise.security import Access, MqttAccess, Profile
from producers.fleet.run import Fleet
from producers.fleet.settings import FleetSettings, Group
from tests.real import connected, eventually
from tests.system import RUN, System, accounted, printed, running

pytestmark = [pytest.mark.brokers, pytest.mark.timeout(400)]

CAMERAS: Final = 4
FRAMES: Final = 40
CLIENTS: Final = [Client.CONFLUENT, Client.PYTHON]
LARGE_BYTES: Final = 900_000
EVERY_ACL: Final = ACLFilter(
    None,
    None,
    ACLOperation.ANY,
    ACLPermissionType.ANY,
    ResourcePatternFilter(ResourceType.ANY, None, ACLResourcePatternType.ANY),
)


def made(out: Path) -> Path:
    wanted = folder.Wanted(hosts=("localhost", "127.0.0.1"), cameras={"camera": CAMERAS}, lasts_s=24 * 3600)
    folder.make(out, wanted, over=False)
    return out


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("made") / "secrets")


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give secrets of the same names that these brokers do not know, signed by another authority."""
    return made(tmp_path_factory.mktemp("strangers") / "secrets")


@pytest.fixture(scope="module")
def system(secrets: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with running(tmp_path_factory.mktemp("secured"), secured=secrets) as found:
        yield found


def passwords(secrets: Path) -> set[str]:
    """Give every password of a folder."""
    single = {path.read_text() for path in secrets.rglob("*.password")}
    return single | {
        line.partition(":")[2] for path in secrets.rglob("*.passwords") for line in path.read_text().splitlines()
    }


def shown_by_processes() -> str:
    """Give the command lines and environments of all that this test started, as anybody on the machine sees them."""
    shown = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            shown += [*process.cmdline(), *process.environ().values()]
    return "\n".join(shown)


def test_a_whole_run_goes_through_and_no_secret_is_seen(system: System, secrets: Path) -> None:
    cluster = system.cluster("--run", RUN, "--verbose", engine="onnx")
    bridge = system.start("bridge", "--run", RUN, "--kafka-client", "confluent", "--format", "json")
    gateway = system.start("gateway", "--run", RUN, "--kafka-client", "kafka-python", "--engine", "onnx")
    ledger = system.ledger(tiers="gateway,cluster")
    fleet = system.start(
        "fleet",
        *("--run", RUN, "--cameras", str(CAMERAS), "--frames", str(FRAMES), "--rate-hz", "20", "--processes", "2"),
        *("--drop-after-s", "60", "--wait-for", "bridge,gateway,cluster", "--wait-s", "120"),
    )
    eventually(lambda: "cameras connected" in system.said(fleet) or not fleet.running(), within_s=120)
    processes = shown_by_processes()
    summary = accounted(system, ledger, fleet, within_s=180)
    assert summary.verdict == "VALID", summary.reasons
    for child in (bridge, gateway, cluster):
        child.stop(within_s=30)
        assert child.exit_code == 0, system.said(child)
    assert printed(bridge)["frames"] == CAMERAS * FRAMES
    assert "kafka.Kafka" in processes
    assert str(secrets) in processes, "a name may be seen"
    written = [path for path in system.folder.rglob("*") if path.is_file()]
    assert {"bridge.log", "cluster.log", "server.properties", "broker.log"} <= {path.name for path in written}
    for secret in passwords(secrets):
        assert secret not in processes
        assert [path for path in written if secret.encode() in path.read_bytes()] == []


# --- refused, in one line -------------------------------------------------------------------------


def said(*arguments: str, secured: Path | None) -> str:
    """Run a command that must be refused at once; give its one line."""
    env = {name: value for name, value in os.environ.items() if name != security.VARIABLE}
    command = [sys.executable, "-m", "edgewise", *arguments, *(("--security", str(secured)) if secured else ())]
    found = subprocess.run(command, capture_output=True, text=True, env=env, check=False, timeout=90)
    *before, line = found.stderr.splitlines()
    assert (found.returncode, found.stdout) == (2, ""), found.stderr
    assert [one for one in before if not one.startswith("bridge: carrying ")] == []
    return line.removeprefix("edgewise: ")


def changed(secrets: Path, out: Path, *, part: str, strangers: Path, names: Sequence[str]) -> Path:
    """Give a copy of a part's secrets, some of which are a stranger's."""
    shutil.copytree(secrets / part, out)
    for name in names:
        shutil.copy(strangers / part / name, out / name)
    return out


def test_a_wrong_password_is_named_with_its_file(
    system: System, secrets: Path, strangers: Path, tmp_path: Path
) -> None:
    both = ("--mqtt", system.mqtt.address, "--kafka", system.kafka.address)
    for broker, name in ((system.mqtt, "mqtt.password"), (system.kafka, "kafka.password")):
        mine = changed(secrets, tmp_path / name, part="bridge", strangers=strangers, names=[name])
        who = "the MQTT broker" if broker is system.mqtt else "Kafka"
        assert said("bridge", *both, secured=mine) == (
            f"{who} at {broker.address} refused user 'bridge': it knows another password, or no such user; "
            f"ours is in {mine / name}"
        )


def test_an_authority_that_did_not_sign_is_named(
    system: System, secrets: Path, strangers: Path, tmp_path: Path
) -> None:
    mine = changed(secrets, tmp_path / "mine", part="viewer", strangers=strangers, names=["ca.pem"])
    line = said("lag", "--kafka", system.kafka.address, secured=mine)
    assert line.startswith(f"Kafka at {system.kafka.address} has a certificate that is not to be trusted (")
    assert line.endswith(f"; {mine / 'ca.pem'} is who should have signed it")
    with security.meanwhile(security.read(mine, part="viewer")), pytest.raises(RefusedError) as caught:
        opened(system)
    assert str(caught.value).startswith(f"MQTT broker at {system.mqtt.address} has a certificate that is not to be")


def test_who_reads_what_is_another_s_is_told_its_topic(system: System, secrets: Path) -> None:
    both = ("--mqtt", system.mqtt.address, "--kafka", system.kafka.address)
    assert said("bridge", *both, secured=secrets / "gateway") == (
        f"the MQTT broker at {system.mqtt.address} does not let user 'gateway' be a bridge "
        "(topic parts/bridge/bridge/status); its ACL says who may"
    )


def test_a_camera_that_nobody_made_a_user_of_is_named(system: System, secrets: Path) -> None:
    both = ("--mqtt", system.mqtt.address, "--kafka", system.kafka.address)
    names = ("--run", "strange", "--name", "stranger", "--wait-for", "")
    found = subprocess.run(
        [sys.executable, "-m", "edgewise", "fleet", *both, *names, "--security", str(secrets)],
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    assert found.returncode == 2
    assert found.stderr.splitlines()[-1].startswith("edgewise: camera 'stranger-0' has no password in ")


def opened(system: System, name: str = "") -> Connection:
    """Open a connection as whoever is in force."""
    hello = mqtt5.ConnectPacket(name, clean_start=True, keep_alive=30, **login())
    return Connection(system.mqtt.address, hello=hello, clock=SystemClock())


def test_who_comes_plainly_is_told_of_the_option(system: System) -> None:
    with pytest.raises(UnreachableError, match=r"if it wants TLS: --security"):
        opened(system)
    for client in CLIENTS:
        with pytest.raises(UnreachableError, match=r"it speaks TLS; say which certificates with --security"):
            kafka.producer(system.kafka.address, client=client)


def test_who_speaks_tls_to_a_plain_broker_is_told(mqtt: Broker, secrets: Path) -> None:
    with security.meanwhile(security.read(secrets, part="bridge")):
        hello = mqtt5.ConnectPacket("", clean_start=True, **login())
        with pytest.raises(UnreachableError) as caught:
            Connection(mqtt.address, hello=hello, clock=SystemClock())
    assert str(caught.value).startswith(f"MQTT broker does not answer at {mqtt.address}; it speaks no TLS there (")


@pytest.mark.parametrize("client", CLIENTS)
def test_both_clients_say_the_same_of_wrong_secrets(
    client: Client, system: System, secrets: Path, strangers: Path, tmp_path: Path
) -> None:
    for name, why in (("kafka.password", "refused user 'bridge'"), ("ca.pem", "not to be trusted")):
        mine = changed(secrets, tmp_path / name, part="bridge", strangers=strangers, names=[name])
        with security.meanwhile(security.read(mine, part="bridge")), pytest.raises(RefusedError, match=why):
            kafka.producer(system.kafka.address, client=client)


# --- what a user may not do -----------------------------------------------------------------------


def camera(secrets: Path, tmp_path: Path, *, number: int) -> Profile:
    """Give a profile with one camera's credentials alone, for both brokers."""
    lines = (secrets / "fleet" / "cameras.passwords").read_text().splitlines()
    name, _, password = lines[number].partition(":")
    (tmp_path / name).write_text(password)
    ca = secrets / "fleet" / "ca.pem"
    named = {"ca": ca, "user": name, "password_file": tmp_path / name}
    return Profile(mqtt=MqttAccess.model_validate(named), kafka=Access.model_validate(named))


def test_a_camera_publishes_its_own_frames_and_no_other_s(system: System, secrets: Path, tmp_path: Path) -> None:
    with security.meanwhile(camera(secrets, tmp_path, number=0)):
        mine = connected(MqttOutbox(system.mqtt.address, camera="camera-0", window=1, clock=SystemClock(), run="own"))
        other = connected(
            MqttOutbox(system.mqtt.address, camera="camera-1", window=1, clock=SystemClock(), run="foreign")
        )
        with closing(mine), closing(other):
            mine.send(0, b"mine")
            assert eventually(mine.receive, within_s=10)[0][1] in {Answer.CONFIRMED, Answer.UNHEARD}
            other.send(0, b"another's")
            assert eventually(other.receive, within_s=10) == [(0, Answer.REFUSED)]
            assert "does not let user 'camera-0' publish to cameras/camera-1/frames" in str(other.trouble)


@pytest.mark.parametrize("part", ["fleet", "bridge", "gateway", "viewer"])
def test_a_part_is_no_camera(part: str, system: System, secrets: Path) -> None:
    with security.meanwhile(security.read(secrets, part=part)), closing(opened(system)) as mine:
        for number, topic in enumerate((f"cameras/{part}/frames", f"cameras/{part}/status", "cameras/x/frames"), 1):
            mine.send(mqtt5.PublishPacket(topic, b"x", qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=number).write())
        reasons: list[mqtt5.PubAckReasonCode] = []

        def all_said() -> bool:
            mine.wait(wait_s=0.1)
            reasons.extend(one.reason_code for one in mine.receive() if isinstance(one, mqtt5.PubAckPacket))
            return len(reasons) == 3

        eventually(all_said, within_s=10)
        assert reasons == [mqtt5.PubAckReasonCode.NOT_AUTHORIZED] * 3


def test_a_camera_hears_no_frames(system: System, secrets: Path, tmp_path: Path) -> None:
    subscription = Subscription(part="bridge", client_id="listener")
    with security.meanwhile(security.read(secrets, part="bridge")):
        reader = MqttInbox(system.mqtt.address, subscription=subscription, clock=SystemClock(), say=print)
        eventually(lambda: reader.take(limit=1, wait_s=0.1) or reader._under_way is not None, within_s=5)  # noqa: SLF001
    with security.meanwhile(camera(secrets, tmp_path, number=0)), closing(opened(system, "eavesdropper")) as spy:
        spy.send(mqtt5.SubscribePacket(1, [mqtt5.TopicFilter(ALL_FRAMES)]).write())
        eventually(lambda: heard(spy, mqtt5.SubAckPacket), within_s=10)
        with security.meanwhile(security.read(secrets, part="fleet")):
            sender = connected(
                MqttOutbox(system.mqtt.address, camera="camera-1", window=1, clock=SystemClock(), run="heard")
            )
        sender.send(0, b"for the bridge")
        eventually(
            lambda: [one for one in reader.take(limit=9, wait_s=0.1) if one.wire == b"for the bridge"], within_s=10
        )
        spy.send(mqtt5.PingReqPacket().write())
        # Packets come in their order: what was for it would have come before this.
        kinds = eventually(lambda: heard(spy, mqtt5.PingRespPacket), within_s=10)
        assert mqtt5.PublishPacket not in kinds
        sender.close()
        reader.close(end_session=True)


def heard(connection: Connection, wanted: type) -> list[type]:
    """Give the kinds of the packets that have come, once the wanted one is among them."""
    connection.wait(wait_s=0.1)
    kinds = [type(packet) for packet in connection.receive()]
    return kinds if wanted in kinds else []


@pytest.mark.parametrize("client", CLIENTS)
def test_a_camera_is_no_user_of_kafka(client: Client, system: System, secrets: Path, tmp_path: Path) -> None:
    with security.meanwhile(camera(secrets, tmp_path, number=0)), pytest.raises(RefusedError, match="'camera-0'"):
        kafka.producer(system.kafka.address, client=client)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    ("part", "topic"), [("fleet", topics.RESULTS), ("fleet", topics.FRAMES), ("ledger", topics.RESULTS)]
)
def test_a_part_writes_no_topic_but_its_own(
    client: Client, part: str, topic: str, system: System, secrets: Path
) -> None:
    with security.meanwhile(security.read(secrets, part=part)):
        writer = kafka.producer(system.kafka.address, client=client)
        writer.send(topic, key="a", value=b"not mine to write", receipt=1)
        with pytest.raises(RefusedError, match=f"does not let user '{part}' do this"):
            eventually(lambda: writer.stored(wait_s=0.1), within_s=30)
        writer.abandon()


@pytest.mark.parametrize("client", CLIENTS)
def test_a_fleet_reads_no_frames(client: Client, system: System, secrets: Path) -> None:
    def read() -> None:
        with closing(kafka.consumer(system.kafka.address, topics=[topics.FRAMES], client=client)) as reader:
            eventually(lambda: reader.take(limit=1, wait_s=0.1), within_s=30)

    with security.meanwhile(security.read(secrets, part="fleet")), pytest.raises(RefusedError, match="user 'fleet'"):
        read()


def test_a_part_makes_no_topics(system: System, secrets: Path) -> None:
    with (
        security.meanwhile(security.read(secrets, part="bridge")),
        topics.administration(system.kafka.address) as admin,
        pytest.raises(TopicAuthorizationFailedError),
    ):
        admin.create_topics([NewTopic("mine", 1, 1)])


def test_a_right_that_a_part_should_not_have_is_taken_away_when_it_is_admitted_again(
    system: System, secrets: Path
) -> None:
    pattern = ResourcePattern(ResourceType.TOPIC, topics.RESULTS)
    beyond = ACL("User:fleet", "*", ACLOperation.WRITE, ACLPermissionType.ALLOW, pattern)
    with (
        security.meanwhile(security.read(secrets, part="admin")),
        topics.administration(system.kafka.address) as admin,
    ):
        before = admin.describe_acls(EVERY_ACL)[0]
        assert before
        admin.create_acls([beyond])
        assert beyond in admin.describe_acls(EVERY_ACL)[0]
        admission.admit(system.kafka.address, secrets)
        assert set(admin.describe_acls(EVERY_ACL)[0]) == set(before)


def test_a_fleet_s_camera_that_may_not_publish_is_called_by_its_own_name(system: System, secrets: Path) -> None:
    with security.meanwhile(security.read(secrets, part="fleet")):
        sender = connected(
            MqttOutbox(system.mqtt.address, camera="camera-3", window=1, clock=SystemClock(), run="named")
        )
        sender.publish("cameras/camera-2/frames", 0, b"another's", answered=True)
        with closing(sender):
            assert eventually(sender.receive, within_s=10) == [(0, Answer.REFUSED)]
        assert "'camera-3' publish to cameras/camera-2/frames" in str(sender.trouble)


def test_a_camera_that_may_not_publish_stops_no_other_and_is_named_at_the_end(
    system: System, secrets: Path, tmp_path: Path
) -> None:
    mine = camera(secrets, tmp_path, number=0).model_copy(update={"kafka": security.read(secrets, part="fleet").kafka})
    told = FleetSettings(
        mqtt=system.mqtt.address,
        kafka=system.kafka.address,
        run="half",
        groups=(Group(cameras=2, frames=5),),
        wait_for=(),
    )
    with security.meanwhile(mine):
        fleet = Fleet(told, clock=SystemClock())
        fleet.run(done=lambda: False, tell=lambda _: None)
        found = fleet.close().whole
    assert (found["sent"], found["refused"]) == (10, 5)
    assert isinstance(fleet.trouble, ConfigError)
    assert str(fleet.trouble).startswith("1 of 2 cameras were kept from sending: the MQTT broker at ")
    assert "does not let user 'camera-0' publish to cameras/camera-1/frames" in str(fleet.trouble)


# --- TLS itself -----------------------------------------------------------------------------------


def test_large_frames_come_whole_in_both_directions(system: System, secrets: Path) -> None:
    with security.meanwhile(security.read(secrets, part="bridge")):
        subscription = Subscription(part="bridge", client_id="large")
        reader = MqttInbox(system.mqtt.address, subscription=subscription, clock=SystemClock(), say=print)
    with security.meanwhile(security.read(secrets, part="fleet")):
        sender = connected(
            MqttOutbox(system.mqtt.address, camera="camera-2", window=12, clock=SystemClock(), run="large")
        )
    frames = [bytes([number]) * LARGE_BYTES for number in range(12)]
    reader.take(limit=1, wait_s=0.5)  # it is subscribed now
    for number, frame in enumerate(frames):
        sender.send(number, frame)
    came: list[bytes] = []
    answers: list[tuple[int, Answer]] = []

    def whole() -> bool:
        answers.extend(sender.receive())
        arrivals = reader.take(limit=3, wait_s=0.05)
        came.extend(arrival.wire for arrival in arrivals if arrival.camera == "camera-2")
        reader.finish([arrival.receipt for arrival in arrivals])
        return len(came) == len(frames) == len(answers)

    eventually(whole, within_s=60)
    assert came == frames
    assert {answer for _, answer in answers} == {Answer.CONFIRMED}
    sender.close()
    reader.close(end_session=True)
