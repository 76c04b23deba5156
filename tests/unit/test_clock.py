"""Time: the real clock, the one that tests move, and deadlines on either."""

from edgewise.clock import MILLISECOND_NS, SECOND_NS, Deadline, ManualClock, SystemClock


def test_the_system_clock_never_goes_backwards_between_two_ticks() -> None:
    clock = SystemClock()
    ticks = [clock.ticks_ns() for _ in range(1000)]
    assert ticks == sorted(ticks)


def test_the_system_clock_counts_moments_from_1970() -> None:
    assert SystemClock().now_ns() > 1_700_000_000 * SECOND_NS


def test_the_system_clock_sleeps_until_the_tick() -> None:
    clock = SystemClock()
    until_ns = clock.ticks_ns() + 5 * MILLISECOND_NS
    clock.sleep_until(until_ns)
    assert clock.ticks_ns() >= until_ns


def test_the_system_clock_returns_at_once_from_a_tick_that_has_passed() -> None:
    clock = SystemClock()
    before_ns = clock.ticks_ns()
    clock.sleep_until(before_ns - 3600 * SECOND_NS)
    assert clock.ticks_ns() - before_ns < SECOND_NS


def test_a_manual_clock_stands_still_until_it_is_moved() -> None:
    clock = ManualClock(start_ns=7)
    assert (clock.now_ns(), clock.ticks_ns()) == (7, 7)
    clock.advance(by_ns=3)
    assert (clock.now_ns(), clock.ticks_ns()) == (10, 10)


def test_a_manual_clock_sleeps_forwards_only() -> None:
    clock = ManualClock(start_ns=100)
    clock.sleep_until(250)
    assert clock.ticks_ns() == 250
    clock.sleep_until(200)
    assert clock.ticks_ns() == 250


def test_a_deadline_passes_when_its_time_is_up_and_not_before() -> None:
    clock = ManualClock(start_ns=5)
    deadline = Deadline(clock, within_s=1.5)
    clock.advance(by_ns=1_500_000_000 - 1)
    assert not deadline.passed()
    clock.advance(by_ns=1)
    assert deadline.passed()


def test_what_is_left_of_a_deadline_is_never_negative() -> None:
    clock = ManualClock()
    deadline = Deadline(clock, within_s=2)
    clock.advance(by_ns=SECOND_NS // 2)
    assert deadline.left_s() == 1.5
    clock.advance(by_ns=10 * SECOND_NS)
    assert deadline.left_s() == 0


def test_a_pause_ends_at_the_deadline_at_the_latest() -> None:
    clock = ManualClock()
    deadline = Deadline(clock, within_s=1)
    deadline.pause(for_s=0.4)
    assert clock.ticks_ns() == 400 * MILLISECOND_NS
    deadline.pause(for_s=0.9)
    assert clock.ticks_ns() == SECOND_NS
    deadline.pause(for_s=0.9)
    assert clock.ticks_ns() == SECOND_NS


def test_a_deadline_of_no_time_has_passed_at_once() -> None:
    assert Deadline(ManualClock(), within_s=0).passed()
