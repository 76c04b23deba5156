"""The statistics that a verdict stands on, each with its source; NumPy alone, nothing is read or written here.

Intervals are of 95 %. Bootstrap intervals take frames as independent of one another, which
frames of one micro-batch are not: they say how sure one run is of itself. Whether two
runs differ is for repeats to say.
"""

import math
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

SAMPLES_NEEDED: Final = {50: 7, 90: 44, 99: 459, 99.9: 4_603}
"""The fewest samples whose largest is above the percentile with 99 % confidence: ln 0.01 / ln p."""
Z_TWO_SIDED: Final = 1.959963984540054
"""Of the normal distribution: 95 % lie between minus this and this."""
Z_ONE_SIDED: Final = 1.6448536269514722
"""95 % lie below."""
DRAWS: Final = 4_000
"""Of a bootstrap: its bounds then move by less than a tenth of the interval's width from seed to seed."""
TREND_POINTS: Final = 5
"""The fewest that a trend is drawn through: below, the t distribution's approximation is too rough."""


class Interval(NamedTuple):
    """Where the true value lies, with 95 % confidence; both ends included."""

    low: float
    high: float


class Bounds(Protocol):
    """Any interval, a summary's too."""

    @property
    def low(self) -> float:
        """Its lower end."""

    @property
    def high(self) -> float:
        """Its upper end."""


class Trend(NamedTuple):
    """How fast something grows, and the bounds of that: each holds with 95 % confidence by itself."""

    slope: float
    lower: float
    upper: float


def percentile(values: Floats, share: float) -> float | None:
    """Give an exact percentile (nearest rank), or None if there are too few samples or it is infinite.

    As many samples are needed as make it 99 % sure that the largest is above the
    percentile: the binomial argument of MLPerf's LoadGen.
    """
    if len(values) < SAMPLES_NEEDED[share]:
        return None
    place = nearest_rank(len(values), share) - 1
    found = float(np.partition(values, place)[place])
    return None if math.isinf(found) else round(found, 3)


def nearest_rank(samples: int, share: float) -> int:
    """Say which of so many sorted samples, counted from 1, is the percentile."""
    # Rounded first: 99.9 % of 5,000 is 4,995, and not the hair more that floats make of it.
    return math.ceil(round(samples * share / 100, 6))


def wilson(right: int, of: int) -> Interval | None:
    """Give the interval of a share, or None of nothing.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
    JASA 22 (1927). It stays within 0 and 1 and holds near them, where right +- z * s does not.
    """
    if of == 0:
        return None
    share, z2 = right / of, Z_TWO_SIDED**2
    centre = (share + z2 / (2 * of)) / (1 + z2 / of)
    half = Z_TWO_SIDED * math.sqrt(share * (1 - share) / of + z2 / (4 * of**2)) / (1 + z2 / of)
    return Interval(max(0.0, centre - half), min(1.0, centre + half))


def mcnemar_p(only_one: int, only_other: int) -> float:
    """Say how likely two equally good classifiers differ at least so much on the same images.

    Q. McNemar, Psychometrika 12 (1947), in its exact form: of the images that just one
    gets right, each is as likely to be right by one as by the other (two-sided binomial).
    """
    differ, fewer = only_one + only_other, min(only_one, only_other)
    if differ == 0:
        return 1.0
    chances = log_binomials(differ, most=fewer) - differ * math.log(2)
    return min(1.0, 2 * float(np.exp(chances).sum()))


def log_binomials(of: int, *, most: int) -> Floats:
    """Give the logarithms of ``of`` over 0, 1, ... ``most``: 2 ** 1,000,000 is no float."""
    places = np.arange(1, most + 1, dtype=np.float64)
    return np.concatenate([[0.0], np.cumsum(np.log((of - places + 1) / places))])  # each from the one before


def share_difference(only_one: int, only_other: int, *, of: int, seed: int = 1) -> Interval | None:
    """Give the interval of the other's share of right answers minus the one's, on the same images.

    A paired bootstrap with percentile bounds (B. Efron, R. Tibshirani, "An Introduction to
    the Bootstrap", 1993, chapter 13). Frames drawn with replacement fall into right by one,
    right by the other and no difference as a multinomial says, so the counts are drawn at once.
    """
    if of == 0:
        return None
    shares = np.array([only_one, only_other, of - only_one - only_other]) / of
    drawn = np.random.default_rng(seed).multinomial(of, shares, size=DRAWS)
    return middle((drawn[:, 1] - drawn[:, 0]) / of)


def percentile_interval(values: Floats, share: float, *, seed: int = 1) -> Interval | None:
    """Give the interval of a percentile, or None with too few samples or an infinite bound.

    The bootstrap again, without drawing samples: sorted samples drawn with replacement
    have their k-th at the place that the k-th of as many uniform numbers has, and that is
    distributed as Beta(k, n - k + 1) (B. Efron, Annals of Statistics 7, 1979, section 3).
    One sort, whatever the number of draws. Of paired differences it is the paired bootstrap.
    """
    samples = len(values)
    if samples < SAMPLES_NEEDED[share]:
        return None
    rank = nearest_rank(samples, share)
    uniform = np.random.default_rng(seed).beta(rank, samples - rank + 1, size=DRAWS)
    places = np.clip(np.ceil(uniform * samples).astype(np.int64) - 1, 0, samples - 1)
    return middle(np.sort(values)[places])


def median_interval(values: Sequence[float], *, seed: int = 1) -> tuple[float, Interval]:
    """Give the median of a few repeats and its interval: the bootstrap's, so of three their range."""
    found = np.asarray(values, dtype=np.float64)
    drawn = np.random.default_rng(seed).choice(found, size=(DRAWS, len(found)))
    low, high = np.percentile(np.median(drawn, axis=1), [2.5, 97.5], method="inverted_cdf")
    return float(np.median(found)), Interval(float(low), float(high))


def middle(drawn: Floats) -> Interval | None:
    """Give the bounds of the middle 95 % of what a bootstrap drew, or None if one is infinite or a draw is NaN."""
    if np.isnan(drawn).any():
        return None
    low, high = (float(bound) for bound in np.percentile(drawn, [2.5, 97.5], method="inverted_cdf"))
    return None if math.isinf(low) or math.isinf(high) else Interval(low, high)


def trend(moments: Floats, values: Floats) -> Trend | None:
    """Draw the straight line of least squares; None through too few points, or all at one moment.

    N. R. Draper, H. Smith, "Applied Regression Analysis", chapter 1: the slope's standard
    error from what the line leaves over, its bounds from Student's t.
    """
    points = len(moments)
    if points < TREND_POINTS:
        return None
    away = moments - moments.mean()
    spread = float(away @ away)
    if spread == 0:
        return None
    slope = float(away @ (values - values.mean())) / spread
    left = values - values.mean() - slope * away
    error = math.sqrt(float(left @ left) / (points - 2) / spread)
    reach = student_t(points - 2) * error
    return Trend(slope, slope - reach, slope + reach)


def student_t(freedom: int, *, z: float = Z_ONE_SIDED) -> float:
    """Give Student's t that as many lie below as z of the normal distribution, which is 95 % if it is not said.

    M. Abramowitz, I. Stegun, "Handbook of Mathematical Functions", 26.7.5. Of 95 % and at least
    3 degrees of freedom it is wrong by less than 0.005; of 99.9 % and at least 9 by less than 0.03.
    """
    return (
        z
        + (z**3 + z) / (4 * freedom)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
        + (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92_160 * freedom**4)
    )


def overlap(one: Bounds, other: Bounds) -> bool:
    """Say whether two intervals have a value in common: then no difference is claimed."""
    return one.low <= other.high and other.low <= one.high
