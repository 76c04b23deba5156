"""Where a run's wall time goes."""

from compare.runs.laps import Laps
from edgewise.account import Plan
from edgewise.clock import SECOND_NS, ManualClock
from edgewise.messages import Codec


def plan(start_s: float) -> Plan:
    return Plan(
        run="r",
        fleet="yard",
        start_ns=round(start_s * SECOND_NS),
        seed=1,
        cameras=1,
        rate_hz=10.0,
        frames=99,
        dataset="cifar10",
        split="test",
        images=10_000,
        dataset_sha256="",
        codec=Codec.RAW,
        drop_after_s=5,
        version="",
    )


def test_laps_of_one_name_add_up_and_the_longest_is_told_first() -> None:
    clock = ManualClock()
    laps = Laps(clock)
    for seconds in (2, 3):
        with laps.lap("stop"):
            clock.advance(by_ns=seconds * SECOND_NS)
    with laps.lap("brokers"):
        clock.advance(by_ns=7 * SECOND_NS)
    assert laps.told() == "took 12.0 s: brokers 7.0, stop 5.0"


def test_a_run_is_divided_by_its_plan() -> None:
    laps = Laps(ManualClock())
    laps.divide(100 * SECOND_NS, 145 * SECOND_NS, [plan(130)])
    assert laps.seconds == {"parts": 30, "schedule": 10, "last answers": 5}


def test_a_run_that_was_broken_off_has_no_time_of_last_answers() -> None:
    laps = Laps(ManualClock())
    laps.divide(100 * SECOND_NS, 133 * SECOND_NS, [plan(130)])
    assert laps.seconds == {"parts": 30, "schedule": 3, "last answers": 0}
    laps.divide(0, 5 * SECOND_NS, [])
    assert laps.seconds["parts"] == 35
