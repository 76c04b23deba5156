"""A link takes its time and loses nothing: when each byte comes out, on a clock that is moved by hand."""

import random
import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

import mqtt5
import pytest

from edgewise.clock import MILLISECOND_NS, SECOND_NS, ManualClock
from edgewise.mqtt.connection import KEEP_ALIVE_S, Connection
from edgewise.mqtt.link import BUFFER_BYTES, REPEAT_NS, SEGMENT_BYTES, Link, LinkedSocket, through
from edgewise.mqtt.opening import Greeted
from edgewise.words import settings
from producers.fleet.pace import EACH_S

FRAME: Final = bytes(range(256)) * 12
"""Three segments."""


class Scene:
    """Two ends of a connection, one of them behind a link."""

    def __init__(self, said: str, *, seed: int = 1) -> None:
        self.clock = ManualClock(start_ns=SECOND_NS)
        ours, self.far = socket.socketpair()
        ours.settimeout(0)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * BUFFER_BYTES)
        self.far.settimeout(0)
        link = Link.model_validate(settings(said))
        chance = random.Random(seed)  # noqa: S311 - no secret
        self.near = LinkedSocket(ours, link=link, chance=chance, clock=self.clock)

    def heard(self) -> bytes:
        """Give what has come out at the far end by now."""
        self.look()
        try:
            return self.far.recv(1 << 20)
        except BlockingIOError:
            return b""

    def look(self) -> bytes | None:
        """Give what has come out at the near end by now; None is nothing."""
        try:
            return self.near.recv(1 << 20)
        except BlockingIOError:
            return None

    def arrivals_ms(self) -> list[tuple[float, int]]:
        """Let time go from one thing to be done to the next; give when how many bytes came out at the far end."""
        found = []
        while (next_ns := self.near.next_ns()) is not None:
            self.clock.sleep_until(next_ns)
            if size := len(self.heard()):
                found.append(((self.clock.ticks_ns() - SECOND_NS) / MILLISECOND_NS, size))
        return found

    def close(self) -> None:
        self.near.close()
        self.far.close()


@pytest.fixture
def scenes() -> Iterator[list[Scene]]:
    made: list[Scene] = []
    yield made
    for scene in made:
        scene.close()


def test_a_delay_is_each_way(scenes: list[Scene]) -> None:
    scenes.append(scene := Scene("delay_ms=80"))
    assert scene.near.send(b"there") == 5
    scene.far.send(b"back")
    assert scene.look() is None
    scene.clock.advance(by_ns=80 * MILLISECOND_NS - 1)
    assert (scene.heard(), scene.look()) == (b"", None)
    scene.clock.advance(by_ns=1)
    assert scene.look() == b"back"
    assert scene.heard() == b"there"
    assert scene.near.next_ns() is None


def test_a_rate_spreads_what_is_sent_and_the_next_waits_for_it(scenes: list[Scene]) -> None:
    scenes.append(scene := Scene("rate_kbit_s=800"))  # 100 bytes a millisecond
    for _ in range(2):
        scene.near.send(FRAME)
    rest_bytes = len(FRAME) - 2 * SEGMENT_BYTES
    sizes = [SEGMENT_BYTES, SEGMENT_BYTES, rest_bytes] * 2
    found = scene.arrivals_ms()
    assert [size for _, size in found] == sizes
    assert [moment_ms for moment_ms, _ in found] == pytest.approx([sum(sizes[: n + 1]) / 100 for n in range(6)])


def test_what_is_lost_is_sent_again_and_all_behind_it_waits(scenes: list[Scene]) -> None:
    scenes.append(scene := Scene("delay_ms=50,loss_share=0.3"))
    sent = b"".join(number.to_bytes(4) * 300 for number in range(100))
    for begin in range(0, len(sent), 1200):
        scene.near.send(sent[begin : begin + 1200])
    found, moments_ms = b"", []
    while (next_ns := scene.near.next_ns()) is not None:
        scene.clock.sleep_until(next_ns)
        found += scene.heard()
        moments_ms.append((scene.clock.ticks_ns() - SECOND_NS) / MILLISECOND_NS)
    assert found == sent  # all of it, and in order
    repeat_ms = 100 + REPEAT_NS / MILLISECOND_NS
    # Each came after 0, 1, 3, 7, ... times the time until TCP sends it again.
    assert {round((moment_ms - 50) / repeat_ms, 9) for moment_ms in moments_ms} <= {0, 1, 3, 7, 15, 31, 63, 127}
    assert len(moments_ms) > 1


def test_jitter_is_as_large_as_it_is_said_and_nothing_overtakes(scenes: list[Scene]) -> None:
    scenes.append(scene := Scene("delay_ms=10,jitter_ms=20"))
    took_ms = []
    for number in range(200):
        began_ns = scene.clock.ticks_ns()
        scene.near.send(number.to_bytes(1))
        (next_ns,) = {scene.near.next_ns()} - {None}
        scene.clock.sleep_until(next_ns or 0)
        assert scene.heard() == number.to_bytes(1)
        took_ms.append((scene.clock.ticks_ns() - began_ns) / MILLISECOND_NS)
    assert 10 <= min(took_ms) < 11
    assert 29 < max(took_ms) <= 30
    assert sum(took_ms) / 200 == pytest.approx(20, abs=1.5)


def test_a_seed_means_the_same_times_and_another_one_others(scenes: list[Scene]) -> None:
    found = []
    for seed in (1, 1, 2):
        scenes.append(scene := Scene("jitter_ms=50,loss_share=0.1", seed=seed))
        for _ in range(20):
            scene.near.send(FRAME)
        found.append(scene.arrivals_ms())
    assert found[0] == found[1] != found[2]


def test_a_link_takes_no_more_than_its_buffer_holds(scenes: list[Scene]) -> None:
    scenes.append(scene := Scene("delay_ms=10"))
    assert scene.near.send(bytes(BUFFER_BYTES + 1)) == BUFFER_BYTES
    with pytest.raises(BlockingIOError):
        scene.near.send(b"x")
    found = 0
    while (next_ns := scene.near.next_ns()) is not None:  # the real socket takes less at once
        scene.clock.sleep_until(next_ns)
        while got := len(scene.heard()):
            found += got
    assert found == BUFFER_BYTES
    assert scene.near.send(b"x") == 1


def test_the_end_comes_after_all_that_was_said_before_it(scenes: list[Scene]) -> None:
    scenes.append(scene := Scene("delay_ms=1000"))
    scene.far.send(b"last words")
    scene.far.close()
    assert [scene.look() for _ in range(3)] == [b"last words", b"", b""]


def connected(scene: Scene) -> Connection:
    """Give a connection over the near end."""
    greeted = Greeted(scene.near, mqtt5.ConnAckPacket(), bytearray())  # type: ignore[arg-type]
    hello = mqtt5.ConnectPacket("quiet", keep_alive=KEEP_ALIVE_S)
    return Connection("far:1", hello=hello, clock=scene.clock, accepted=greeted)


def test_what_a_full_link_did_not_take_goes_on_as_soon_as_it_has_room(scenes: list[Scene]) -> None:
    scenes.append(scene := Scene("delay_ms=10"))  # all that is in it comes out at one moment
    connection = connected(scene)
    sent = bytes(BUFFER_BYTES + 50_000)
    connection.send(sent)
    assert connection.left_over()
    found = 0
    while (next_ns := connection.next_ns()) is not None:  # as a line is looked after: when its link says so
        scene.clock.sleep_until(next_ns)
        connection.flush()
        connection.receive()
        with suppress(BlockingIOError):
            found += len(scene.far.recv(1 << 20))
    assert (found, connection.left_over()) == (len(sent), False)


def test_who_leaves_waits_for_no_link_and_sends_what_is_in_it_at_once(scenes: list[Scene]) -> None:
    scenes.append(scene := Scene("delay_ms=1000"))
    connection = connected(scene)
    connection.send(b"a frame, ")
    connection.say_goodbye(end_session=True)
    goodbye = mqtt5.DisconnectPacket(session_expiry_interval=0).write()
    assert scene.far.recv(100) == b"a frame, " + goodbye
    assert not connection.gone()
    assert scene.far.recv(100) == b""
    scene.far.send(b"still under way")
    assert not connection.gone()
    scene.far.close()
    assert connection.gone()


def test_over_the_slowest_link_a_broker_that_answers_is_not_taken_for_silent(scenes: list[Scene]) -> None:
    scenes.append(scene := Scene("delay_ms=10000,jitter_ms=2000"))
    connection = connected(scene)
    asked = answered = 0
    while scene.clock.ticks_ns() < 600 * SECOND_NS:  # a lost connection raises
        look_ns = scene.clock.ticks_ns() + round(EACH_S * SECOND_NS)
        scene.clock.sleep_until(min(look_ns, connection.next_ns() or look_ns))
        answered += len(connection.receive())
        with suppress(BlockingIOError):
            pings = len(scene.far.recv(100)) // len(mqtt5.PingReqPacket().write())
            scene.far.send(mqtt5.PingRespPacket().write() * pings)
            asked += pings
            answered += len(connection.receive())  # the real socket has something: a selector says so
    assert 0 < answered <= asked


def test_a_perfect_link_is_none() -> None:
    assert through(Link(), seed="1", clock=ManualClock()) is None
    assert through(Link(delay_ms=1), seed="1", clock=ManualClock()) is not None
