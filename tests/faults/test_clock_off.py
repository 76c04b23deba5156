"""A fleet on a machine of its own, whose clock is behind: no step of a frame is impossible, and it is found."""

import pytest

from edgewise.clock import MILLISECOND_NS
from tests.faults.test_sabotage import Sabotage, sabotage
from tests.sabotaged import AHEAD_NS, clock_behind_elsewhere
from tests.tables import causes

__all__ = ["sabotage"]  # a fixture is found by its name

pytestmark = [pytest.mark.brokers, pytest.mark.faults, pytest.mark.timeout(300)]


def test_a_fleet_that_is_behind_all_others_is_found_by_exchanges_with_kafka(sabotage: Sabotage) -> None:
    found = sabotage.judged(sabotage.compare({}, env=sabotage.sabotaged("fleet", clock_behind_elsewhere)))
    assert causes(found) == {"clock off in fleet": []}
    fleet = found.clocks["fleet"]
    assert fleet.offset_ms is not None
    assert fleet.bound_ms is not None
    assert abs(fleet.offset_ms + AHEAD_NS / MILLISECOND_NS) <= fleet.bound_ms < 500
    assert found.clocks["gateway"].same_machine
    assert found.clocks["bridge"].same_machine
    # What it is off, latencies carry: the report says so, and nobody corrects them.
    p50_ms = found.tiers["gateway"].latency_ms.p50
    assert p50_ms is not None
    assert p50_ms > AHEAD_NS / MILLISECOND_NS
