"""Cameras that share a connection share it alike, however much one of them sends."""

from collections.abc import Sequence
from typing import Final

from edgewise.account import Plan
from edgewise.clock import MILLISECOND_NS, SECOND_NS, ManualClock
from edgewise.mqtt.outbox import Answer, Line
from producers.camera.camera import Camera
from producers.camera.tally import Tally
from producers.fleet.shared import Bundle, Lane
from tests.unit.test_camera import PLAN, START_NS

WINDOW: Final = 4
ROUND_NS: Final = 20 * MILLISECOND_NS


class NarrowLine(Line):
    """A line whose broker takes a few frames at a time, and answers all of them whenever it is heard."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__("nowhere:1", client_id="narrow", window=WINDOW, clock=clock)
        self._keys: list[int] = []

    def connected(self) -> bool:
        """See Line."""
        return True

    def room(self, *, answered: bool) -> bool:
        """See Line."""
        assert answered
        return not self.ended and len(self._keys) < WINDOW

    def publish(self, topic: str, key: int, wire: bytes, *, answered: bool, trace: str | None = None) -> None:  # noqa: ARG002 - see Line
        """See Line."""
        assert answered
        assert trace is None
        assert len(self._keys) < WINDOW
        self._keys.append(key)

    def end(self) -> None:
        """Let another client take it over."""
        self.ended = True
        self._keys.clear()

    def receive(self) -> Sequence[tuple[int, Answer]]:
        """See Line."""
        keys, self._keys = self._keys, []
        return [(key, Answer.CONFIRMED) for key in keys]


def test_a_camera_that_sends_too_much_takes_nothing_from_those_who_share_with_it() -> None:
    clock = ManualClock(start_ns=START_NS)
    line = NarrowLine(clock)
    # Five times what the line carries, beside three cameras that want a seventh of it together.
    greedy = PLAN.model_copy(update={"fleet": "greedy", "cameras": 1, "rate_hz": 1000, "frames": 2000})
    modest = PLAN.model_copy(update={"frames": 20})
    everyone: list[tuple[Plan, int]] = [(greedy, 0), *((modest, index) for index in range(modest.cameras))]
    cameras, tallies = [], []
    for place, (plan, index) in enumerate(everyone):
        lane = Lane(line, place, camera=plan.camera(index), window=20, answered=True)
        tallies.append(tally := Tally())
        camera = Camera(plan, index, outbox=lane, payload=lambda _: b"", size=(1, 1), tally=tally, clock=clock)
        cameras.append((camera, lane))
    bundle = Bundle(line, cameras, clock=clock)
    while clock.now_ns() < START_NS + 3 * SECOND_NS:
        clock.advance(by_ns=ROUND_NS)
        bundle.hear()
        bundle.turn()
    assert [tally.confirmed for tally in tallies[1:]] == [20] * modest.cameras
    assert tallies[0].confirmed > 2 * SECOND_NS / ROUND_NS * WINDOW * 0.8
    assert tallies[0].dropped + tallies[0].confirmed == 2000
    # Four at a time, each fiftieth of a second: a round of all of them.
    assert max(camera.late_ns().max() for camera, _ in cameras[1:]) < 10 * ROUND_NS


def test_when_another_client_has_the_line_all_who_share_it_give_up() -> None:
    clock = ManualClock(start_ns=START_NS)
    line = NarrowLine(clock)
    tally, cameras = Tally(), []
    for index in range(PLAN.cameras):
        lane = Lane(line, index, camera=PLAN.camera(index), window=20, answered=True)
        camera = Camera(PLAN, index, outbox=lane, payload=lambda _: b"", size=(1, 1), tally=tally, clock=clock)
        cameras.append((camera, lane))
    bundle = Bundle(line, cameras, clock=clock)
    clock.advance(by_ns=SECOND_NS // 5)
    bundle.turn()
    sent = tally.sent
    line.end()
    bundle.hear()
    assert 0 < sent == tally.sent
    assert tally.dropped == tally.scheduled - sent
    assert (bundle.waits(), bundle.finished(), bundle.next_due_ns()) == (False, True, None)
