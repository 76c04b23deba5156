"""A machine that something else slows is found by a piece of work that then takes longer."""

import os

import pytest

from compare.runs.rounds import with_steadiness
from compare.runs.steadiness import MOST_SHARE, Watch, steadiness, unsteady
from edgewise.clock import SystemClock
from tests.real import eventually
from tests.tables import Told


def test_an_even_machine_is_steady() -> None:
    found = steadiness([[30.0, 31.0, 29.0, 35.0], [40.0, 41.0, 39.0, 40.0]])
    assert found is not None
    assert (found.probes, found.uneven_share) == (8, 0)
    assert found.probe_us == pytest.approx(35.25)
    assert not unsteady(found)


def test_a_core_that_is_slow_for_a_while_is_not() -> None:
    found = steadiness([[30.0] * 70 + [60.0] * 30, [30.0] * 100])
    assert found is not None
    assert (found.uneven_share, found.slowest) == (0.15, 2)
    assert unsteady(found)


def test_a_core_that_is_mostly_slow_is_uneven_all_the_same() -> None:
    found = steadiness([[60.0] * 70 + [30.0] * 30])
    assert found is not None
    assert (found.uneven_share, found.slowest) == (0.3, 1)


def test_what_nobody_watched_is_not_known_and_not_unsteady() -> None:
    assert steadiness([[], []]) is None
    assert not unsteady(None)


def test_an_unsteady_machine_is_a_remark_and_no_reason() -> None:
    summary = Told().summary()
    uneven = with_steadiness(summary, steadiness([[30.0] * 80 + [60.0] * 20]))
    assert uneven.reasons == summary.reasons
    (said,) = (one for one in uneven.remarks if one.rule == "unsteady machine")
    assert (said.found, said.limit) == (20.0, MOST_SHARE * 100)
    even = with_steadiness(summary, steadiness([[30.0] * 100]))
    assert even.remarks == summary.remarks
    assert even.steadiness is not None


def test_cores_are_probed_while_the_block_lasts_and_the_caller_keeps_its_own() -> None:
    cores = os.sched_getaffinity(0)
    with Watch(cores, clock=SystemClock()) as watch:
        eventually(lambda: (found := watch.found()) is not None and found.probes >= 2 * len(cores), within_s=20)
    found = watch.found()
    assert found is not None
    assert found.probe_us > 0
    assert os.sched_getaffinity(0) == cores
