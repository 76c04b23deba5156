"""One measurement a process: ``python -m tests.benchmarks.cases CASE MQTT KAFKA FRAMES`` prints JSON.

Every case finds the same work waiting for it and measures only that work: CPU seconds of
its process, wall seconds from its first frame to its last, nothing of its start.
"""

import json
import os
import resource
import sys
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from brokers.bridge.run import Bridge, BridgeSettings
from edgewise import dataset, kafka, topics
from edgewise.clock import SECOND_NS, SystemClock
from edgewise.kafka import Client
from edgewise.messages import Codec, Frame, encode_frame
from edgewise.mqtt.outbox import MqttOutbox
from edgewise.parts import say

CLOCK: Final = SystemClock()
BATCHES: Final = (16, 32, 64, 128)
BARE_IMAGES: Final = 2560
WINDOW: Final = 1000


def cpu_s() -> float:
    """CPU seconds of this process, all threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


class Watch:
    """CPU and wall seconds since it was made."""

    def __init__(self) -> None:
        self._cpu_s, self._ns = cpu_s(), CLOCK.ticks_ns()

    def cost(self, frames: int) -> dict[str, float]:
        """Give them for one frame, in microseconds, and the rate."""
        wall_s = (CLOCK.ticks_ns() - self._ns) / SECOND_NS
        return {"cpu_us": (cpu_s() - self._cpu_s) / frames * 1e6, "rate_hz": frames / wall_s}


def wire(number: int, images: Any, *, camera: str = "bench-0") -> bytes:  # noqa: ANN401 - a memory map
    """Encode one raw test image as a frame."""
    image = number % len(images)
    frame = Frame(
        run="bench",
        camera=camera,
        number=number,
        dataset="cifar10",
        split="test",
        image=image,
        width=32,
        height=32,
        codec=Codec.RAW,
        due_ns=CLOCK.now_ns(),
        sent_ns=CLOCK.now_ns(),
        payload=images[image].tobytes(),
    )
    return encode_frame(frame)


def publish(mqtt: str, _: str, frames: int) -> dict[str, float]:
    """Fill the sessions that are subscribed; our own publisher's cost beside."""
    images = dataset.load("test", say=say).images
    wires = [wire(number, images) for number in range(frames)]
    outbox = MqttOutbox(mqtt, camera="bench-0", window=WINDOW, clock=CLOCK)
    watch, answered = Watch(), 0
    for number, content in enumerate(wires):
        while not outbox.free():
            answered += _answers(outbox)
        outbox.send(number, content)
    while answered < frames:
        answered += _answers(outbox)
    cost = watch.cost(frames)
    outbox.close()
    return cost


def _answers(outbox: MqttOutbox) -> int:
    if outbox.connection is not None:
        outbox.connection.wait(wait_s=0.1)
    return len(outbox.receive())


def paho_subscribe(mqtt: str, _: str, frames: int) -> dict[str, float]:
    """Bare paho-mqtt: receive and acknowledge, nothing else."""
    import paho.mqtt.client as paho
    from paho.mqtt.enums import CallbackAPIVersion
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties

    left = frames

    def taken(client: paho.Client, _userdata: object, _message: paho.MQTTMessage) -> None:
        nonlocal left
        left -= 1
        if not left:
            client.disconnect()

    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="bench-paho", protocol=paho.MQTTv5)
    client.on_message = taken
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = 3600
    properties.ReceiveMaximum = WINDOW
    host, port = mqtt.split(":")
    watch = Watch()
    client.connect(host, int(port), clean_start=False, properties=properties)
    client.loop_forever()
    return watch.cost(frames)


def _produce(kafka_address: str, frames: int, client: Client) -> dict[str, float]:
    """Bare produce: acks=all, idempotent, the bridge's settings."""
    images = dataset.load("test", say=say).images
    wires = [wire(number, images) for number in range(frames)]
    producer = kafka.producer(kafka_address, client=client)
    watch, stored = Watch(), 0
    for number, content in enumerate(wires):
        producer.send(topics.FRAMES, key="bench-0", value=content, receipt=number)
        stored += len(producer.stored())
    while stored < frames:
        stored += len(producer.stored(wait_s=0.1))
    return watch.cost(frames)


def _bridge(mqtt: str, kafka_address: str, frames: int, client: Client) -> dict[str, float]:
    """The bridge, over frames that wait in its session."""
    settings = BridgeSettings(
        mqtt=mqtt, kafka=kafka_address, kafka_client=client, client_id=f"bench-bridge-{client.value}", window=WINDOW
    )
    bridge = Bridge(settings, clock=CLOCK)
    watch = Watch()
    bridge.run(done=lambda: bridge.frames >= frames)
    return watch.cost(frames)


def gateway(mqtt: str, kafka_address: str, frames: int) -> dict[str, float]:
    """The gateway on the cores this process may use, beside the bare engine on the same ones, before and after."""
    from consumers.gateway.run import Gateway, GatewaySettings
    from models.engine import load

    threads = len(os.sched_getaffinity(0))
    engine = load("keras", model="resnet20", threads=threads)
    before = bare_rate_hz(engine.classify)
    settings = GatewaySettings(mqtt=mqtt, kafka=kafka_address, client_id="bench-gateway", threads=threads)
    part = Gateway(settings, clock=CLOCK, engine=engine)
    watch = Watch()
    part.run(done=lambda: part.finished >= frames)
    cost = watch.cost(frames)
    after = bare_rate_hz(engine.classify)
    return cost | {"bare_rate_hz": max(before, after)}


def bare_rate_hz(classify: Callable[[Any], Any]) -> float:
    """Give the engine's best rate over batch sizes."""
    images = np.array(dataset.load("test", say=say).images[:BARE_IMAGES])
    best = 0.0
    for batch in BATCHES:
        classify(images[:batch])
        watch = Watch()
        for first in range(0, BARE_IMAGES, batch):
            classify(images[first : first + batch])
        best = max(best, watch.cost(BARE_IMAGES)["rate_hz"])
    return best


CASES: Final[dict[str, Callable[[str, str, int], dict[str, float]]]] = {
    "publish": publish,
    "paho subscribe": paho_subscribe,
    "produce, confluent": lambda _, log, frames: _produce(log, frames, Client.CONFLUENT),
    "produce, kafka-python": lambda _, log, frames: _produce(log, frames, Client.PYTHON),
    "bridge, confluent": lambda mqtt, log, frames: _bridge(mqtt, log, frames, Client.CONFLUENT),
    "bridge, kafka-python": lambda mqtt, log, frames: _bridge(mqtt, log, frames, Client.PYTHON),
    "gateway": gateway,
}

if __name__ == "__main__":
    case, mqtt_address, kafka_address, frames = sys.argv[1:]
    sys.stdout.write(json.dumps(CASES[case](mqtt_address, kafka_address, int(frames))) + "\n")
