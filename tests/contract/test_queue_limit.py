"""A mosquitto that may queue only so much, as in a container: who is away loses the newest frames, others none."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from brokers.broker import Broker
from brokers.mqtt import mosquitto
from brokers.mqtt.mosquitto import Mosquitto
from compare.doctor.mqtt_session import Session, end_session
from edgewise.addresses import Address
from tests.unit.test_compose import FOLDER, told

pytestmark = [pytest.mark.brokers, pytest.mark.timeout(120)]

FRAME = bytes(3_072)
KEPT = 100
TOPIC = "cameras/queue/frames"
EXPIRY_S = 600
TOLD = {
    name: told((FOLDER / name).read_text())["max_queued_messages"].pop()
    for name in ("mosquitto.conf", "mosquitto.secure.conf")
}


class Bounded(Mosquitto):
    """The kit's own, with a container's limit, scaled down."""

    def __init__(self, messages: str) -> None:
        super().__init__()
        self._messages = messages

    def command(self, data: Path, *, port: int) -> list[str]:
        """See Recipe."""
        *program, settings = super().command(data, port=port)
        own = Path(settings).read_text()
        here = own.replace(mosquitto.ALL_QUEUED, f"max_queued_messages {self._messages}")
        Path(settings).write_text(f"{here}max_queued_bytes {KEPT * len(FRAME)}\n")
        return [*program, settings]


@pytest.fixture(params=list(TOLD.values()), ids=list(TOLD))
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    found = Broker(Bounded(request.param), data=tmp_path)
    found.start()
    yield found
    found.stop()


def numbered(frames: int, *, first: int = 0) -> list[bytes]:
    return [number.to_bytes(4, "big") + FRAME for number in range(first, first + frames)]


def test_a_full_queue_loses_the_newest_frames_of_its_own_reader_and_then_goes_on(broker: Broker) -> None:
    at = Address("127.0.0.1", broker.port)
    away = Session(at, client_id="away", clean_start=False, expiry_s=EXPIRY_S)
    away.subscribe(TOPIC)
    away.leave()
    with Session(at, client_id="camera") as camera, Session(at, client_id="there") as there:
        there.subscribe(TOPIC)
        came = []
        for first in range(0, 3 * KEPT, 10):
            assert camera.publish(TOPIC, numbered(10, first=first)) == [0] * 10, "the camera is told nothing of it"
            came += there.drain(10)
        assert [one.payload for one in came] == numbered(3 * KEPT)
        back = Session(at, client_id="away", clean_start=False, expiry_s=EXPIRY_S)
        kept = [one.payload for one in back.drain(3 * KEPT, quiet_s=1.0)]
        assert kept == numbered(len(kept))
        assert KEPT - 1 <= len(kept) <= KEPT + 1
        camera.publish(TOPIC, numbered(10))
        assert [one.payload for one in back.drain(10)] == numbered(10)
        back.leave()
    end_session(at, client_id="away")
    assert "Outgoing messages are being dropped for client away." in broker.log.read_text()
