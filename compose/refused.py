"""Whether every port that a secured composition listens on asks who comes, and what a camera's password opens.

Run by ``try.sh`` inside the image, as a fleet, whose secrets are its cameras'. On stdin, from each container, stand the
lines of its /proc/net/tcp and tcp6 behind the name of its service. Of a composition without users it says what is open.
"""

import ipaddress
import json
import socket
import ssl
import struct
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import mqtt5

from edgewise import kafka, security, topics
from edgewise.clock import Deadline, SystemClock
from edgewise.errors import EdgewiseError, RefusedError
from edgewise.mqtt.access import NOT_LET_IN, login
from edgewise.mqtt.connection import Connection, LostError
from edgewise.mqtt.presence import camera_status, last_will, part_status
from edgewise.security import Access, MqttAccess, Profile

SECRETS = Path("/secrets")
LISTENS, ALERT = "0A", 21
ANSWER_S = 3.0
# Kinds of Kafka's requests.
METADATA, SASL_HANDSHAKE, API_VERSIONS = 3, 17, 18
MQTT, KAFKA = "mosquitto:1883", "kafka:9092"
STRANGER = mqtt5.ConnectPacket("", clean_start=True).write()
NONE_KEPT = mqtt5.RetainHandling.SEND_NEVER
MECHANISM = b"SCRAM-SHA-512"


def listeners(lines: Iterable[str]) -> list[tuple[str, int]]:
    """Give the services and ports that can be reached from another container."""
    found = set()
    for line in lines:
        service, _, rest = line.partition(" ")
        fields = rest.split()
        if fields[3:4] != [LISTENS]:
            continue
        hexed, _, port = fields[1].partition(":")
        words = bytes.fromhex(hexed)  # each four bytes of it stand the wrong way round
        address = ipaddress.ip_address(b"".join(words[at : at + 4][::-1] for at in range(0, len(words), 4)))
        within = getattr(address, "ipv4_mapped", None) or address
        if not within.is_loopback:
            found.add((service, int(port, 16)))
    return sorted(found)


def asked(kind: int, *, version: int, body: bytes = b"") -> bytes:
    """Write a request of Kafka's."""
    client = b"stranger"
    whole = struct.pack(f">hhih{len(client)}s", kind, version, 1, len(client), client) + body
    return struct.pack(">i", len(whole)) + whole


def answer(connection: socket.socket, greeting: bytes) -> bytes:
    """Give what is said to a greeting; nothing if nothing is."""
    with connection, suppress(OSError):
        connection.settimeout(ANSWER_S)
        connection.sendall(greeting)
        return connection.recv(4096)
    return b""


def let_in(service: str, port: int, context: ssl.SSLContext) -> str:
    """Say how somebody without a name gets further at a port than to be asked for it; empty if not at all."""

    def plainly() -> socket.socket:
        return socket.create_connection((service, port), ANSWER_S)

    def over_tls() -> socket.socket:
        return context.wrap_socket(plainly(), server_hostname=service)

    every = asked(METADATA, version=1, body=struct.pack(">i", -1))
    greetings = {
        "MQTT": STRANGER,
        "Kafka": every,
        "Kafka's versions": asked(API_VERSIONS, version=0),
        "HTTP": b"GET / HTTP/1.0\r\n\r\n",
    }
    for name, greeting in greetings.items():
        said = answer(plainly(), greeting)
        if said and said[0] != ALERT:
            return f"it speaks without TLS ({name})"
    try:
        said = answer(over_tls(), STRANGER)
        if said:
            packet, _ = mqtt5.read(said)
            if isinstance(packet, mqtt5.ConnAckPacket) and packet.reason_code in NOT_LET_IN:
                return ""
            return "MQTT, without a name"
        if answer(over_tls(), every):
            return "Kafka, without a name"
        handshake = asked(SASL_HANDSHAKE, version=1, body=struct.pack(">h5s", 5, b"PLAIN"))
        return "" if MECHANISM in answer(over_tls(), handshake) else "nothing that asks for a name"
    except OSError as error:
        return f"no TLS that can be trusted ({error})"


def camera(number: int, folder: Path) -> Profile:
    """Give the profile of one camera, which has its own password and no other."""
    mine = security.read(SECRETS, part="fleet").mqtt
    if mine is None or mine.cameras_file is None:
        raise SystemExit("try: the fleet has no cameras with passwords")
    name, _, password = mine.cameras_file.read_text().splitlines()[number].partition(":")
    (folder / name).write_text(password)
    named = {"ca": mine.ca, "user": name, "password_file": folder / name}
    return Profile(mqtt=MqttAccess.model_validate(named), kafka=Access.model_validate(named))


def opened(profile: Profile, *, will: str | None = None) -> Connection:
    """Connect to the MQTT broker as this one."""
    with security.meanwhile(profile):
        last = None if will is None else last_will(will)
        hello = mqtt5.ConnectPacket("", clean_start=True, keep_alive=30, will=last, **login())
        return Connection(MQTT, hello=hello, clock=SystemClock())


def heard(connection: Connection, until: type[mqtt5.Packet]) -> list[mqtt5.Packet]:
    """Give what comes, up to a packet of this kind."""
    deadline, came = Deadline(SystemClock(), within_s=10), list[mqtt5.Packet]()
    while not any(isinstance(packet, until) for packet in came):
        if deadline.passed():
            raise SystemExit(f"try: the MQTT broker gave no {until.__name__}")
        connection.wait(wait_s=0.2)
        came += connection.receive()
    return came


def publishes(connection: Connection, topic: str) -> bool:
    """Say whether the broker lets it."""
    connection.send(mqtt5.PublishPacket(topic, b"x", qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=1).write())
    (said,) = (packet for packet in heard(connection, mqtt5.PubAckPacket) if isinstance(packet, mqtt5.PubAckPacket))
    return said.reason_code != mqtt5.PubAckReasonCode.NOT_AUTHORIZED


def of_mqtt(first: Profile, second: Profile, names: tuple[str, str]) -> Iterator[tuple[str, bool]]:
    """Try what a camera may not, as the first of two; give each with whether it could."""
    mine, other = (f"cameras/{name}/frames" for name in names)
    with closing(opened(first)) as spy, closing(opened(second)) as sender:
        if not publishes(spy, mine):
            raise SystemExit(f"try: camera {names[0]} may not publish its own frames: nothing is proven")
        yield f"publish as {names[1]}", publishes(spy, other)
        yield "publish its status", publishes(spy, camera_status(names[1]))
        yield "say that it is a bridge", publishes(spy, part_status("bridge", "bridge"))
        filters = [mqtt5.TopicFilter(one) for one in ("#", "cameras/+/frames", "$share/spies/cameras/+/frames")]
        spy.send(mqtt5.SubscribePacket(2, filters).write())
        before = heard(spy, mqtt5.SubAckPacket)
        if not publishes(sender, other):
            raise SystemExit(f"try: camera {names[1]} may not publish its own frames: nothing is proven")
        spy.send(mqtt5.PingReqPacket().write())
        # Packets come in their order: what was for it would have come before this.
        came = before + heard(spy, mqtt5.PingRespPacket)
        yield "read frames", any(isinstance(packet, mqtt5.PublishPacket) for packet in came)
    yield "leave a last will as a bridge", _dies_as(first, part_status("bridge", "bridge"))


def _dies_as(profile: Profile, topic: str) -> bool:
    """Say whether a last will on another's topic comes to those who may hear it."""
    fleet = security.read(SECRETS, part="fleet")
    with closing(opened(fleet)) as listener:
        listener.send(mqtt5.SubscribePacket(2, [mqtt5.TopicFilter("parts/#", retain_handling=NONE_KEPT)]).write())
        heard(listener, mqtt5.SubAckPacket)
        try:
            opened(profile, will=topic).abandon()
        except (EdgewiseError, LostError):
            return False
        deadline = Deadline(SystemClock(), within_s=ANSWER_S)
        while not deadline.passed():
            listener.wait(wait_s=0.2)
            if any(isinstance(packet, mqtt5.PublishPacket) and packet.topic == topic for packet in listener.receive()):
                return True
    return False


def refused(profile: Profile, attempt: Callable[[], object]) -> bool:
    """Say whether Kafka does not let this one; whatever else keeps it off proves nothing."""
    with security.meanwhile(profile):
        try:
            attempt()
        except RefusedError:
            return True
    return False


def writes_results() -> None:
    """Write a result."""
    writer = kafka.producer(KAFKA)
    writer.send(topics.RESULTS, key="a", value=b"x", receipt=1)
    deadline = Deadline(SystemClock(), within_s=20)
    while not writer.stored(wait_s=1):
        if deadline.passed():
            raise SystemExit("try: Kafka neither took a result nor refused it")


def reads_frames() -> None:
    """Read a frame; there are some."""
    deadline = Deadline(SystemClock(), within_s=20)
    with closing(kafka.consumer(KAFKA, topics=[topics.FRAMES])) as reader:
        while not reader.take(limit=1, wait_s=1):
            if deadline.passed():
                raise SystemExit("try: Kafka neither gave a frame nor refused it")


def main() -> int:
    """Print what was tried; 1 if anything was let in."""
    open_to_all = []
    context = ssl.create_default_context(cafile=SECRETS / "ca.pem" if SECRETS.exists() else None)
    found = listeners(sys.stdin)
    for service, port in found:
        how = let_in(service, port, context)
        sys.stdout.write(f"try: {service}:{port} {f'IS OPEN: {how}' if how else 'asks who comes'}\n")
        open_to_all += [how] if how else []
    if not {("mosquitto", 1883), ("kafka", 9092)} <= set(found):
        raise SystemExit(f"try: the brokers are not among those who listen: {json.dumps(found)}")
    if open_to_all:
        return 1
    with tempfile.TemporaryDirectory() as scratch:
        first, second = (camera(number, Path(scratch)) for number in (0, 1))
        users = [profile.mqtt.user if profile.mqtt else "" for profile in (first, second)]
        could = dict(of_mqtt(first, second, (users[0], users[1])))
        fleet = security.read(SECRETS, part="fleet")
        for who, profile in ((users[0], first), ("fleet", fleet)):
            could[f"read frames of Kafka as {who}"] = not refused(profile, reads_frames)
            could[f"write results as {who}"] = not refused(profile, writes_results)
    for what, done in could.items():
        sys.stdout.write(f"try: a camera {'CAN' if done else 'cannot'} {what}\n")
    return int(any(could.values()))


if __name__ == "__main__":
    sys.exit(main())
