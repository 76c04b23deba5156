"""Arrival patterns: when a camera's frames are due, all of it fixed before the run by a seed.

The fleet sends by these moments and the ledger judges by them, perhaps on another machine:
both must compute the same ones, to the nanosecond. So chance is PCG64's raw stream, which
NumPy promises not to change, and logarithm, exponential and cosine are made here of sums,
products and quotients, which IEEE 754 rounds in one way only; those of a mathematics
library differ in the last bit between processors. No file is read here: a trace comes from
``producers/fleet/trace.py``.
"""

import base64
import math
import zlib
from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, Any, Final, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from edgewise.clock import SECOND_NS

LONGEST_S: Final = 1_000_000_000
"""Of a schedule, about 31 years: its moments are whole nanoseconds in 64 bits."""
TRACE_FRAMES_MOST: Final = 1_000_000
TRACE_MOST_BYTES: Final = 900_000
"""Of a trace as the plan carries it: Kafka takes a record of about a million."""
STAIRS: Final = 1440
"""Pieces of a diurnal period, each with one rate: minutes, if the period is a day."""

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]
Draw = Callable[[int], Floats]
"""The first so many of a camera's numbers of chance, from 0 up to, but not, 1."""


def chance(seed: int, index: int) -> Draw:
    """Give one camera's own stream."""

    def draw(count: int) -> Floats:
        raw = np.random.PCG64([seed, index]).random_raw(count)
        return (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53

    return draw


class _Pattern(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Periodic(_Pattern):
    """Frames at even distances, each camera at a phase of its own."""

    kind: Literal["periodic"] = "periodic"

    def after_ns(self, draw: Draw, *, rate_hz: float, frames: int) -> Floats:
        """Give the moments after the start: phase + n / rate, which never drifts."""
        period_ns = SECOND_NS / rate_hz
        after_ns: Floats = draw(1)[0] * period_ns + np.arange(frames) * period_ns
        return after_ns


class Poisson(_Pattern):
    """Frames independent of one another: gaps of an exponential distribution."""

    kind: Literal["poisson"] = "poisson"

    def after_ns(self, draw: Draw, *, rate_hz: float, frames: int) -> Floats:
        """Give the moments after the start; the first has its gap too."""
        return _exponential(draw, frames).cumsum() * (SECOND_NS / rate_hz)


class Lognormal(_Pattern):
    """Frames at about even distances, some of them long: lognormal gaps, the first at a phase as if periodic.

    The sender of VMware's IoT inference benchmark waited 0.7 m lognormvariate(m, m/2) /
    exp(m + (m/2)^2 / 2) between two sends, with m the mean gap in seconds. The quotient has a
    mean of one and its first m cancels out; what is left is a lognormal gap of mean m whose
    logarithm has the standard deviation m/2: a time, taken for a number. The 0.7 made up for
    what a send took beside the wait. Here a frame is due whatever a send takes: nothing is
    made up for.
    """

    kind: Literal["lognormal"] = "lognormal"
    sigma: float = Field(ge=0, le=2)
    """Standard deviation of the gaps' logarithm; that sender's is half the mean gap in seconds."""

    def after_ns(self, draw: Draw, *, rate_hz: float, frames: int) -> Floats:
        """Give the moments after the start."""
        uniform = draw(2 * frames - 1)
        normal = np.sqrt(-2 * log(1 - uniform[1::2])) * cosine(uniform[2::2])  # Box and Muller's
        gaps = exponential(self.sigma * normal - self.sigma * self.sigma / 2)
        return np.concatenate([uniform[:1], gaps]).cumsum() * (SECOND_NS / rate_hz)


class Burst(_Pattern):
    """On and off, all cameras in step: periodic at a multiple of the rate, then silent; over both, the rate."""

    kind: Literal["burst"] = "burst"
    on_s: float = Field(default=1.0, gt=0, le=LONGEST_S)
    """How long frames come, at (on_s + off_s) / on_s times the rate; the schedule begins with it."""
    off_s: float = Field(default=4.0, ge=0, le=LONGEST_S)
    """How long none comes."""

    def after_ns(self, draw: Draw, *, rate_hz: float, frames: int) -> Floats:
        """Give the moments after the start."""
        often_hz = rate_hz * ((self.on_s + self.off_s) / self.on_s)
        busy_ns = Periodic().after_ns(draw, rate_hz=often_hz, frames=frames)
        return busy_ns + np.floor(busy_ns / (self.on_s * SECOND_NS)) * (self.off_s * SECOND_NS)


class Diurnal(_Pattern):
    """Poisson at a rate that swings as a sine, all cameras in step; the mean over whole periods is the rate."""

    kind: Literal["diurnal"] = "diurnal"
    period_s: float = Field(default=86_400.0, gt=0, le=LONGEST_S)
    """Of the swing. The schedule begins at the mean rate, rising."""
    depth: float = Field(default=0.8, ge=0, le=1)
    """The rate goes from 1 - depth to 1 + depth times its mean."""

    def after_ns(self, draw: Draw, *, rate_hz: float, frames: int) -> Floats:
        """Give the moments after the start: where the frames expected until then reach a Poisson's count.

        Between two stairs the expected frames grow evenly, so the way back is a straight line.
        """
        ends = np.arange(STAIRS + 1) / STAIRS
        expected = ends + self.depth * (1 - cosine(ends)) / (2 * math.pi)
        periods = _exponential(draw, frames).cumsum() / (rate_hz * self.period_s)
        whole = np.floor(periods)
        part = periods - whole
        stair = np.searchsorted(expected, part, side="right").clip(1, STAIRS) - 1
        within = (part - expected[stair]) / (expected[stair + 1] - expected[stair])
        after_ns: Floats = (whole + (stair + within) / STAIRS) * (self.period_s * SECOND_NS)
        return after_ns


class Trace(_Pattern):
    """Frames as they came once before, from a file. The plan carries all of it; see ``packed``."""

    kind: Literal["trace"] = "trace"
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """Of the file."""
    counts: str
    """Packed: the frames of each camera."""
    gaps_ns: str
    """Packed: from the start to each camera's first frame, and on from frame to frame; camera after camera."""
    images: str
    """Packed: the place in the split of each frame's image. Empty: they are dealt as in any other pattern."""

    @model_validator(mode="after")
    def _can_be_unpacked(self) -> Self:
        unfolded(self)
        return self

    @property
    def size_bytes(self) -> int:
        """Give what it takes of a plan."""
        return len(self.counts) + len(self.gaps_ns) + len(self.images)

    def cameras(self) -> int:
        """Count the cameras."""
        return len(unfolded(self).counts)

    def frames(self, index: int) -> int:
        """Count the frames of one camera."""
        return int(unfolded(self).counts[index])

    def frames_most(self) -> int:
        """Count the frames of the camera that has most."""
        return int(unfolded(self).counts.max())

    def frames_together(self) -> int:
        """Count the frames of all cameras."""
        return len(unfolded(self).due_ns)

    def due_ns(self, index: int) -> Numbers:
        """Give the moments of one camera after the start."""
        return unfolded(self).due_ns[self._rows(index)]

    def image(self, index: int) -> Numbers | None:
        """Give the places of one camera's images; None if the trace does not say."""
        images = unfolded(self).images
        return None if images is None else images[self._rows(index)]

    def images_beyond(self) -> int:
        """Say how many images a split must have, at least."""
        images = unfolded(self).images
        return 0 if images is None else int(images.max()) + 1

    def _rows(self, index: int) -> slice:
        all_of_it = unfolded(self)
        return slice(all_of_it.firsts[index], all_of_it.firsts[index] + all_of_it.counts[index])


def _named(arrival: Any) -> Any:  # noqa: ANN401 - what came over the wire
    """Take a bare name, as plans had it before there were settings."""
    return {"kind": arrival} if isinstance(arrival, str) else arrival


Drawn = Periodic | Poisson | Lognormal | Burst | Diurnal
"""The patterns that come from the seed."""
Arrival = Annotated[Drawn | Trace, Field(discriminator="kind"), BeforeValidator(_named)]


def due_ns(arrival: Drawn | Trace, *, seed: int, index: int, rate_hz: float, frames: int) -> Numbers:
    """Give the moments after the start at which one camera's frames are due."""
    if isinstance(arrival, Trace):
        return arrival.due_ns(index)
    after_ns = arrival.after_ns(chance(seed, index), rate_hz=rate_hz, frames=frames)
    return np.rint(np.minimum(after_ns, LONGEST_S * SECOND_NS)).astype(np.int64)


# --- a trace as it travels ----------------------------------------------------------------------


class Unfolded(NamedTuple):
    """A trace in numbers, which are not to be changed."""

    counts: Numbers
    firsts: Numbers
    """Where each camera's frames begin."""
    due_ns: Numbers
    images: Numbers | None


def packed(numbers: Numbers) -> str:
    """Write whole numbers as text: 64 bits each, first all lowest bytes and last all highest, deflated, base64.

    Byte by byte, the zeros of small numbers stand together and take no room.
    """
    planes = np.ascontiguousarray(numbers, dtype="<i8").view(np.uint8).reshape(-1, 8).T
    return base64.b64encode(zlib.compress(planes.tobytes(), 9)).decode()


def unpacked(text: str) -> Numbers:
    """Read what ``packed`` wrote.

    Raises:
        ValueError: it is something else, or more than a trace may have.
    """
    inflate = zlib.decompressobj()
    try:
        planes = inflate.decompress(base64.b64decode(text, validate=True), 8 * TRACE_FRAMES_MOST + 1)
    except zlib.error as error:
        raise ValueError(f"not deflated: {error}") from error
    if len(planes) > 8 * TRACE_FRAMES_MOST:
        raise ValueError(f"more than {TRACE_FRAMES_MOST:,} numbers")
    if not inflate.eof or inflate.unused_data or len(planes) % 8:
        raise ValueError("cut off, or followed by something")
    numbers = np.frombuffer(planes, dtype=np.uint8).reshape(8, -1).T.copy().view("<i8").reshape(-1)
    return numbers.astype(np.int64)


@lru_cache(maxsize=8)
def unfolded(trace: Trace) -> Unfolded:
    """Give a trace in numbers.

    Raises:
        ValueError: it is damaged.
    """
    counts, gaps_ns = unpacked(trace.counts), unpacked(trace.gaps_ns)
    images = unpacked(trace.images) if trace.images else None
    if not counts.size or counts.min() < 1 or counts.max() > TRACE_FRAMES_MOST or counts.sum() != gaps_ns.size:
        raise ValueError("the trace's counts are not those of its gaps")
    if images is not None and (images.size != gaps_ns.size or images.min() < 0):
        raise ValueError("the trace's images are not those of its gaps")
    firsts = np.concatenate([[0], counts.cumsum()[:-1]])
    if gaps_ns.min() < 0 or np.add.reduceat(gaps_ns.astype(np.float64), firsts).max() > LONGEST_S * SECOND_NS:
        raise ValueError(f"the trace goes back in time, or takes more than {LONGEST_S:,} s")
    running_ns = gaps_ns.cumsum()  # over all cameras it may overflow: what is taken off brings it back
    before_ns = np.concatenate([[0], running_ns])[firsts]
    found = Unfolded(counts, firsts, running_ns - before_ns.repeat(counts), images)
    for numbers in found:
        if numbers is not None:
            numbers.setflags(write=False)
    return found


# --- mathematics that is the same everywhere ----------------------------------------------------

LN_2: Final = 0.6931471805599453
HALF_ROOT: Final = 0.7071067811865476
LOG_TERMS: Final = tuple(2 / (2 * term + 1) for term in range(13))
EXPONENTIAL_TERMS: Final = tuple(1 / math.factorial(term) for term in range(16))
COSINE_TERMS: Final = tuple((-1) ** term / math.factorial(2 * term) for term in range(13))


def _exponential(draw: Draw, count: int) -> Floats:
    """Draw numbers of an exponential distribution of mean one."""
    return -log(1 - draw(count))


def _power_series(terms: tuple[float, ...], at: Floats) -> Floats:
    value = np.full_like(at, terms[-1])
    for term in terms[-2::-1]:
        value = value * at + term
    return value


def log(value: Floats) -> Floats:
    """Give the natural logarithm of positive numbers."""
    mantissa, power = np.frexp(value)
    small = mantissa < HALF_ROOT
    mantissa, power = np.where(small, 2 * mantissa, mantissa), power - small
    ratio = (mantissa - 1) / (mantissa + 1)
    found: Floats = power * LN_2 + ratio * _power_series(LOG_TERMS, ratio * ratio)
    return found


def exponential(value: Floats) -> Floats:
    """Give e to the power of numbers that are not large."""
    power = np.rint(value / LN_2)
    return np.ldexp(_power_series(EXPONENTIAL_TERMS, value - power * LN_2), power.astype(np.int32))


def cosine(turns: Floats) -> Floats:
    """Give the cosine of an angle in turns: 1 is all the way round."""
    away = np.abs(turns - np.rint(turns))
    far = away > 0.25  # noqa: PLR2004 - the quarter where the cosine changes its sign
    angle = np.where(far, 0.5 - away, away) * (2 * math.pi)
    near = _power_series(COSINE_TERMS, angle * angle)
    return np.where(far, -near, near)
