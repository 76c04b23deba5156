"""Known answers: from tables, from the sources, or counted out; none from the code itself."""

import math
from typing import Final

import numpy as np
import pytest

from edgewise import statistics
from edgewise.statistics import Interval

RNG_SEED: Final = 7


@pytest.mark.parametrize(
    ("share", "samples"), [(50, 7), (90, 44), (99, 459), (99.9, 4_603)], ids=["p50", "p90", "p99", "p99.9"]
)
def test_a_percentile_needs_its_samples(share: float, samples: int) -> None:
    values = np.arange(samples, dtype=np.float64)
    assert statistics.percentile(values[1:], share) is None
    assert statistics.percentile(values, share) is not None
    # With 99 % confidence the largest of so many is above it: one less would not do.
    assert (share / 100) ** samples <= 0.01 < (share / 100) ** (samples - 1)


@pytest.mark.parametrize("samples", [4_603, 5000, 9_999, 10_000])
@pytest.mark.parametrize(("share", "thousandths"), [(50, 500), (90, 900), (99, 990), (99.9, 999)])
def test_a_percentile_is_the_value_at_the_nearest_rank(samples: int, share: float, thousandths: int) -> None:
    values = np.random.default_rng(3).permutation(np.arange(1.0, samples + 1))
    assert statistics.percentile(values, share) == -(-samples * thousandths // 1000)


@pytest.mark.parametrize(("missing", "p99"), [(0, 990.0), (10, 990.0), (11, None)])
def test_missing_frames_are_infinitely_late(missing: int, p99: float | None) -> None:
    values = np.concatenate([np.arange(1.0, 1001 - missing), np.full(missing, np.inf)])
    assert statistics.percentile(values, 99) == p99


# Newcombe, Statistics in Medicine 17 (1998), table I: method 3, the Wilson score interval.
@pytest.mark.parametrize(
    ("right", "of", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_the_published_intervals(right: int, of: int, low: float, high: float) -> None:
    found = statistics.wilson(right, of)
    assert found is not None
    assert found == pytest.approx((low, high), abs=5e-5)


def test_of_nothing_there_is_no_interval() -> None:
    assert statistics.wilson(0, 0) is None
    assert statistics.share_difference(0, 0, of=0) is None
    assert statistics.percentile_interval(np.zeros(6), 50) is None


def test_all_right_is_not_certainty() -> None:
    found = statistics.wilson(20, 20)
    assert found == pytest.approx((1 - 0.1611, 1.0), abs=5e-5)


def binomial_p(fewer: int, differ: int) -> float:
    """Count the coin tosses, in whole numbers."""
    return min(1.0, 2 * sum(math.comb(differ, heads) for heads in range(fewer + 1)) / float(2**differ))


@pytest.mark.parametrize(
    ("one", "other", "p"),
    [(0, 0, 1.0), (5, 5, 1.0), (0, 5, 0.0625), (1, 9, 22 / 1024), (6, 16, 0.05247879), (59, 6, 4.4341e-12)],
)
def test_mcnemar_is_the_binomial_test(one: int, other: int, p: float) -> None:
    assert statistics.mcnemar_p(one, other) == pytest.approx(p, rel=1e-4)
    assert statistics.mcnemar_p(other, one) == statistics.mcnemar_p(one, other)
    assert statistics.mcnemar_p(one, other) == pytest.approx(binomial_p(min(one, other), one + other), rel=1e-9)


def test_mcnemar_holds_for_a_million_images() -> None:
    # 1,000 standard deviations apart, two, and none.
    assert statistics.mcnemar_p(0, 1_000_000) == 0
    assert statistics.mcnemar_p(499_000, 501_000) == pytest.approx(math.erfc(1.999 / math.sqrt(2)), rel=1e-3)
    assert statistics.mcnemar_p(500_000, 500_000) == 1


def test_a_paired_difference_has_the_width_that_theory_gives_it() -> None:
    one, other, of = 300, 200, 10_000
    found = statistics.share_difference(one, other, of=of)
    assert found is not None
    mean = (other - one) / of
    half = 1.96 * math.sqrt(((one + other) / of - mean**2) / of)
    assert found == pytest.approx((mean - half, mean + half), abs=0.05 * half)
    assert statistics.share_difference(one, other, of=of) == found, "the same seed, the same interval"


def test_tiers_that_never_differ_differ_by_nothing() -> None:
    assert statistics.share_difference(0, 0, of=1000) == (0, 0)


def test_a_medians_interval_has_the_ranks_that_theory_gives_it() -> None:
    samples = 10_001
    values = np.random.default_rng(RNG_SEED).permutation(np.arange(1.0, samples + 1))
    found = statistics.percentile_interval(values, 50)
    assert found is not None
    # The classic interval of a median: from rank n / 2 - 0.98 sqrt(n) to n / 2 + 0.98 sqrt(n).
    reach = 0.98 * math.sqrt(samples)
    assert found == pytest.approx((samples / 2 - reach, samples / 2 + reach), abs=0.08 * reach)


def test_drawing_places_is_drawing_samples() -> None:
    values = np.sort(np.random.default_rng(RNG_SEED).exponential(size=101))
    drawn = np.random.default_rng(1).choice(values, size=(20_000, len(values)))
    plainly = np.percentile(np.partition(drawn, 50, axis=1)[:, 50], [2.5, 97.5])
    found = statistics.percentile_interval(values, 50)
    assert found is not None
    assert tuple(found) == pytest.approx(tuple(plainly), rel=0.06)


def test_an_interval_of_a_percentile_that_may_be_infinite_is_none() -> None:
    values = np.concatenate([np.ones(60), np.full(40, np.inf)])
    assert statistics.percentile_interval(values, 90) is None


@pytest.mark.parametrize(
    ("freedom", "t"), [(3, 2.3534), (5, 2.0150), (10, 1.8125), (30, 1.6973), (120, 1.6577), (10_000, 1.6450)]
)
def test_students_t_is_that_of_the_tables(freedom: int, t: float) -> None:
    assert statistics.student_t(freedom) == pytest.approx(t, abs=0.005)


def test_a_line_through_points_on_it_is_exact() -> None:
    moments = np.arange(10.0)
    assert statistics.trend(moments, 3 * moments + 7) == pytest.approx((3, 3, 3))


def test_a_trend_is_the_published_one() -> None:
    # Anscombe's first quartet (1973): slope 0.500, standard error 0.118, 9 degrees of freedom: t = 1.833.
    x = np.array([10, 8, 13, 9, 11, 14, 6, 4, 12, 7, 5], dtype=np.float64)
    y = np.array([8.04, 6.95, 7.58, 8.81, 8.33, 9.96, 7.24, 4.26, 10.84, 4.82, 5.68])
    found = statistics.trend(x, y)
    assert found is not None
    assert found == pytest.approx((0.50009, 0.50009 - 1.833 * 0.11791, 0.50009 + 1.833 * 0.11791), abs=5e-4)


@pytest.mark.parametrize("points", [0, 1, 4])
def test_through_a_few_points_there_is_no_trend(points: int) -> None:
    assert statistics.trend(np.arange(float(points)), np.arange(float(points))) is None


def test_at_one_moment_nothing_grows() -> None:
    assert statistics.trend(np.ones(9), np.arange(9.0)) is None


@pytest.mark.parametrize(
    ("one", "other", "common"),
    [((0, 1), (2, 3), False), ((0, 2), (2, 3), True), ((0, 9), (2, 3), True), ((2, 3), (0, 1), False)],
)
def test_intervals_overlap_or_not(one: tuple[float, float], other: tuple[float, float], *, common: bool) -> None:
    assert statistics.overlap(Interval(*one), Interval(*other)) is common
    assert statistics.overlap(Interval(*other), Interval(*one)) is common
