"""One measurement a process: ``python -m tests.benchmarks.cases CASE MQTT KAFKA FRAMES`` prints JSON.

Every case finds the same work waiting for it and measures only that work: CPU seconds of
its process, wall seconds from its first frame to its last, nothing of its start.
"""

import json
import os
import resource
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from brokers.bridge.run import Bridge, BridgeSettings
from edgewise import dataset, kafka, topics
from edgewise.clock import SECOND_NS, SystemClock
from edgewise.endpoint import Place, Told, serving
from edgewise.kafka import Client
from edgewise.messages import Codec, Frame, encode_frame
from edgewise.meter import Meter
from edgewise.mqtt.outbox import MqttOutbox
from edgewise.options import METRICS_PORT
from edgewise.parts import Stop, say
from producers.fleet.connecting import connect

if TYPE_CHECKING:
    from models.engine import Engine

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
    connect([outbox], address=mqtt, clock=CLOCK, ramp_hz=1)
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
    with scraped("bridge") as (told, meter):
        bridge = Bridge(settings, clock=CLOCK, meter=meter)
        told.by(bridge.readings)
        watch = Watch()
        bridge.run(done=lambda: bridge.frames >= frames)
        return watch.cost(frames)


def scraped(part: str) -> AbstractContextManager[tuple[Told, Meter]]:
    """Serve a part's metrics where the environment says, if it says so."""
    return serving(Place(port=int(os.environ.get(METRICS_PORT, "0"))), part)


class Instant:
    """An engine that answers at once, so that what is measured is all that is not the engine."""

    name, identity, shape = "none", "none@000000000000", (32, 32, 3)

    def classify(self, images: Any) -> tuple[Any, Any]:  # noqa: ANN401 - arrays
        """See ``models.engine.Engine``."""
        return np.zeros(len(images), dtype=np.int64), np.ones(len(images), dtype=np.float32)


def _instant_gateway(mqtt: str, kafka_address: str, *, client_id: str, until: Callable[[int], bool]) -> Watch:
    """Run a gateway with such an engine until enough is finished; give the time since it began."""
    from consumers.gateway.run import Gateway
    from consumers.gateway.settings import GatewaySettings

    settings = GatewaySettings(mqtt=mqtt, kafka=kafka_address, client_id=client_id, end_session=True)
    with scraped("gateway") as (told, meter):
        part = Gateway(settings, clock=CLOCK, engine=Instant(), meter=meter)
        told.by(part.readings)
        watch = Watch()
        part.run(done=lambda: until(part.finished))
        return watch


def instant_gateway(mqtt: str, kafka_address: str, frames: int) -> dict[str, float]:
    """A gateway without an engine, over frames that wait in its session."""
    watch = _instant_gateway(mqtt, kafka_address, client_id="bench-gateway", until=lambda done: done >= frames)
    return watch.cost(frames)


def endless_gateway(mqtt: str, kafka_address: str, _: int) -> dict[str, float]:
    """The same until it is asked to stop, over frames that come."""
    stop = Stop()
    stop.holding = True
    _instant_gateway(mqtt, kafka_address, client_id="bench-endless", until=lambda _: stop.asked)
    return {}


def gateway(mqtt: str, kafka_address: str, frames: int) -> dict[str, float]:
    """The gateway on the cores this process may use, beside the bare engine on the same ones, before and after."""
    from models.engine import load

    engine = load("keras", model="resnet20", threads=len(os.sched_getaffinity(0)))
    before = bare_rate_hz(engine.classify)
    cost = _gateway(mqtt, kafka_address, frames, engine)
    after = bare_rate_hz(engine.classify)
    return cost | {"bare_rate_hz": max(before, after)}


def gateway_onnx(mqtt: str, kafka_address: str, frames: int) -> dict[str, float]:
    """The gateway with its fast engine, and nothing beside it."""
    from models.engine import load

    return _gateway(mqtt, kafka_address, frames, load("onnx", model="resnet20", threads=len(os.sched_getaffinity(0))))


def _gateway(mqtt: str, kafka_address: str, frames: int, engine: "Engine") -> dict[str, float]:
    """A gateway, over frames that wait in its session."""
    from consumers.gateway.run import Gateway
    from consumers.gateway.settings import GatewaySettings

    settings = GatewaySettings(
        mqtt=mqtt, kafka=kafka_address, client_id="bench-gateway", threads=len(os.sched_getaffinity(0))
    )
    part = Gateway(settings, clock=CLOCK, engine=engine)
    watch = Watch()
    part.run(done=lambda: part.finished >= frames)
    return watch.cost(frames)


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
    "gateway, instant": instant_gateway,
    "gateway, endless": endless_gateway,
    "gateway, onnx": gateway_onnx,
}

if __name__ == "__main__":
    case, mqtt_address, kafka_address, frames = sys.argv[1:]
    sys.stdout.write(json.dumps(CASES[case](mqtt_address, kafka_address, int(frames))) + "\n")
