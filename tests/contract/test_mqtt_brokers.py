"""What each embedded MQTT broker keeps, measured: one set of cases, and what differs stands as data in the subclass."""

import secrets
from collections.abc import Iterator
from typing import ClassVar

import pytest

from brokers.broker import Broker
from brokers.mqtt.embedded import Choice, mqtt
from compare.doctor.mqtt_session import Session, Will, end_session
from edgewise.addresses import Address

pytestmark = [pytest.mark.brokers, pytest.mark.faults, pytest.mark.timeout(300)]

FRAMES = 3_000
FRAME = bytes(3_072)
NO_SUBSCRIBER = 16
EXPIRY_S = 600
QUIET_S = 1.0
PATIENCE_S = 5.0


class MqttBrokerContract:
    """Cases that every broker runs."""

    choice: ClassVar[Choice]
    kept_over_kill: ClassVar[int]
    """Of 3,000 confirmed frames for a session that is away, how many come after kill -9 of the broker."""
    inherited_from_the_dead: ClassVar[int]
    """Of 10 frames that a member of a shared subscription held unacknowledged when its session ended."""
    inherited_from_the_absent: ClassVar[int]
    """The same, while the session of the member that vanished lives on. What is not inherited waits for it."""
    sent_after_two: ClassVar[tuple[int, ...]]
    """Frames that come after 2 of 5 have been acknowledged, with a receive maximum of 5: 2 would be right."""
    kept_from_a_clean_start: ClassVar[int]
    """Of 10 confirmed frames, how many outlive a clean stop when their session began with a clean start."""

    @pytest.fixture(scope="class")
    @classmethod
    def broker(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
        broker = mqtt(tmp_path_factory.mktemp(cls.choice), choice=cls.choice)
        broker.start()
        yield broker
        broker.stop()

    @pytest.fixture
    def at(self, broker: Broker) -> Address:
        return Address("127.0.0.1", broker.port)

    @pytest.fixture
    def name(self) -> str:
        return f"cameras/{secrets.token_hex(6)}/frames"

    def test_a_frame_that_nobody_wants_gets_reason_16(self, at: Address, name: str) -> None:
        with Session(at, client_id=name) as camera:
            assert camera.publish(name, [FRAME]) == [NO_SUBSCRIBER]

    def test_all_that_was_confirmed_waits_for_a_session_that_is_away(self, at: Address, name: str) -> None:
        held(at, name)
        assert waiting(at, name) == FRAMES

    def test_a_clean_stop_keeps_everything(self, broker: Broker, at: Address, name: str) -> None:
        held(at, name)
        broker.stop()
        assert broker.pid is None
        broker.start()
        assert waiting(at, name) == FRAMES

    def test_a_kill_keeps_what_the_data_says(self, broker: Broker, at: Address, name: str) -> None:
        held(at, name)
        broker.kill()
        broker.start()
        assert waiting(at, name) == self.kept_over_kill

    def test_unacknowledged_frames_come_again_in_order(self, at: Address, name: str) -> None:
        held(at, name, frames=20)
        first = Session(at, client_id=name, clean_start=False, expiry_s=EXPIRY_S)
        taken = first.take(20)
        assert len(taken) == 20
        first.acknowledge(taken[:4])
        first.leave()
        second = Session(at, client_id=name, clean_start=False, expiry_s=EXPIRY_S)
        again = [message.payload[0] for message in second.drain(16)]
        second.leave()
        end_session(at, client_id=name)
        assert again == list(range(4, 20))

    def test_no_more_than_the_receive_maximum_is_sent_at_first(self, at: Address, name: str) -> None:
        held(at, name, frames=40)
        slow = Session(at, client_id=name, clean_start=False, expiry_s=EXPIRY_S, receive_maximum=5)
        taken = slow.take(6, within_s=QUIET_S)
        slow.acknowledge(taken[:2])
        more = slow.take(40, within_s=QUIET_S)
        slow.leave()
        end_session(at, client_id=name)
        assert len(taken) == 5
        assert len(more) in self.sent_after_two

    def test_a_shared_frame_goes_to_one_member(self, at: Address, name: str) -> None:
        with Session(at, client_id=f"{name}-a") as one, Session(at, client_id=f"{name}-b") as two:
            for member in (one, two):
                member.subscribe(f"$share/{name[8:20]}/{name}")
            with Session(at, client_id=f"{name}-camera") as camera:
                camera.publish(name, numbered(100))
            came = [message.payload for member in (one, two) for message in member.drain(100, quiet_s=QUIET_S)]
        assert sorted(came) == numbered(100)

    def test_who_inherits_from_a_member_whose_session_ended(self, at: Address, name: str) -> None:
        heir, _ = inherited(at, name, expiry_s=0)
        assert heir == self.inherited_from_the_dead

    def test_nothing_of_a_member_that_may_come_back_is_lost(self, at: Address, name: str) -> None:
        heir, returned = inherited(at, name, expiry_s=EXPIRY_S)
        assert heir == self.inherited_from_the_absent
        assert heir + returned == 10

    def test_a_session_that_began_with_a_clean_start(self, broker: Broker, at: Address, name: str) -> None:
        held(at, name, frames=10, clean_start=True)
        broker.stop()
        broker.start()
        assert waiting(at, name) == self.kept_from_a_clean_start

    def test_the_last_will_is_published_and_retained(self, at: Address, name: str) -> None:
        Session(at, client_id=name, will=Will(name, b"offline")).vanish()
        with Session(at, client_id=f"{name}-watch") as watch:
            watch.subscribe(name)
            assert [message.payload for message in watch.drain(1)] == [b"offline"]

    def test_a_frame_of_a_million_bytes_passes(self, at: Address, name: str) -> None:
        with Session(at, client_id=name) as session:
            session.subscribe(name)
            session.publish(name, [bytes(1_000_000)])
            assert [len(message.payload) for message in session.drain(1)] == [1_000_000]


class TestMosquitto(MqttBrokerContract):
    choice = "mosquitto"
    kept_over_kill = 0
    inherited_from_the_dead = 0
    inherited_from_the_absent = 0
    sent_after_two = (2, 10)  # 2.0.11 sends five more for each acknowledgement
    kept_from_a_clean_start = 0


class TestHiveMq(MqttBrokerContract):
    choice = "hivemq"
    kept_over_kill = FRAMES
    inherited_from_the_dead = 10
    inherited_from_the_absent = 10
    sent_after_two = (2,)
    kept_from_a_clean_start = 10


def numbered(frames: int) -> list[bytes]:
    return [bytes([number % 256]) for number in range(frames)]


def held(at: Address, name: str, *, frames: int = FRAMES, clean_start: bool = False) -> None:
    """Let the broker confirm frames for a session that is away."""
    consumer = Session(at, client_id=name, clean_start=clean_start, expiry_s=EXPIRY_S)
    consumer.subscribe(name)
    consumer.leave()
    with Session(at, client_id=f"{name}-camera") as camera:
        reasons = camera.publish(name, [start + FRAME for start in numbered(frames)])
    assert reasons == [0] * frames


def waiting(at: Address, name: str) -> int:
    """Count what the session gets when it is back, and end it."""
    consumer = Session(at, client_id=name, clean_start=False, expiry_s=EXPIRY_S)
    came = len(consumer.drain(FRAMES, quiet_s=PATIENCE_S if consumer.present else QUIET_S))
    consumer.leave()
    end_session(at, client_id=name)
    return came


def inherited(at: Address, name: str, *, expiry_s: int) -> tuple[int, int]:
    """Let a member vanish with 10 frames unacknowledged; count what the other gets, and itself when it is back."""
    group = f"$share/{name[8:20]}/{name}"
    dying = Session(at, client_id=f"{name}-dying", clean_start=False, expiry_s=expiry_s)
    dying.subscribe(group)
    with Session(at, client_id=f"{name}-camera") as camera:
        camera.publish(name, numbered(10))
    assert dying.take(10, within_s=QUIET_S)
    with Session(at, client_id=f"{name}-heir") as heir:
        heir.subscribe(group)
        dying.vanish()
        came = len(heir.drain(10, quiet_s=PATIENCE_S))
    back = Session(at, client_id=f"{name}-dying", clean_start=False, expiry_s=expiry_s)
    returned = len(back.drain(10, quiet_s=QUIET_S))
    back.leave()
    end_session(at, client_id=f"{name}-dying")
    return came, returned
