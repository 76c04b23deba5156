"""The whole way from a schedule to a capacity, beside queues whose answers are known in closed form.

A tier that takes frames one after the other is a queue with one server. With Poisson
arrivals and exponential service times it is M/M/1, with a fixed service time M/D/1.
"""

import math
from collections.abc import Callable
from typing import Final

import numpy as np
import pytest
from numpy.typing import NDArray

from compare.runs import ceiling
from compare.runs.ran import Ran
from compare.scenario import Fleet, Kind, Placement, Scenario, Search
from compare.searches.capacity import searched
from edgewise.arrivals import Poisson
from edgewise.messages import Tier
from edgewise.summary import Summary
from tests.tables import Told

SERVICE_S: Final = 0.002
CAPACITY_HZ: Final = 1 / SERVICE_S
Service = Callable[[int], NDArray[np.float64]]


def fixed(frames: int) -> NDArray[np.float64]:
    return np.full(frames, SERVICE_S)


def exponential(frames: int) -> NDArray[np.float64]:
    return np.random.default_rng(7).exponential(SERVICE_S, frames)


def served(rate_hz: float, *, duration_s: float, service: Service) -> Summary:
    """Let one server answer the frames of ten cameras in the order in which they are due."""
    cameras = 10
    told = Told(
        cameras=cameras,
        rate_hz=rate_hz / cameras,
        frames=round(rate_hz * duration_s / cameras),
        tiers=(Tier.GATEWAY,),
        arrival=Poisson(),
    )
    order = np.argsort(told.due_ns, kind="stable")
    due_s = told.after_s[order]
    spent_s = service(len(order))
    # Who comes waits until the one before has gone (D. V. Lindley, 1952), for all frames at once.
    gone_s = np.cumsum(spent_s) + np.maximum.accumulate(due_s - (np.cumsum(spent_s) - spent_s))
    moments = told.answers[Tier.GATEWAY].moments_ns
    for name in moments:
        moments[name] = told.due_ns.copy()
    for name, at_s in (("inferred", gone_s), ("result_appended", gone_s), ("seen", gone_s)):
        moments[name][order] = told.due_ns.min() + (at_s * 1e9).astype(np.int64)
    return told.summary()


def m_m_1(share: float, *, rate_hz: float) -> float:
    """Give a percentile of the time in the system: exponential with the rate that is left over."""
    return -math.log(1 - share) / (CAPACITY_HZ - rate_hz)


def m_d_1(share: float, *, rate_hz: float) -> float:
    """Give a percentile of the time in the system, from the distribution of the waiting time (A. K. Erlang, 1909)."""

    def waits_less(time_s: float) -> float:
        terms = []
        for number in range(int(time_s / SERVICE_S) + 1):
            power = rate_hz * (number * SERVICE_S - time_s)
            terms.append(power**number / math.factorial(number) * math.exp(-power))
        return (1 - rate_hz * SERVICE_S) * math.fsum(terms)

    low_s, high_s = 0.0, 20 * SERVICE_S
    for _ in range(50):
        middle_s = (low_s + high_s) / 2
        low_s, high_s = (middle_s, high_s) if waits_less(middle_s) < share else (low_s, middle_s)
    return low_s + SERVICE_S


@pytest.mark.parametrize(
    ("service", "known", "rate_hz"),
    [(exponential, m_m_1, 200), (exponential, m_m_1, 350), (fixed, m_d_1, 200), (fixed, m_d_1, 350)],
)
def test_latencies_are_those_of_the_queue(service: Service, known: Callable[..., float], rate_hz: float) -> None:
    found = served(rate_hz, duration_s=1000, service=service).tiers["gateway"].latency_ms
    assert found.p50 == pytest.approx(1000 * known(0.50, rate_hz=rate_hz), rel=0.05)
    assert found.p99 == pytest.approx(1000 * known(0.99, rate_hz=rate_hz), rel=0.05)


@pytest.mark.parametrize("service", [fixed, exponential])
def test_the_capacity_found_is_that_of_the_queue(service: Service) -> None:
    scenario = Scenario(
        placement=Placement.GATEWAY,
        deadline_ms=1000,
        fleet=Fleet(cameras=10, rate_hz=10.0, duration_s=60),
        search=Search(kind=Kind.CAPACITY, within_share=0.02, accuracy_points=100),
    )

    def run(at: Scenario, tier: Tier) -> Ran:
        assert tier is Tier.GATEWAY
        offered_hz = at.fleet.cameras * at.fleet.rate_hz
        return Ran("", (tier.value,), served(offered_hz, duration_s=at.fleet.duration_s, service=service))

    found = searched(scenario, run, lambda at: ceiling.asked(at.fleet, ceiling_hz=1e5))
    assert found.verdict == "VALID"
    gateway = found.tiers["gateway"]
    assert gateway.confirmed
    assert gateway.capacity_hz == pytest.approx(CAPACITY_HZ, rel=0.05)
