"""Searches for a load, against tiers whose limit is known."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compare.searches.search import ABOVE, REPEATS, Better, Capacity, CapacitySearch, Crossover, CrossoverSearch
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
    assert found == Capacity(700, bounded=False, confirmed=True)
    assert tried == [100, 200, 400, 700, 700], "what is given as the least is asked for twice"


def test_a_tenth_above_that_may_not_be_offered_is_not_said_to_have_failed() -> None:
    tried: list[float] = []
    found = CapacitySearch(limited(680, tried), start_hz=100, most_hz=700).run()
    assert found.rate_hz == pytest.approx(680, rel=0.05)
    assert (found.bounded, found.confirmed) == (False, True)
    assert max(tried) == 700


def test_what_is_lucky_at_the_end_of_the_range_is_searched_on_below() -> None:
    lucky = [700.0]

    def sustains(rate_hz: float) -> bool:
        if rate_hz in lucky:
            lucky.remove(rate_hz)
            return True
        return rate_hz <= 500

    found = CapacitySearch(sustains, start_hz=100, most_hz=700).run()
    assert found.confirmed
    assert found.rate_hz == pytest.approx(500, rel=0.05)


def test_a_tier_that_sustains_nothing_is_not_tried_for_ever() -> None:
    tried: list[float] = []
    assert CapacitySearch(limited(0, tried), start_hz=64, most_hz=700).run() == Capacity(
        None, bounded=True, confirmed=False
    )
    assert tried == [64, 32, 16, 8, 4, 2, 1]


def test_a_rate_that_cannot_be_judged_is_not_tried() -> None:
    tried: list[float] = []
    assert CapacitySearch(limited(0, tried), start_hz=64, most_hz=700, least_hz=5).run().rate_hz is None
    assert tried == [64, 32, 16, 8]


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


class Tiers:
    """Gives the better tier from some numbers of cameras on, and notes what it was asked."""

    def __init__(self, changes: dict[int, Tier | None]) -> None:
        self._changes = sorted(changes.items())
        self.asked: list[tuple[int, int]] = []
        self.wrong_once: dict[int, Tier | None] = {}

    def __call__(self, cameras: int, *, repeats: int) -> Tier | None:
        self.asked.append((cameras, repeats))
        if cameras in self.wrong_once:
            return self.wrong_once.pop(cameras)
        return next((tier for begins, tier in reversed(self._changes) if begins <= cameras), None)


GATEWAY, CLUSTER = Tier.GATEWAY, Tier.CLUSTER


def searched(
    better: Better, *, most: int = 512, within: float = 0.05, useful: Callable[[int], bool] = lambda _: True
) -> Crossover:
    return CrossoverSearch(better, start=8, most=most, within=within, useful=useful).run()


@given(crossing=st.integers(9, 500))
def test_the_number_of_cameras_where_the_better_tier_changes(crossing: int) -> None:
    found = searched(Tiers({0: GATEWAY, crossing: CLUSTER}))
    assert (found.before, found.after, found.confirmed) == (GATEWAY, CLUSTER, True)
    assert found.low < crossing <= found.high
    assert found.high - found.low <= max(1, 0.05 * found.low)


def test_a_range_where_neither_is_better_is_not_the_crossover() -> None:
    tiers = Tiers({0: GATEWAY, 20: None, 100: CLUSTER})
    assert searched(tiers, within=0.01) == Crossover(GATEWAY, CLUSTER, 99, 100, confirmed=True)


def test_that_one_tier_gets_better_where_neither_was_is_not_the_crossover_to_the_other() -> None:
    tiers = Tiers({16: GATEWAY, 64: CLUSTER})
    assert searched(tiers, within=0.01) == Crossover(GATEWAY, CLUSTER, 63, 64, confirmed=True)


def test_where_only_one_tier_is_ever_better_it_is_said_from_where_on() -> None:
    assert searched(Tiers({50: CLUSTER}), within=0.01) == Crossover(None, CLUSTER, 49, 50, confirmed=True)


def test_no_change_within_the_range_is_said() -> None:
    assert searched(Tiers({0: GATEWAY, 1000: CLUSTER}), most=300) == Crossover(GATEWAY, None, 300, 300, confirmed=True)
    nobody = Tiers({})
    assert searched(nobody, most=64) == Crossover(None, None, 64, 64, confirmed=True)
    assert {repeats for _, repeats in nobody.asked} == {1}, "no tier is named, so nothing is repeated"


def test_what_a_crossover_stands_on_is_repeated_before_it_is_given() -> None:
    tiers = Tiers({0: GATEWAY, 100: CLUSTER})
    searched(tiers, within=0.01)
    assert [one for one in tiers.asked if one[1] > 1] == [(99, REPEATS), (100, REPEATS)]
    without = Tiers({0: GATEWAY})
    searched(without, most=64)
    assert [one for one in without.asked if one[1] > 1] == [(8, REPEATS), (64, REPEATS)], "the ends of its range"
    in_part = Tiers({0: GATEWAY, 60: None})
    assert searched(in_part, most=256) == Crossover(GATEWAY, None, 256, 256, confirmed=True)
    assert [one for one in in_part.asked if one[1] > 1] == [(8, REPEATS), (32, REPEATS)], "and not where neither is"


def test_a_single_run_that_told_otherwise_does_not_make_the_crossover() -> None:
    tiers = Tiers({0: GATEWAY, 100: CLUSTER})
    tiers.wrong_once = {16: CLUSTER}
    assert searched(tiers, within=0.01) == Crossover(GATEWAY, CLUSTER, 99, 100, confirmed=True)


@given(st.randoms(use_true_random=False))
def test_tiers_that_toss_a_coin_are_not_searched_for_ever_and_not_called_confirmed(chance: random.Random) -> None:
    asked = 0

    def better(_: int, *, repeats: int) -> Tier | None:
        nonlocal asked
        asked += repeats
        return chance.choice([GATEWAY, CLUSTER, None])

    searched(better)
    assert asked < 200


def test_a_load_that_neither_tier_can_do_anything_with_ends_the_range() -> None:
    tiers = Tiers({10: None})
    found = searched(tiers, useful=lambda cameras: cameras < 64)
    assert found == Crossover(None, None, 64, 64, confirmed=True)
    assert max(cameras for cameras, _ in tiers.asked) == 64
