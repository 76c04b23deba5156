"""A line of a rate, a delay and a loss: when each packet comes out, by a clock that the test moves."""

import random

import pytest

from compare.uplink import line
from compare.uplink.line import QUEUE_PACKETS, Line, Shape
from edgewise.clock import MILLISECOND_NS, SECOND_NS
from edgewise.errors import ConfigError


def made(rate_kbit_s: int = 1000, delay_ms: float = 0, loss_percent: float = 0) -> Line:
    return Line(Shape(rate_kbit_s, delay_ms, loss_percent), random.Random(1))  # noqa: S311 - not for secrets


def test_a_packet_comes_after_its_own_length_and_the_delay() -> None:
    way = made(rate_kbit_s=1000, delay_ms=50)
    way.offer(bytes(1250), now_ns=0)  # 10 ms at a megabit a second
    assert way.next_ns() == 60 * MILLISECOND_NS
    assert way.out(now_ns=60 * MILLISECOND_NS - 1) == []
    assert way.out(now_ns=60 * MILLISECOND_NS) == [bytes(1250)]
    assert way.next_ns() is None


def test_packets_wait_for_one_another_and_keep_their_order() -> None:
    way = made(rate_kbit_s=1000)
    for name in (b"a", b"b", b"c"):
        way.offer(name * 1250, now_ns=0)
    assert [packet[:1] for packet in way.out(now_ns=20 * MILLISECOND_NS)] == [b"a", b"b"]
    assert [packet[:1] for packet in way.out(now_ns=SECOND_NS)] == [b"c"]


def test_a_line_that_was_idle_owes_nobody_its_idle_time() -> None:
    way = made(rate_kbit_s=1000)
    way.offer(bytes(1250), now_ns=5 * SECOND_NS)
    assert way.next_ns() == 5 * SECOND_NS + 10 * MILLISECOND_NS


def test_as_many_are_lost_as_was_said() -> None:
    way = made(rate_kbit_s=10**9, loss_percent=10)
    carried = 0
    for number in range(20_000):
        way.offer(b"x", now_ns=number)
        carried += len(way.out(now_ns=SECOND_NS))
    assert 17_800 < carried < 18_200


def test_a_full_queue_takes_no_more() -> None:
    way = made(rate_kbit_s=1)
    for _ in range(QUEUE_PACKETS + 5):
        way.offer(b"x", now_ns=0)
    assert len(way.out(now_ns=10**6 * SECOND_NS)) == QUEUE_PACKETS


def test_a_line_that_gets_shorter_lets_no_packet_overtake_another() -> None:
    way = made(rate_kbit_s=10**6, delay_ms=100)
    way.offer(b"first", now_ns=0)
    way.shape = Shape(10**6, 1, 0)
    way.offer(b"second", now_ns=1)
    assert way.out(now_ns=SECOND_NS) == [b"first", b"second"]


def test_a_shape_is_read_as_it_is_written_and_told_to_netem() -> None:
    shape = line.parse("2000kbit/50ms/1.5%")
    assert shape == Shape(2000, 50, 1.5)
    assert line.parse(str(shape)) == shape
    assert " ".join(shape.netem()) == "netem delay 50ms loss 1.5% rate 2000kbit limit 1000"
    assert "loss" not in line.parse("2000kbit/50ms/0%").netem()


@pytest.mark.parametrize(
    "text", ["", "fast", "0kbit/1ms/1%", "1kbit/-1ms/1%", "1kbit/1ms/100%", "1kbit/1ms", "1kbit/nanms/1%"]
)
def test_what_is_no_line_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="a line is RATEkbit/DELAYms/LOSS%"):
        line.parse(text)
