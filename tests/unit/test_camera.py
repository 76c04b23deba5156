"""A camera keeps its schedule whatever happens, and accounts for every frame."""

from typing import Final

import pytest
from pydantic import ValidationError

from edgewise.account import Plan
from edgewise.clock import MILLISECOND_NS, SECOND_NS, ManualClock
from edgewise.errors import RefusedError
from edgewise.messages import Codec, decode_frame
from edgewise.mqtt.outbox import Answer
from producers.camera.camera import AGAIN_NS, LATE_NS, Camera
from producers.camera.tally import Tally
from producers.fleet.settings import FleetSettings, Group
from producers.fleet.summary import lateness
from tests.fakes import MemoryOutbox

START_NS: Final = 1_763_000_000 * SECOND_NS
FRAMES: Final = 6
DROP_NS: Final = 450 * MILLISECOND_NS
PLAN: Final = Plan(
    run="run-1",
    fleet="cam",
    start_ns=START_NS,
    seed=1,
    cameras=3,
    rate_hz=10,
    frames=FRAMES,
    dataset="cifar10",
    split="test",
    images=10_000,
    dataset_sha256="8193b3fb",
    codec=Codec.RAW,
    drop_after_s=0.45,
    version="0.1.0",
)
DUE_NS: Final = [int(due_ns) for due_ns in PLAN.due_ns(1)]


class Scene:
    """A camera, its clock and its way out."""

    def __init__(self, *, window: int = 20, start_ns: int = START_NS, drop_after_s: float = PLAN.drop_after_s) -> None:
        self.clock = ManualClock(start_ns=START_NS)
        self.outbox = MemoryOutbox(self.clock, window=window)
        self.tally = Tally()
        self.camera = Camera(
            PLAN.model_copy(update={"start_ns": start_ns, "drop_after_s": drop_after_s}),
            1,
            outbox=self.outbox,
            payload=lambda image: b"%06d" % image,
            size=(1, 2),
            tally=self.tally,
            clock=self.clock,
        )

    def turn_at(self, moment_ns: int) -> None:
        """Turn the camera at this moment, or as soon as the clock lets it."""
        self.clock.sleep_until(moment_ns)
        self.camera.turn()

    def numbers(self) -> list[int]:
        """Give the frames that left, in order."""
        return [number for number, _ in self.outbox.sent]

    def answer(self, answer: Answer) -> None:
        """Let the broker answer all that is in flight, and the camera hear it."""
        for number in list(self.outbox.unanswered):
            self.outbox.answer(number, answer)
        self.camera.hear()


def test_each_frame_leaves_when_it_is_due_and_not_before() -> None:
    scene = Scene()
    for number, due_ns in enumerate(DUE_NS):
        assert scene.camera.next_due_ns() == due_ns
        scene.turn_at(due_ns - 1)
        assert scene.numbers() == list(range(number))
        scene.turn_at(due_ns)
        assert scene.numbers() == list(range(number + 1))
    assert scene.camera.next_due_ns() is None
    assert scene.camera.late_ns().tolist() == [0] * FRAMES


def test_a_frame_says_whose_it_is_when_it_was_due_and_when_it_left() -> None:
    scene = Scene()
    scene.turn_at(DUE_NS[0] + 5)
    frame = decode_frame(scene.outbox.sent[0][1])
    assert (frame.run, frame.camera, frame.number, frame.image) == ("run-1", "cam-1", 0, 1)
    assert (frame.due_ns, frame.sent_ns) == (DUE_NS[0], DUE_NS[0] + 5)
    assert (frame.width, frame.height, frame.codec, frame.payload) == (2, 1, Codec.RAW, b"000001")


def test_a_slow_send_makes_one_frame_late_and_moves_no_other() -> None:
    scene = Scene()
    scene.outbox.slow[1] = 150 * MILLISECOND_NS  # one and a half periods
    for due_ns in DUE_NS:
        scene.turn_at(due_ns)
    assert scene.camera.late_ns().tolist() == [0, 0, 50 * MILLISECOND_NS, 0, 0, 0]
    assert [decode_frame(wire).due_ns for _, wire in scene.outbox.sent] == DUE_NS


def test_a_full_window_makes_frames_wait_and_an_answer_lets_them_go_in_order() -> None:
    scene = Scene(window=2)
    scene.turn_at(DUE_NS[3])
    assert scene.numbers() == [0, 1]
    scene.answer(Answer.CONFIRMED)
    scene.turn_at(DUE_NS[3])
    assert scene.numbers() == [0, 1, 2, 3]


def test_a_frame_that_waited_past_its_deadline_is_dropped_at_source() -> None:
    scene = Scene(window=1)
    for due_ns in DUE_NS:
        scene.turn_at(due_ns)
    scene.turn_at(DUE_NS[2] + DROP_NS)
    assert scene.tally.dropped == 1  # at its deadline, frame 2 may still go
    scene.turn_at(DUE_NS[2] + DROP_NS + 1)
    account = scene.camera.account()
    assert (account.sent, account.dropped) == ([(0, 0)], [(1, 2)])
    scene.answer(Answer.CONFIRMED)
    scene.camera.turn()
    assert scene.numbers() == [0, 3]


def test_a_frame_past_its_deadline_is_dropped_even_when_the_window_is_free() -> None:
    scene = Scene()
    scene.turn_at(DUE_NS[-1] + SECOND_NS)
    assert scene.numbers() == []
    assert scene.camera.account().dropped == [(0, FRAMES - 1)]
    assert scene.camera.finished()


def test_frames_that_nobody_heard_are_counted_apart_from_the_confirmed() -> None:
    scene = Scene()
    scene.turn_at(DUE_NS[1])
    scene.answer(Answer.CONFIRMED)
    scene.turn_at(DUE_NS[3])
    scene.clock.sleep_until(DUE_NS[3] + DROP_NS)  # too late to send them again
    scene.answer(Answer.UNHEARD)
    scene.camera.turn()
    scene.outbox.answer(4, Answer.REFUSED)
    scene.camera.hear()
    account = scene.camera.account()
    assert account.confirmed == [(0, 1)]
    assert account.unheard == [(2, 3)]
    assert account.refused == [(4, 4)]
    assert account.sent == [(0, 5)]
    assert scene.tally.counts() == {
        "scheduled": 6,
        "sent": 6,
        "confirmed": 2,
        "unheard": 2,
        "refused": 1,
        "dropped_at_source": 0,
        "connections_lost": 0,
        "cameras_cut_off": 0,
    }


def test_a_frame_that_nobody_heard_is_sent_again_while_its_time_lasts() -> None:
    scene = Scene()
    scene.turn_at(DUE_NS[0])
    scene.answer(Answer.UNHEARD)
    scene.turn_at(DUE_NS[0] + AGAIN_NS - 1)
    assert scene.numbers() == [0]
    scene.turn_at(DUE_NS[0] + AGAIN_NS)
    assert scene.numbers().count(0) == 2
    scene.outbox.answer(0, Answer.CONFIRMED)
    scene.camera.hear()
    account = scene.camera.account()
    assert (account.sent[0][0], account.confirmed, account.unheard) == (0, [(0, 0)], [])


def test_a_copy_says_when_the_frame_was_first_sent_and_is_not_late_for_a_bridge_that_was_away() -> None:
    scene = Scene()
    scene.turn_at(DUE_NS[0])
    scene.answer(Answer.UNHEARD)
    scene.turn_at(DUE_NS[0] + AGAIN_NS)
    first, copy = (decode_frame(wire) for number, wire in scene.outbox.sent if number == 0)
    assert copy == first
    assert scene.camera.late_ns()[0] == 0
    assert (scene.tally.late, scene.tally.bottleneck()) == (0, (False, ""))


def test_stopping_leaves_the_unheard_unheard() -> None:
    scene = Scene()
    scene.turn_at(DUE_NS[0])
    scene.answer(Answer.UNHEARD)
    scene.camera.give_up()
    account = scene.camera.account()
    assert (account.sent, account.unheard, account.dropped) == ([(0, 0)], [(0, 0)], [(1, FRAMES - 1)])
    assert scene.camera.finished()


def test_answers_that_come_in_another_order_give_the_same_ranges() -> None:
    scene = Scene()
    scene.turn_at(DUE_NS[3])
    for number in (3, 0, 1):
        scene.outbox.answer(number, Answer.CONFIRMED)
    scene.camera.hear()
    assert scene.camera.account().confirmed == [(0, 1), (3, 3)]


def test_a_camera_is_finished_when_every_frame_was_answered_or_dropped() -> None:
    scene = Scene()
    for due_ns in DUE_NS:
        assert not scene.camera.finished()
        scene.turn_at(due_ns)
    assert not scene.camera.finished()
    scene.answer(Answer.CONFIRMED)
    assert scene.camera.finished()
    assert (scene.tally.sent, scene.tally.confirmed, scene.tally.late) == (FRAMES, FRAMES, 0)


def test_what_leaves_late_is_counted_once_and_what_is_dropped_too() -> None:
    scene = Scene()
    scene.turn_at(DUE_NS[0] + LATE_NS + 1)
    scene.answer(Answer.UNHEARD)
    scene.turn_at(max(DUE_NS[0] + LATE_NS + 1 + AGAIN_NS, DUE_NS[1]))
    assert sorted(scene.numbers()) == [0, 0, 1]
    assert (scene.tally.sent, scene.tally.dropped) == (2, 0)
    assert 1 <= scene.tally.late <= 2
    scene.camera.give_up()
    assert (scene.tally.sent, scene.tally.dropped) == (2, FRAMES - 2)


def test_tallies_of_processes_add_up() -> None:
    one, other = Tally(connected=1, sent=2, late=3), Tally(connected=10, dropped=20)
    one.lateness.add([5])
    other.lateness.add([6, 7])
    both = one + other
    assert (both.connected, both.sent, both.late, both.dropped) == (11, 2, 3, 20)
    assert (sum(both.lateness.counts), both.lateness.total) == (3, 18)


# --- who kept frames from leaving in time ---------------------------------------------------------


def test_a_machine_that_comes_too_late_is_the_bottleneck_though_all_it_was_late_for_was_dropped() -> None:
    scene = Scene()
    scene.turn_at(DUE_NS[-1] + SECOND_NS)
    assert (scene.tally.sent, scene.tally.dropped) == (0, FRAMES)
    found, why = scene.tally.bottleneck()
    assert found
    assert why.startswith("6 of 6 frames had their turn too late")


def test_a_deadline_that_is_shorter_than_late_hides_nothing() -> None:
    scene = Scene(drop_after_s=0.001)
    for due_ns in DUE_NS:
        scene.turn_at(due_ns + 2 * MILLISECOND_NS)
    assert (scene.tally.late, scene.tally.dropped) == (0, FRAMES)
    assert scene.tally.bottleneck()[0]


def test_a_machine_that_falls_asleep_while_it_sends_has_nobody_else_to_blame() -> None:
    scene = Scene()
    scene.outbox.slow = dict.fromkeys(range(FRAMES), 2 * LATE_NS)
    scene.turn_at(DUE_NS[1])  # two at once: the second leaves after the first, which takes its time
    assert (scene.tally.late, scene.tally.overdue) == (2, 2)
    assert scene.tally.bottleneck()[0]


def test_cameras_that_wait_for_their_broker_are_not_the_bottleneck_and_say_what_they_waited_for() -> None:
    scene = Scene(window=1)
    for due_ns in DUE_NS:
        scene.turn_at(due_ns)
    scene.turn_at(DUE_NS[-1] + SECOND_NS)
    assert scene.tally.dropped == FRAMES - 1
    found, why = scene.tally.bottleneck()
    assert not found
    assert why.startswith("5 of 6 frames left late or were dropped, as they waited for the MQTT broker")


def test_who_stops_in_the_middle_has_no_bottleneck() -> None:
    scene = Scene(window=2)
    scene.turn_at(DUE_NS[0])
    scene.turn_at(DUE_NS[1])
    scene.camera.give_up()
    assert (scene.tally.dropped, scene.tally.bottleneck()) == (FRAMES - 2, (False, ""))


# --- a schedule that was worked out before its start was known ------------------------------------


def test_a_postponed_camera_does_everything_so_much_later() -> None:
    scene = Scene(start_ns=0)
    scene.camera.absent(iter([(100, 200), (300, 400)]))
    assert scene.camera.lasts_ns() == DUE_NS[-1] - START_NS
    scene.camera.postpone(by_ns=START_NS)
    assert scene.camera.next_due_ns() == DUE_NS[0]
    assert scene.camera.next_leave_ns() == START_NS + 100
    assert scene.camera.lasts_ns() == DUE_NS[-1] - START_NS
    for due_ns in DUE_NS:
        scene.turn_at(due_ns)
    assert [decode_frame(wire).due_ns for _, wire in scene.outbox.sent] == DUE_NS


# --- cameras that are not let ---------------------------------------------------------------------


def test_frames_that_the_broker_refuses_are_counted_one_by_one_and_it_is_said_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    scene = Scene()
    scene.outbox.trouble = RefusedError("the MQTT broker does not let user 'cam-1' publish")
    for due_ns in DUE_NS:
        scene.turn_at(due_ns)
        scene.answer(Answer.REFUSED)
    assert scene.camera.account().refused == [(0, FRAMES - 1)]
    assert (scene.tally.refused, scene.camera.finished()) == (FRAMES, True)
    assert capsys.readouterr().err == "fleet: cam-1: the MQTT broker does not let user 'cam-1' publish\n"


def test_a_camera_whose_place_another_took_gives_up_and_is_waited_for_no_more() -> None:
    scene = Scene()
    scene.turn_at(DUE_NS[1])
    scene.outbox.end()
    scene.camera.hear()
    account = scene.camera.account()
    assert (account.sent, account.dropped, account.confirmed) == ([(0, 1)], [(2, FRAMES - 1)], [])
    assert (scene.camera.waits(), scene.camera.finished()) == (False, True)


def test_giving_up_drops_what_was_not_sent_and_nothing_else() -> None:
    scene = Scene(window=2)
    scene.turn_at(DUE_NS[3])
    scene.camera.give_up()
    account = scene.camera.account()
    assert (account.sent, account.dropped) == ([(0, 1)], [(2, 5)])
    assert scene.camera.next_due_ns() is None
    assert not scene.camera.finished()
    scene.answer(Answer.CONFIRMED)
    assert scene.camera.finished()


SETTINGS: Final = {"mqtt": "localhost:1883", "kafka": "localhost:9092", "run": "run-1"}


def test_a_fleet_is_told_what_it_needs() -> None:
    assert Group.model_validate({"name": "cam-2", "codec": "png"}).codec is Codec.PNG


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "Bad Name/+"},
        {"name": "a" * 41},
        {"name": ""},
        {"seed": -1},
        {"rate_hz": 0},
        {"window": 0},
        {"frames": 0},
        {"codec": "gif"},
        {"qos": 2},
    ],
)
def test_a_fleet_refuses_what_would_break_its_frames(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Group.model_validate(wrong)


@pytest.mark.parametrize("run", ["a run", "run\n", ""])
def test_a_fleet_refuses_a_run_that_would_break_its_keys(run: str) -> None:
    with pytest.raises(ValidationError, match="run"):
        FleetSettings.model_validate(SETTINGS | {"run": run})


def test_lateness_is_exact_and_absent_where_nothing_was_sent() -> None:
    late_ms = Scene().camera.late_ns() / MILLISECOND_NS
    assert lateness(late_ms) == {"p50": None, "p99": None, "max": None}
    scene = Scene()
    scene.outbox.slow[1] = 150 * MILLISECOND_NS
    for due_ns in DUE_NS:
        scene.turn_at(due_ns)
    assert lateness(scene.camera.late_ns() / MILLISECOND_NS) == {"p50": 0.0, "p99": 50.0, "max": 50.0}
