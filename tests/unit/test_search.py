"""Searches for a load, against tiers whose limit is known."""

import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compare.searches.search import ABOVE, Capacity, CapacitySearch, Crossover, crossover
from edgewise.messages import Tier


def limited(limit_hz: float, tried: list[float]) -> Callable[[float], bool]:
    """Give a tier that sustains what is not above its limit, and note what it was offered."""

    def sustains(rate_hz: float) -> bool:
        tried.append(rate_hz)
        return rate_hz <= limit_hz

    return sustains


def test_it_doubles_halves_the_gap_and_confirms() -> None:
    tried: list[float] = []
    found = CapacitySearch(limited(600, tried), start_hz=100, most_hz=10_000).run()
    assert found == Capacity(600, bounded=True, confirmed=True)
    assert tried == [100, 200, 400, 800, 600, 700, 650, 625, 600, 600 * ABOVE]


@given(limit_hz=st.floats(1, 1e5), start_hz=st.floats(1, 1e4), within=st.floats(0.01, 0.3))
def test_what_it_finds_lies_within_the_gap_below_the_limit(limit_hz: float, start_hz: float, within: float) -> None:
    tried: list[float] = []
    found = CapacitySearch(limited(limit_hz, tried), start_hz=start_hz, most_hz=1e6, within=within).run()
    if found.rate_hz is None:
        assert limit_hz < start_hz / 32
    else:
        assert found.rate_hz <= limit_hz <= found.rate_hz * max(1 + within, ABOVE)
        assert found.bounded
        assert len(tried) < 60


def test_a_limit_beyond_the_range_is_not_called_the_capacity() -> None:
    tried: list[float] = []
    found = CapacitySearch(limited(5_000, tried), start_hz=100, most_hz=700).run()
    assert found == Capacity(700, bounded=False, confirmed=False)
    assert max(tried) == 700


def test_a_tier_that_sustains_nothing_is_not_tried_for_ever() -> None:
    tried: list[float] = []
    assert CapacitySearch(limited(0, tried), start_hz=64, most_hz=700).run() == Capacity(
        None, bounded=True, confirmed=False
    )
    assert tried == [64, 32, 16, 8, 4, 2, 1]


def test_a_rate_that_does_not_hold_twice_is_given_up_for_a_lower_one() -> None:
    lucky = [600.0]

    def sustains(rate_hz: float) -> bool:
        if rate_hz in lucky:
            lucky.remove(rate_hz)
            return True
        return rate_hz <= 500

    found = CapacitySearch(sustains, start_hz=100, most_hz=10_000).run()
    assert found.confirmed
    assert found.rate_hz == pytest.approx(500, rel=0.05)


def test_a_rate_that_failed_by_chance_is_tried_again_from_above() -> None:
    unlucky = [800.0, 400.0]

    def sustains(rate_hz: float) -> bool:
        if rate_hz in unlucky:
            unlucky.remove(rate_hz)
            return False
        return rate_hz <= 900

    found = CapacitySearch(sustains, start_hz=100, most_hz=10_000).run()
    assert found.rate_hz == pytest.approx(900, rel=0.1)


@given(st.randoms(use_true_random=False))
def test_a_tier_that_tosses_a_coin_does_not_keep_the_search_for_ever(chance: random.Random) -> None:
    tried: list[float] = []

    def sustains(rate_hz: float) -> bool:
        tried.append(rate_hz)
        return chance.random() < 0.5

    CapacitySearch(sustains, start_hz=100, most_hz=10_000).run()
    assert len(tried) < 100


def better(crossing: float, *, tie_from: float = math.inf) -> Callable[[int], Tier | None]:
    """Give the gateway below the crossing, the cluster from there on, and neither in between."""
    return lambda cameras: Tier.CLUSTER if cameras >= crossing else None if cameras >= tie_from else Tier.GATEWAY


@given(crossing=st.integers(9, 500))
def test_the_number_of_cameras_where_the_better_tier_changes(crossing: int) -> None:
    found = crossover(better(crossing), start=8, most=512)
    assert (found.before, found.after) == (Tier.GATEWAY, Tier.CLUSTER)
    assert found.low < crossing <= found.high
    assert found.high - found.low <= max(1, 0.05 * found.low)


def test_a_range_where_neither_is_better_is_not_the_crossover() -> None:
    found = crossover(better(100, tie_from=20), start=8, most=512, within=0.01)
    assert found == Crossover(Tier.GATEWAY, Tier.CLUSTER, 99, 100)


def test_no_change_within_the_range_is_said() -> None:
    assert crossover(better(1000), start=8, most=300) == Crossover(Tier.GATEWAY, None, 300, 300)
    assert crossover(lambda _: None, start=8, most=64) == Crossover(None, None, 64, 64)
