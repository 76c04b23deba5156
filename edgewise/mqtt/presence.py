"""Who is there: retained status messages, turned to offline by the last will of whoever vanishes."""

from collections.abc import Collection
from contextlib import closing
from typing import Final

import mqtt5

from edgewise.clock import Clock, Deadline
from edgewise.errors import UnreachableError
from edgewise.mqtt.access import login
from edgewise.mqtt.connection import KEEP_ALIVE_S, Connection, greeting

ONLINE: Final = b"online"
OFFLINE: Final = b"offline"


def camera_status(camera: str) -> str:
    """Name the topic of a camera's status."""
    return f"cameras/{camera}/status"


def part_status(part: str, name: str) -> str:
    """Name the topic of a bridge's or gateway's status."""
    return f"parts/{part}/{name}/status"


def last_will(topic: str) -> mqtt5.Will:
    """Write what the broker says when the connection breaks."""
    return mqtt5.Will(topic, payload=OFFLINE, qos=mqtt5.QoS.AT_LEAST_ONCE, retain=True)


def status(topic: str, *, online: bool, packet_id: int | None = None) -> bytes:
    """Write the status message itself; with a packet's id the broker says whether it took it."""
    qos = mqtt5.QoS.AT_MOST_ONCE if packet_id is None else mqtt5.QoS.AT_LEAST_ONCE
    payload = ONLINE if online else OFFLINE
    return mqtt5.PublishPacket(topic, payload, qos=qos, packet_id=packet_id, retain=True).write()


def await_parts(address: str, *, parts: Collection[str], clock: Clock, within_s: float) -> None:
    """Return when each of these parts has reported its subscription.

    Raises:
        UnreachableError: one has not, in time.
    """
    missing = set(parts)
    if not missing:
        return
    hello = mqtt5.ConnectPacket("", clean_start=True, keep_alive=KEEP_ALIVE_S, **login())
    connection = Connection(address, hello=hello, clock=clock)
    deadline = Deadline(clock, within_s=within_s)
    with greeting(address), closing(connection):
        filters = [mqtt5.TopicFilter(part_status(part, "+")) for part in sorted(missing)]
        connection.send(mqtt5.SubscribePacket(1, filters).write())
        while missing and not deadline.passed():
            connection.wait(wait_s=min(0.5, deadline.left_s()))
            for packet in connection.receive():
                if isinstance(packet, mqtt5.PublishPacket) and packet.payload == ONLINE:
                    missing.discard(packet.topic.split("/")[1])
    for part in sorted(missing):
        raise UnreachableError(
            f"a {part}",
            at=address,
            hint=f"frames would have no reader; start it with: edgewise {part} (--wait-for names who is waited for)",
        )
