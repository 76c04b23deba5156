"""What a camera may rely on: each frame is confirmed, unheard or refused, and nothing in flight is forgotten."""

import errno
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar, Final
from uuid import uuid4

import numpy as np
import pytest

from brokers.broker import Broker
from brokers.mqtt.embedded import Choice, mqtt
from edgewise import addresses
from edgewise.clock import MILLISECOND_NS, SECOND_NS, ManualClock, SystemClock
from edgewise.errors import UnreachableError
from edgewise.messages import FRAME_MAX_BYTES
from edgewise.mqtt.connection import part
from edgewise.mqtt.outbox import STEADY_S, Answer, MqttOutbox
from edgewise.mqtt.presence import await_parts
from edgewise.tracing import TRACEPARENT, traceparent
from tests.peer import Peer, peer
from tests.real import connected, eventually

pytestmark = pytest.mark.brokers

WITHIN_S: Final = 60.0
FOLLOWED: Final = 3
TRACE: Final = traceparent("run", "camera", FOLLOWED)
Make = Callable[..., MqttOutbox]


class RealOutbox(MqttOutbox):
    """Ours, with the test's hand on the plug."""

    def cut(self) -> None:
        """Lose the connection as a crash would."""
        self._lost()

    def receive(self) -> Sequence[tuple[int, Answer]]:
        """See Line; connect again, as often as one camera may."""
        if self.may_connect():
            self.reconnect()
        return super().receive()


def answers(outbox: MqttOutbox, count: int) -> dict[int, Answer]:
    """Wait for so many answers, and show that no frame is answered twice."""
    found: list[tuple[int, Answer]] = []

    def enough() -> bool:
        found.extend(outbox.receive())
        return len(found) >= count

    eventually(enough, within_s=WITHIN_S)
    assert len(dict(found)) == len(found)
    return dict(found)


@contextmanager
def listening(address: str, camera: str) -> Iterator[Peer]:
    """Give a peer that is subscribed to a camera's frames."""
    with peer(address) as reader:
        reader.listen(f"cameras/{camera}/frames")
        yield reader


class OutboxContract:
    """Cases on a real broker, which may be stopped: the class has one of its own."""

    choice: ClassVar[Choice]

    @pytest.fixture(scope="class")
    @classmethod
    def broker(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
        broker = mqtt(tmp_path_factory.mktemp(f"outbox-{cls.choice}"), choice=cls.choice)
        broker.start()
        yield broker
        broker.stop()

    @pytest.fixture
    def camera(self) -> str:
        return f"cam-{uuid4().hex[:8]}"

    @pytest.fixture
    def make(self, broker: Broker, camera: str) -> Iterator[Callable[..., RealOutbox]]:
        """Give a maker of this camera's outboxes."""
        made: list[RealOutbox] = []

        def one(*, window: int = 20) -> RealOutbox:
            made.append(connected(RealOutbox(broker.address, camera=camera, window=window, clock=SystemClock())))
            return made[-1]

        yield one
        for outbox in made:
            outbox.close()

    def test_frames_that_have_a_reader_are_confirmed_and_arrive_in_order(
        self, broker: Broker, camera: str, make: Make
    ) -> None:
        with listening(broker.address, camera) as reader:
            outbox = make()
            for number in range(10):
                outbox.send(number, b"%d" % number)
            assert answers(outbox, 10) == dict.fromkeys(range(10), Answer.CONFIRMED)
            eventually(lambda: len(reader.heard) == 10, within_s=WITHIN_S)
            assert reader.heard == [(f"cameras/{camera}/frames", b"%d" % number) for number in range(10)]
        assert outbox.in_flight() == 0

    def test_frames_without_a_reader_are_unheard_and_not_confirmed(self, make: Make) -> None:
        outbox = make()
        for number in range(5):
            outbox.send(number, b"x")
        assert answers(outbox, 5) == dict.fromkeys(range(5), Answer.UNHEARD)

    def test_a_frame_of_the_largest_size_passes(self, broker: Broker, camera: str, make: Make) -> None:
        with listening(broker.address, camera) as reader:
            outbox = make()
            frame = uuid4().bytes * (FRAME_MAX_BYTES // 16)
            for number in range(5):
                outbox.send(number, frame)
            assert answers(outbox, 5) == dict.fromkeys(range(5), Answer.CONFIRMED)
            eventually(lambda: reader.payloads() == [frame] * 5, within_s=WITHIN_S)

    def test_the_window_closes_when_it_is_full_and_opens_with_each_answer(self, camera: str, make: Make) -> None:
        outbox = make(window=3)
        for number in range(3):
            assert outbox.free(), camera
            outbox.send(number, b"x")
        assert (outbox.free(), outbox.in_flight()) == (False, 3)
        answers(outbox, 3)
        assert (outbox.free(), outbox.in_flight()) == (True, 0)

    def test_many_frames_pass_through_a_small_window(self, broker: Broker, camera: str, make: Make) -> None:
        with listening(broker.address, camera) as reader:
            outbox = make(window=4)
            found: dict[int, Answer] = {}
            for number in range(1000):
                while not outbox.free():
                    found |= answers(outbox, 1)
                outbox.send(number, b"%d" % number)
            found |= answers(outbox, 1000 - len(found))
            assert found == dict.fromkeys(range(1000), Answer.CONFIRMED)
            eventually(lambda: len(reader.heard) == 1000, within_s=WITHIN_S)
            assert reader.payloads() == [b"%d" % number for number in range(1000)]

    def test_what_was_in_flight_when_the_connection_broke_is_sent_again(
        self, broker: Broker, camera: str, make: Callable[..., RealOutbox]
    ) -> None:
        with listening(broker.address, camera) as reader:
            outbox = make()
            for number in range(5):
                outbox.send(number, b"%d" % number, trace=TRACE if number == FOLLOWED else None)
            outbox.cut()
            assert (outbox.free(), outbox.in_flight(), outbox.watched) == (False, 5, None)
            assert answers(outbox, 5) == dict.fromkeys(range(5), Answer.CONFIRMED)
            eventually(lambda: set(reader.payloads()) == {b"0", b"1", b"2", b"3", b"4"}, within_s=WITHIN_S)
            for payload, properties in zip(reader.payloads(), reader.properties, strict=False):  # copies may still come
                assert properties == ([(TRACEPARENT, TRACE)] if payload == b"%d" % FOLLOWED else []), payload

    def test_what_was_in_flight_when_the_broker_stopped_is_sent_again_when_it_is_back(
        self, broker: Broker, camera: str, make: Make
    ) -> None:
        outbox = make()
        broker.stop()
        for number in range(3):
            outbox.send(number, b"%d" % number)
        assert not outbox.receive()
        assert outbox.in_flight() == 3
        broker.start()
        with listening(broker.address, camera):
            assert set(answers(outbox, 3)) == {0, 1, 2}
            outbox.send(3, b"3")
            assert answers(outbox, 1) == {3: Answer.CONFIRMED}

    def test_a_camera_says_online_when_it_is_there_and_offline_when_it_leaves(
        self, broker: Broker, camera: str, make: Make
    ) -> None:
        outbox = make()
        with peer(broker.address) as listener:
            listener.listen(f"cameras/{camera}/status")
            eventually(lambda: listener.payloads() == [b"online"], within_s=WITHIN_S)
            outbox.close()
            eventually(lambda: listener.payloads() == [b"online", b"offline"], within_s=WITHIN_S)

    def test_the_last_will_says_offline_for_a_camera_that_was_cut_off(
        self, broker: Broker, camera: str, make: Callable[..., RealOutbox]
    ) -> None:
        outbox = make()
        with peer(broker.address) as listener:
            listener.listen(f"cameras/{camera}/status")
            eventually(lambda: listener.payloads() == [b"online"], within_s=WITHIN_S)
            outbox.cut()
            eventually(lambda: listener.payloads() == [b"online", b"offline"], within_s=WITHIN_S)
        with peer(broker.address) as late:
            late.listen(f"cameras/{camera}/status")
            eventually(lambda: late.payloads() == [b"offline"], within_s=WITHIN_S)

    def test_all_of_many_leave_at_the_same_time(self, broker: Broker, camera: str) -> None:
        clock = SystemClock()
        outboxes = [
            connected(MqttOutbox(broker.address, camera=f"{camera}-{n}", window=1, clock=clock)) for n in range(9)
        ]
        with peer(broker.address) as listener:
            for number in range(9):
                listener.listen(f"cameras/{camera}-{number}/status")
            eventually(lambda: listener.payloads() == [b"online"] * 9, within_s=WITHIN_S)
            connections = [outbox.say_goodbye() for outbox in outboxes]
            # Each has said it before anybody waited for one of them.
            eventually(lambda: listener.payloads() == [b"online"] * 9 + [b"offline"] * 9, within_s=WITHIN_S)
            part([one for one in connections if one is not None], clock=clock)
        assert [outbox.watched for outbox in outboxes] == [None] * 9

    def test_who_is_looked_after_without_a_connection_begins_none(self, camera: str, broker: Broker) -> None:
        outbox = connected(MqttOutbox(broker.address, camera=camera, window=1, clock=SystemClock()))
        outbox.abandon()
        assert outbox.may_connect()
        for _ in range(3):
            assert outbox.receive() == ()
            assert outbox.watched is None
        outbox.reconnect()
        assert outbox.watched is not None
        eventually(lambda: outbox.receive() == [] and outbox.connected(), within_s=WITHIN_S)
        outbox.close()

    def test_a_fleet_waits_until_each_part_has_reported(self, broker: Broker) -> None:
        with peer(broker.address) as part:
            part.publish("parts/bridge/b-1/status", b"offline", retain=True)
            with pytest.raises(UnreachableError) as caught:
                await_parts(broker.address, parts=["bridge"], clock=SystemClock(), within_s=0.3)
            assert str(caught.value).startswith(f"a bridge does not answer at {broker.address}; frames would have no ")
            part.publish("parts/bridge/b-1/status", b"online", retain=True)
            await_parts(broker.address, parts=["bridge"], clock=SystemClock(), within_s=WITHIN_S)
            part.publish("parts/bridge/b-1/status", b"", retain=True)


class TestMosquittoOutbox(OutboxContract):
    choice = "mosquitto"


class TestHiveMqOutbox(OutboxContract):
    choice = "hivemq"

    def test_whose_place_another_takes_leaves_it_to_that_one(self, make: Make, broker: Broker, camera: str) -> None:
        first = make()
        first.send(0, b"x")
        second = connected(MqttOutbox(broker.address, camera=camera, window=1, clock=SystemClock()))
        eventually(lambda: not first.receive() and first.ended, within_s=WITHIN_S)
        assert (first.may_connect(), first.in_flight(), first.watched) == (False, 0, None)
        assert str(first.trouble).startswith(f"another client with the id camera-{camera} took over its session at ")
        assert second.receive() == []
        assert second.connected()
        second.close()


def test_a_broker_that_is_not_there_is_named_with_the_command_that_helps() -> None:
    nowhere = f"127.0.0.1:{addresses.free_port()}"
    with pytest.raises(UnreachableError) as caught:
        connected(MqttOutbox(nowhere, camera="cam-1", window=1, clock=SystemClock()))
    assert str(caught.value) == f"MQTT broker does not answer at {nowhere}; start it with: edgewise up"


class Unplugged(RealOutbox):
    """One whose broker is away once it has been connected, and which remembers its tries."""

    away = False

    def opened(self) -> bool:
        if not self.away:
            return super().opened()
        self.tried_s.append(self._clock.ticks_ns() / SECOND_NS)
        raise UnreachableError("MQTT broker", at="here", hint="it is away")

    def unplug(self) -> None:
        self.tried_s: list[float] = []
        self.away = True
        self.cut()


def test_lost_cameras_try_again_at_once_then_ever_less_often_and_not_all_at_the_same_moment(mqtt: Broker) -> None:
    clock = ManualClock(start_ns=SECOND_NS)
    outboxes = [connected(Unplugged(mqtt.address, camera=f"lost-{n}", window=1, clock=clock)) for n in range(3)]
    for outbox in outboxes:
        outbox.unplug()
    while clock.ticks_ns() < 61 * SECOND_NS:
        for outbox in outboxes:
            outbox.receive()
        clock.advance(by_ns=10 * MILLISECOND_NS)
    for outbox in outboxes:
        gaps_s = np.diff(outbox.tried_s)
        assert outbox.tried_s[0] == 1
        assert 0.1 <= gaps_s[0] <= 0.32
        assert gaps_s.max() <= 7.51
        assert gaps_s[-1] > 2.4
        assert 10 <= len(outbox.tried_s) <= 30
    assert len({tuple(outbox.tried_s[1:]) for outbox in outboxes}) == 3


def test_a_camera_whose_broker_is_away_for_a_day_still_tries(mqtt: Broker) -> None:
    clock = ManualClock(start_ns=SECOND_NS)
    outbox = connected(Unplugged(mqtt.address, camera="patient", window=1, clock=clock))
    outbox.unplug()
    for _ in range(2000):
        clock.advance(by_ns=8 * SECOND_NS)
        outbox.receive()
    assert len(outbox.tried_s) == 2000


def reconnected(outbox: RealOutbox) -> None:
    eventually(lambda: outbox.receive() == [] and outbox.connected(), within_s=WITHIN_S)


def test_a_camera_that_was_back_for_a_while_is_patient_again_from_the_beginning(mqtt: Broker) -> None:
    clock = ManualClock(start_ns=SECOND_NS)
    outbox = connected(RealOutbox(mqtt.address, camera="patient", window=1, clock=clock))
    for _ in range(5):
        clock.advance(by_ns=round(STEADY_S * SECOND_NS))
        outbox.cut()
        assert outbox.may_connect()
        reconnected(outbox)
        outbox.cut()
        assert not outbox.may_connect()
        outbox.receive()
        assert outbox.watched is None
        clock.advance(by_ns=300 * MILLISECOND_NS)
        reconnected(outbox)
    outbox.close()


def test_a_broker_that_hangs_up_at_once_is_come_back_to_ever_less_often(mqtt: Broker) -> None:
    clock = ManualClock(start_ns=SECOND_NS)
    outbox = connected(RealOutbox(mqtt.address, camera="thrown-out", window=1, clock=clock))
    waits_s = []
    for _ in range(7):
        outbox.cut()
        cut_ns = clock.ticks_ns()
        while not outbox.may_connect():
            clock.advance(by_ns=10 * MILLISECOND_NS)
        waits_s.append((clock.ticks_ns() - cut_ns) / SECOND_NS)
        reconnected(outbox)
    assert waits_s[0] == 0
    assert waits_s[1] <= 0.31
    assert waits_s[-1] >= 2.5
    outbox.close()


def test_a_camera_that_nobody_answers_keeps_its_connection(mqtt: Broker) -> None:
    clock = ManualClock(start_ns=SECOND_NS)
    outbox = connected(RealOutbox(mqtt.address, camera="unanswered", window=1, qos=0, clock=clock))
    connection = outbox.connection
    assert connection is not None
    for number in range(60):
        clock.advance(by_ns=2 * SECOND_NS)
        assert outbox.free()
        outbox.send(number, b"x")
        assert outbox.receive() == []
        connection.wait(wait_s=0.02)
        assert outbox.connection is connection, f"lost after {2 * number} s"
    assert outbox.in_flight() == 0
    outbox.close()


def test_a_camera_pings_a_broker_that_has_nothing_to_say(mqtt: Broker) -> None:
    clock = ManualClock(start_ns=SECOND_NS)
    outbox = connected(RealOutbox(mqtt.address, camera="quiet", window=1, clock=clock))
    connection = outbox.connection
    assert connection is not None
    for _ in range(6):  # 96 seconds, of which each 45 without a word would be too many
        clock.advance(by_ns=16 * SECOND_NS)
        outbox.receive()
        connection.wait(wait_s=WITHIN_S)  # for the answer to the ping
        outbox.receive()
    assert outbox.connection is connection
    outbox.close()


def test_a_camera_gives_up_on_a_broker_that_is_silent(mqtt: Broker) -> None:
    clock = ManualClock(start_ns=SECOND_NS)
    outbox = connected(RealOutbox(mqtt.address, camera="silent", window=1, clock=clock))
    connection = outbox.connection
    clock.advance(by_ns=46 * SECOND_NS)
    outbox.receive()
    outbox.receive()
    assert outbox.connection is not connection
    outbox.close()


def test_a_machine_without_a_port_to_spare_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket.socket, "connect_ex", lambda *_: errno.EADDRNOTAVAIL)
    with pytest.raises(UnreachableError, match="this machine has no local port left for a connection there"):
        MqttOutbox("127.0.0.1:1", camera="one-too-many", window=1, clock=SystemClock()).opened()
