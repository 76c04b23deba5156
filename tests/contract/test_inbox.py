"""What the bridge and the gateway may rely on when they read MQTT, whoever keeps the promise."""

from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar, Final, Protocol
from uuid import uuid4

import mqtt5
import pytest

from brokers.bridge.carry import Inbox
from brokers.broker import Broker
from brokers.mqtt.embedded import Choice, mqtt
from edgewise import addresses
from edgewise.arrival import Arrival
from edgewise.clock import SystemClock
from edgewise.errors import ConfigError, UnreachableError
from edgewise.messages import FRAME_MAX_BYTES
from edgewise.mqtt.inbox import MqttInbox, Subscription
from edgewise.mqtt.outbox import MqttOutbox
from edgewise.tracing import traceparent
from tests.fakes import MemoryInbox
from tests.peer import peer
from tests.real import connected, eventually

WITHIN_S: Final = 60.0
QUIET_S: Final = 0.5
PONG: Final = mqtt5.PingRespPacket
WIRES: Final = [b"a", b"b", b"c", b"d", b"e"]


class Session(Inbox, Protocol):
    """An inbox whose connection the test may cut."""

    def reconnect(self) -> None:
        """Lose the connection; the next ``take`` has another."""


Fill = Callable[..., Session]


def took(inbox: Inbox, count: int, *, limit: int = 1000) -> list[Arrival]:
    """Take until so many have come."""
    found: list[Arrival] = []

    def enough() -> bool:
        found.extend(inbox.take(limit=limit, wait_s=0.1))
        return len(found) >= count

    eventually(enough, within_s=WITHIN_S)
    return found


def wires(taken: Sequence[Arrival]) -> list[bytes]:
    return [arrival.wire for arrival in taken]


def receipts(taken: Sequence[Arrival]) -> list[int]:
    return [arrival.receipt for arrival in taken]


class InboxContract:
    """Cases that the memory and every broker are held to."""

    def test_frames_come_in_the_order_they_were_published(self, fill: Fill) -> None:
        many = [b"%d" % number for number in range(300)]
        assert wires(took(fill(many), 300)) == many

    def test_take_gives_at_most_as_many_as_asked(self, fill: Fill) -> None:
        inbox = fill(WIRES)
        sizes = [len(inbox.take(limit=2, wait_s=0.1)) for _ in range(20)]
        assert (max(sizes), sum(sizes)) == (2, 5)

    def test_take_gives_nothing_where_nothing_is(self, fill: Fill) -> None:
        assert not fill([]).take(limit=9, wait_s=0.05)

    def test_what_was_not_finished_comes_again(self, fill: Fill) -> None:
        inbox = fill(WIRES)
        taken = took(inbox, 5)
        inbox.finish(receipts(taken[:2]))
        inbox.reconnect()
        assert wires(took(inbox, 3)) == [b"c", b"d", b"e"]

    def test_what_was_finished_never_comes_again(self, fill: Fill) -> None:
        inbox = fill(WIRES)
        inbox.finish(receipts(took(inbox, 5)))
        inbox.reconnect()
        assert not inbox.take(limit=9, wait_s=QUIET_S)
        assert not inbox.take(limit=9, wait_s=QUIET_S)

    def test_a_frame_is_acknowledged_only_when_all_before_it_are_finished(self, fill: Fill) -> None:
        inbox = fill(WIRES)
        taken = took(inbox, 5)
        inbox.finish(receipts([taken[0], taken[2], taken[3]]))
        inbox.reconnect()
        assert wires(took(inbox, 4)) == [b"b", b"c", b"d", b"e"]

    def test_frames_may_be_finished_in_any_order(self, fill: Fill) -> None:
        inbox = fill(WIRES)
        taken = took(inbox, 5)
        for arrival in reversed(taken):
            inbox.finish([arrival.receipt])
        inbox.reconnect()
        assert not inbox.take(limit=9, wait_s=QUIET_S)

    def test_receipts_of_an_old_connection_are_passed_over(self, fill: Fill) -> None:
        inbox = fill(WIRES)
        old = took(inbox, 5)
        inbox.reconnect()
        took(inbox, 5)
        inbox.finish(receipts(old))
        inbox.reconnect()
        assert wires(took(inbox, 5)) == WIRES

    def test_no_more_frames_are_under_way_than_the_window_allows(self, fill: Fill) -> None:
        inbox = fill([b"%d" % number for number in range(20)], window=4)
        taken = took(inbox, 4)
        assert not inbox.take(limit=100, wait_s=QUIET_S)
        inbox.finish(receipts(taken))
        assert wires([*taken, *took(inbox, 4)])[:8] == [b"%d" % number for number in range(8)]

    def test_a_window_moves_on_until_all_has_come(self, fill: Fill) -> None:
        inbox = fill([b"%d" % number for number in range(50)], window=3)
        found: list[Arrival] = []
        while len(found) < 50:
            more = took(inbox, 1)
            inbox.finish(receipts(more))
            found += more
        assert wires(found) == [b"%d" % number for number in range(50)]


class TestMemoryInbox(InboxContract):
    @pytest.fixture
    def fill(self) -> Fill:
        return MemoryInbox


class RealInbox(MqttInbox):
    """Ours, with the test's hand on the plug."""

    def __init__(self, address: str, *, subscription: Subscription) -> None:
        self.said: list[str] = []
        self._to = address, f"parts/bridge/{subscription.client_id}/status"
        super().__init__(address, subscription=subscription, clock=SystemClock(), say=self.said.append)

    def reconnect(self) -> None:
        """See Session; what was acknowledged before has reached the broker."""
        connection = self._connection
        if connection is not None:
            connection.send(mqtt5.PingReqPacket().write())
            eventually(lambda: [one for one in connection.receive() if isinstance(one, PONG)], within_s=WITHIN_S)
        self.drop()

    def go_away(self) -> None:
        """Lose the connection, and return when the broker has noticed."""
        address, status = self._to
        with peer(address) as listener:
            listener.listen(status)
            self.reconnect()
            eventually(lambda: listener.payloads()[-1:] == [b"offline"], within_s=WITHIN_S)

    def end(self) -> None:
        """Have the broker forget the session, wherever the test left it."""
        eventually(lambda: self._connection or self.take(limit=1, wait_s=0.1), within_s=WITHIN_S)
        self.close(end_session=True)

    def await_subscription(self) -> None:
        """Return when the broker has subscribed it; no frame may be waiting."""
        address, status = self._to
        with peer(address) as listener:
            listener.listen(status)

            def online() -> bool:
                assert not self.take(limit=1, wait_s=0.01)
                return listener.payloads()[-1:] == [b"online"]

            eventually(online, within_s=WITHIN_S)


Connect = Callable[..., RealInbox]


def publish(broker: Broker, *wires: bytes, camera: str = "cam-1", reason: int = 0) -> None:
    """Publish as another program's camera would."""
    with peer(broker.address) as one:
        assert set(one.publish(f"cameras/{camera}/frames", *wires)) <= {reason}


class MqttInboxContract(InboxContract):
    """Cases on a real broker, which may be stopped: the class has one of its own."""

    choice: ClassVar[Choice]
    sent_ahead: ClassVar[int]
    """Of five frames published to a reader that is there and finishes none: how many come at least."""
    takeover: ClassVar[str | None]
    """The error of a reader whose client id another has taken; None where the broker does not say why it hangs up."""

    @pytest.fixture(scope="class")
    @classmethod
    def broker(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
        broker = mqtt(tmp_path_factory.mktemp(f"inbox-{cls.choice}"), choice=cls.choice)
        broker.start()
        yield broker
        broker.stop()

    @pytest.fixture
    def connect(self, broker: Broker) -> Iterator[Connect]:
        """Give a maker of inboxes; their sessions end with the test."""
        made: list[RealInbox] = []

        def opened(*, client_id: str | None = None, window: int = 1000, share: str | None = None) -> RealInbox:
            name = client_id or f"inbox-{uuid4().hex[:8]}"
            subscription = Subscription(part="bridge", client_id=name, window=window, share=share)
            made.append(RealInbox(broker.address, subscription=subscription))
            return made[-1]

        yield opened
        for inbox in made:
            inbox.end()

    @pytest.fixture
    def fill(self, broker: Broker, connect: Connect) -> Fill:
        def filled(wires: Sequence[bytes], *, window: int = 1000) -> Session:
            inbox = connect(window=window)
            inbox.await_subscription()
            inbox.go_away()
            # Not every broker sends a second frame to a reader that has not finished the first.
            publish(broker, *wires)
            return inbox

        return filled

    def test_an_arrival_says_whose_it_is_and_where_it_came_from(self, broker: Broker, connect: Connect) -> None:
        inbox = connect()
        inbox.await_subscription()
        before_ns = SystemClock().now_ns()
        publish(broker, b"x", camera="cam-7")
        (taken,) = took(inbox, 1)
        assert (taken.camera, taken.origin) == ("cam-7", "mqtt cameras/cam-7/frames")
        assert before_ns <= taken.received_ns <= SystemClock().now_ns()
        assert (taken.bridged_ns, taken.appended_ns, taken.trace) == (None, None, None)

    def test_an_arrival_carries_the_trace_that_the_camera_sent(self, broker: Broker, connect: Connect) -> None:
        inbox = connect()
        inbox.await_subscription()
        trace = traceparent("run", "cam-7", 0)
        outbox = connected(MqttOutbox(broker.address, camera="cam-7", window=2, clock=SystemClock()))
        for number, sent in enumerate((trace, None)):
            outbox.send(number, b"x", trace=sent)
            (taken,) = took(inbox, 1)
            assert taken.trace == sent
            inbox.finish([taken.receipt])
        outbox.close()

    def test_frames_of_the_largest_size_pass(self, broker: Broker, connect: Connect) -> None:
        inbox = connect()
        inbox.await_subscription()
        large = [bytes([number]) * FRAME_MAX_BYTES for number in range(5)]
        publish(broker, *large)
        found: list[bytes] = []
        while len(found) < len(large):
            taken = took(inbox, 1)
            inbox.finish(receipts(taken))
            found += wires(taken)
        assert found == large

    def test_frames_that_wait_for_the_first_come_when_it_is_finished(self, broker: Broker, connect: Connect) -> None:
        inbox = connect()
        inbox.await_subscription()
        publish(broker, *WIRES)
        taken = took(inbox, self.sent_ahead)
        inbox.finish(receipts(taken))
        assert wires([*taken, *took(inbox, 5 - len(taken))]) == WIRES

    def test_a_session_keeps_what_comes_while_its_reader_is_away(self, broker: Broker, connect: Connect) -> None:
        inbox = connect(client_id="away")
        inbox.await_subscription()
        inbox.close(end_session=False)
        publish(broker, *WIRES)
        assert wires(took(connect(client_id="away"), 5)) == WIRES

    def test_a_session_that_was_ended_keeps_nothing(self, broker: Broker, connect: Connect) -> None:
        inbox = connect(client_id="ended")
        inbox.await_subscription()
        inbox.close(end_session=True)
        publish(broker, *WIRES, reason=16)
        again = connect(client_id="ended")
        again.await_subscription()
        assert not again.take(limit=9, wait_s=QUIET_S)

    def test_a_reader_that_unsubscribed_gets_what_was_queued_and_no_more(
        self, broker: Broker, connect: Connect
    ) -> None:
        inbox = connect()
        inbox.await_subscription()
        publish(broker, *WIRES)
        inbox.unsubscribe()
        found: list[bytes] = []

        def drained() -> bool:
            taken = inbox.take(limit=9, wait_s=0.1)
            inbox.finish(receipts(taken))
            found.extend(wires(taken))
            return len(found) == 5 and inbox.unsubscribed

        eventually(drained, within_s=WITHIN_S)
        assert found == WIRES
        publish(broker, b"late", reason=16)
        assert not inbox.take(limit=9, wait_s=QUIET_S)

    def test_a_reader_says_online_when_it_is_subscribed_and_offline_when_it_leaves(
        self, broker: Broker, connect: Connect
    ) -> None:
        inbox = connect(client_id="polite")
        inbox.await_subscription()
        with peer(broker.address) as listener:
            listener.listen("parts/bridge/polite/status")
            eventually(lambda: listener.payloads() == [b"online"], within_s=WITHIN_S)
            inbox.close(end_session=False)
            eventually(lambda: listener.payloads() == [b"online", b"offline"], within_s=WITHIN_S)

    def test_the_broker_says_offline_for_a_reader_that_vanished(self, broker: Broker, connect: Connect) -> None:
        inbox = connect(client_id="gone")
        inbox.await_subscription()
        with peer(broker.address) as listener:
            listener.listen("parts/bridge/gone/status")
            inbox.reconnect()
            eventually(lambda: listener.payloads() == [b"online", b"offline"], within_s=WITHIN_S)
            inbox.await_subscription()
            eventually(lambda: listener.payloads()[-1] == b"online", within_s=WITHIN_S)

    def test_readers_that_share_get_each_frame_once(self, broker: Broker, connect: Connect) -> None:
        pair = [connect(share=f"pair-{broker.port}") for _ in range(2)]
        for inbox in pair:
            inbox.await_subscription()
        many = [b"%d" % number for number in range(200)]
        publish(broker, *many)
        shares: list[list[bytes]] = [[], []]

        def all_came() -> bool:
            for share, inbox in zip(shares, pair, strict=True):
                taken = inbox.take(limit=1000, wait_s=0.05)
                inbox.finish(receipts(taken))
                share.extend(wires(taken))
            return len(shares[0]) + len(shares[1]) >= 200

        eventually(all_came, within_s=WITHIN_S)
        assert sorted(shares[0] + shares[1]) == sorted(many)

    def test_a_second_reader_of_the_same_name_is_told_to_the_first(self, connect: Connect) -> None:
        first = connect(client_id="twin")
        first.await_subscription()
        connect(client_id="twin").await_subscription()
        if self.takeover is None:
            eventually(lambda: first.take(limit=1, wait_s=0.1) or first.said, within_s=WITHIN_S)
            assert first.said == ["MQTT connection lost (the broker hung up); connecting again"]
            return
        with pytest.raises(ConfigError) as caught:
            eventually(lambda: first.take(limit=1, wait_s=0.1), within_s=WITHIN_S)
        assert str(caught.value) == self.takeover

    def test_a_reader_goes_on_when_the_broker_is_stopped_and_started(self, broker: Broker, connect: Connect) -> None:
        inbox = connect()
        inbox.await_subscription()
        inbox.go_away()
        publish(broker, *WIRES)
        taken = took(inbox, 5)
        inbox.finish(receipts(taken[:2]))
        inbox.reconnect()
        taken = took(inbox, 3)
        broker.stop()
        assert not inbox.take(limit=9, wait_s=0.3)
        inbox.finish(receipts(taken))  # too late: that connection is gone
        broker.start()
        found = took(inbox, 3)
        assert wires(found) == [b"c", b"d", b"e"]
        assert [text.partition(" (")[0] for text in inbox.said[-2:]] == [
            "MQTT connection lost",
            "MQTT connection is back",
        ]
        publish(broker, b"new")
        inbox.finish(receipts(found))
        assert wires(took(inbox, 1)) == [b"new"]


@pytest.mark.brokers
class TestMosquittoInbox(MqttInboxContract):
    choice = "mosquitto"
    sent_ahead = 5
    takeover = None  # 2.0.11; two readers of one name take turns for ever


@pytest.mark.brokers
class TestHiveMqInbox(MqttInboxContract):
    choice = "hivemq"
    sent_ahead = 1  # the rest, but for what was queued with it, when it is finished or at the next connection
    takeover = (
        "another client with this client id took over the MQTT session; give each its own --client-id, "
        "and bridges that work together --share"
    )


def test_a_broker_that_is_not_there_is_named_with_the_command_that_helps() -> None:
    nowhere = f"127.0.0.1:{addresses.free_port()}"
    with pytest.raises(UnreachableError) as caught:
        RealInbox(nowhere, subscription=Subscription(part="bridge", client_id="lost"))
    assert str(caught.value) == f"MQTT broker does not answer at {nowhere}; start it with: edgewise up"
