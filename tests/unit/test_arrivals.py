"""Patterns keep what they promise: the asked rate, the asked distribution, the same nanoseconds everywhere."""

import hashlib
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from statistics import NormalDist
from typing import Final

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError

from edgewise import account, arrivals
from edgewise.account import Plan
from edgewise.arrivals import Burst, Diurnal, Drawn, Lognormal, Numbers, Periodic, Poisson, Trace, packed, unpacked
from edgewise.clock import SECOND_NS
from edgewise.places import CHECKOUT
from tests.unit.test_account import PLAN, START_NS

MANY: Final = 20_000
PATTERNS: Final[list[Drawn]] = [
    Periodic(),
    Poisson(),
    Lognormal(sigma=0.05),
    Lognormal(sigma=1.5),
    Burst(),
    Diurnal(period_s=60),
    Diurnal(period_s=7, depth=1),
]
GOLDEN: Final = {
    "periodic-0": ([468955, 33802288, 67135621, 100468955], "ed4d3305ff3be686"),
    "poisson-1": ([472285, 5368508, 25659261, 106678218], "ddd80c8cfd44114e"),
    "lognormal-2": ([468955, 32903973, 68155428, 100707457], "b818c432d7ae6421"),
    "lognormal-3": ([468955, 5419413, 65610554, 71125780], "01aa6974cfc6d175"),
    "burst-4": ([93791, 6760458, 13427124, 20093791], "9ee93d338078b020"),
    "diurnal-5": ([471462, 5359154, 25614555, 106187892], "5f371d5ee44bc3c8"),
    "diurnal-6": ([471257, 5354672, 25368630, 102011013], "62d0b64052926090"),
}
"""Of camera 3: its first moments, and what all of them hash to."""
NAMES: Final = [f"{one.kind}-{place}" for place, one in enumerate(PATTERNS)]
Law = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def schedule(pattern: Drawn, *, rate_hz: float = 30.0, frames: int = MANY, index: int = 0, seed: int = 1) -> Numbers:
    return arrivals.due_ns(pattern, seed=seed, index=index, rate_hz=rate_hz, frames=frames)


def kolmogorov_smirnov(sample: NDArray[np.float64], law: Law) -> float:
    """Give the probability of a distance as large as this one if the sample is of this law; exact for many."""
    expected, count = law(np.sort(sample)), len(sample)
    places = np.arange(count + 1) / count
    distance = float(max((places[1:] - expected).max(), (expected - places[:-1]).max()))
    reach = (math.sqrt(count) + 0.12 + 0.11 / math.sqrt(count)) * distance
    signs = (1 if term % 2 else -1 for term in range(1, 101))
    terms = (2 * sign * math.exp(-2 * (term * reach) ** 2) for term, sign in enumerate(signs, start=1))
    return min(1.0, max(0.0, sum(terms)))


def exponential_law(gaps_s: NDArray[np.float64], *, rate_hz: float) -> NDArray[np.float64]:
    return 1 - np.exp(-gaps_s * rate_hz)


def lognormal_law(gaps_s: NDArray[np.float64], *, rate_hz: float, sigma: float) -> NDArray[np.float64]:
    normal = NormalDist(-sigma * sigma / 2 - math.log(rate_hz), sigma)
    return np.array([normal.cdf(math.log(gap_s)) if gap_s > 0 else 0.0 for gap_s in gaps_s])


# --- the same everywhere ------------------------------------------------------------------------


def digest(pattern: Drawn) -> tuple[list[int], str]:
    """Sum up 20,000 moments of a camera, and show the first ones."""
    due_ns = schedule(pattern, index=3)
    return due_ns[:4].tolist(), hashlib.sha256(due_ns.astype("<i8").tobytes()).hexdigest()[:16]


@pytest.mark.parametrize(("pattern", "name"), list(zip(PATTERNS, NAMES, strict=True)), ids=NAMES)
def test_a_seed_means_the_same_moments_for_ever(pattern: Drawn, name: str) -> None:
    assert digest(pattern) == GOLDEN[name]


@pytest.mark.parametrize("without", ["X86_V4 AVX512_SPR AVX512_ICL", "X86_V4 X86_V3 AVX512_SPR AVX512_ICL"])
def test_a_lesser_processor_computes_the_same_moments(without: str) -> None:
    code = (
        "import json\n"
        "from tests.unit.test_arrivals import NAMES, PATTERNS, digest\n"
        "print(json.dumps({name: digest(one) for name, one in zip(NAMES, PATTERNS)}))\n"
    )
    env = os.environ | {"NPY_DISABLE_CPU_FEATURES": without}
    # What this processor or this NumPy does not have anyway cannot be switched off: it warns, and that is well.
    command = [sys.executable, "-W", "ignore", "-c", code]
    found = subprocess.run(command, capture_output=True, text=True, env=env, cwd=CHECKOUT, check=True)
    assert {name: tuple(one) for name, one in json.loads(found.stdout).items()} == GOLDEN


@given(st.floats(1e-300, 1e300))
def test_the_logarithm_is_one(value: float) -> None:
    assert float(arrivals.log(np.array([value]))[0]) == pytest.approx(math.log(value), rel=1e-14, abs=1e-15)


@given(st.floats(-40, 40))
def test_the_exponential_is_one(value: float) -> None:
    assert float(arrivals.exponential(np.array([value]))[0]) == pytest.approx(math.exp(value), rel=1e-13)


@given(st.floats(-10, 10))
def test_the_cosine_is_one(turns: float) -> None:
    assert float(arrivals.cosine(np.array([turns]))[0]) == pytest.approx(math.cos(2 * math.pi * turns), abs=1e-13)


# --- what every pattern keeps -------------------------------------------------------------------


@pytest.mark.parametrize("pattern", PATTERNS, ids=NAMES)
def test_moments_never_go_back_and_none_is_before_the_start(pattern: Drawn) -> None:
    due_ns = schedule(pattern)
    assert due_ns[0] >= 0
    assert (np.diff(due_ns) >= 0).all()


@pytest.mark.parametrize("pattern", PATTERNS, ids=NAMES)
def test_a_longer_schedule_begins_as_the_shorter_one(pattern: Drawn) -> None:
    assert (schedule(pattern, frames=100) == schedule(pattern)[:100]).all()


@pytest.mark.parametrize("pattern", PATTERNS, ids=NAMES)
def test_another_camera_and_another_seed_have_other_moments(pattern: Drawn) -> None:
    assert (schedule(pattern) != schedule(pattern, index=1)).all()
    assert (schedule(pattern) != schedule(pattern, seed=2)).all()


@pytest.mark.parametrize("rate_hz", [10, 100, 1000])
@pytest.mark.parametrize(
    "pattern",
    [Periodic(), Poisson(), Lognormal(sigma=0.5), Burst(on_s=0.1, off_s=0.4), Diurnal(period_s=2)],
    ids=lambda one: one.kind,
)
def test_the_mean_gap_is_within_2_percent_of_the_asked(pattern: Drawn, rate_hz: float) -> None:
    due_ns = schedule(pattern, rate_hz=rate_hz)
    assert np.diff(due_ns).mean() == pytest.approx(SECOND_NS / rate_hz, rel=0.02)


@pytest.mark.parametrize("pattern", PATTERNS, ids=NAMES)
def test_moments_stay_within_64_bits_whatever_chance_says(pattern: Drawn) -> None:
    due_ns = schedule(pattern, rate_hz=2 / arrivals.LONGEST_S, frames=1)
    assert 0 <= int(due_ns[0]) <= arrivals.LONGEST_S * SECOND_NS


# --- distributions ------------------------------------------------------------------------------


@pytest.mark.parametrize("rate_hz", [1, 10, 100, 1000])
def test_gaps_of_the_seeds_sender_are_lognormal_with_half_the_mean_gap_as_sigma(rate_hz: float) -> None:
    sigma = 0.5 / rate_hz
    gaps_s = np.diff(schedule(Lognormal(sigma=sigma), rate_hz=rate_hz)) / SECOND_NS
    assert gaps_s.mean() == pytest.approx(1 / rate_hz, rel=0.02)
    assert kolmogorov_smirnov(gaps_s, lambda one: lognormal_law(one, rate_hz=rate_hz, sigma=sigma)) > 0.01


@pytest.mark.parametrize("sigma", [0.05, 0.5, 1.0])
def test_the_tail_is_lognormal_and_nothing_lighter(sigma: float) -> None:
    gaps_s = np.diff(schedule(Lognormal(sigma=sigma), rate_hz=10, frames=200_000)) / SECOND_NS
    tail = -np.sort(-gaps_s)[:2000]  # one in a hundred: as many again in each tenth of it, and so on
    law = lognormal_law(tail, rate_hz=10, sigma=sigma)
    assert kolmogorov_smirnov((1 - law) * 100 * 199_999 / 200_000, lambda one: one.clip(0, 1)) > 0.01


def test_the_test_tells_a_lognormal_from_its_neighbours() -> None:
    gaps_s = np.diff(schedule(Lognormal(sigma=0.5), rate_hz=10)) / SECOND_NS
    assert kolmogorov_smirnov(gaps_s, lambda one: lognormal_law(one, rate_hz=10, sigma=0.52)) < 0.01
    assert kolmogorov_smirnov(gaps_s, lambda one: exponential_law(one, rate_hz=10)) < 0.01


@pytest.mark.parametrize("rate_hz", [1, 10, 100, 1000])
def test_poissons_gaps_are_exponential_and_know_nothing_of_one_another(rate_hz: float) -> None:
    gaps_s = np.diff(schedule(Poisson(), rate_hz=rate_hz)) / SECOND_NS
    assert kolmogorov_smirnov(gaps_s, lambda one: exponential_law(one, rate_hz=rate_hz)) > 0.01
    assert abs(np.corrcoef(gaps_s[:-1], gaps_s[1:])[0, 1]) < 3 / math.sqrt(MANY)


def test_cameras_know_nothing_of_one_another() -> None:
    one, other = (np.diff(schedule(Poisson(), index=index)) for index in (0, 1))
    assert abs(np.corrcoef(one, other)[0, 1]) < 3 / math.sqrt(MANY)


def test_a_burst_is_five_times_the_rate_for_a_second_and_silence_for_four() -> None:
    due_s = schedule(Burst(on_s=1, off_s=4), rate_hz=10, frames=1000) / SECOND_NS
    assert set(np.floor(due_s % 5).tolist()) == {0.0}
    assert np.bincount((due_s // 5).astype(int)).tolist() == [50] * 20
    within = np.diff(due_s)[np.diff(due_s) < 1]
    assert within == pytest.approx(0.02, abs=1e-8)


def test_all_cameras_burst_together() -> None:
    firsts_s = np.array([schedule(Burst(), index=index, frames=1)[0] for index in range(50)]) / SECOND_NS
    assert firsts_s.max() < 1 / 30  # of each, within its first period
    assert len(set(firsts_s.tolist())) == 50


def test_a_burst_without_silence_is_periodic() -> None:
    assert (schedule(Burst(on_s=1, off_s=0)) == schedule(Periodic())).all()


@pytest.mark.parametrize("depth", [0, 0.8, 1])
def test_a_diurnal_rate_follows_its_sine(depth: float) -> None:
    period_s, rate_hz = 60.0, 50.0
    due_s = schedule(Diurnal(period_s=period_s, depth=depth), rate_hz=rate_hz, frames=150_000) / SECOND_NS
    turns = due_s[due_s < 50 * period_s - 0.001] % period_s / period_s

    def law(part: NDArray[np.float64]) -> NDArray[np.float64]:
        return part + depth * (1 - np.cos(2 * np.pi * part)) / (2 * np.pi)

    assert len(turns) == pytest.approx(50 * period_s * rate_hz, rel=0.02)
    assert kolmogorov_smirnov(turns, law) > 0.01


def test_a_diurnal_rate_rises_first_and_reaches_its_depth() -> None:
    due_s = schedule(Diurnal(period_s=8, depth=0.8), rate_hz=1000, frames=160_000) / SECOND_NS
    seen = np.bincount((due_s % 8).astype(int)) / 20
    assert seen[1:3].mean() == pytest.approx(1000 * (1 + 0.8 * math.sin(math.pi / 4) * 4 / math.pi), rel=0.03)
    assert seen.argmin() in {5, 6}


def test_a_diurnal_rate_that_touches_zero_still_goes_forward() -> None:
    ends = np.arange(arrivals.STAIRS + 1) / arrivals.STAIRS
    expected = ends + (1 - arrivals.cosine(ends)) / (2 * math.pi)
    assert (expected[0], expected[-1]) == (0, 1)
    assert (np.diff(expected) > 0).all()


# --- on the bus ---------------------------------------------------------------------------------


def traced(*cameras: list[int], images: list[int] | None = None) -> Trace:
    gaps_ns = [np.diff(np.array(due_ns), prepend=0) for due_ns in cameras]
    return Trace(
        sha256="0" * 64,
        counts=packed(np.array([len(one) for one in cameras])),
        gaps_ns=packed(np.concatenate(gaps_ns)),
        images="" if images is None else packed(np.array(images)),
    )


TRACE: Final = traced([5, 7, 7], [2], images=[9, 0, 9, 4])


def of_trace(trace: Trace = TRACE, **changes: int) -> Plan:
    fields: dict[str, object] = PLAN.model_dump() | {"cameras": 2, "frames": 3, "arrival": trace} | changes
    return Plan.model_validate(fields)


@pytest.mark.parametrize("pattern", PATTERNS, ids=NAMES)
def test_a_plan_carries_its_pattern(pattern: Drawn) -> None:
    plan = PLAN.model_copy(update={"arrival": pattern})
    again = account.decode(account.encode(plan))
    assert isinstance(again, Plan)
    assert again.arrival == pattern
    assert (again.due_ns(2) == plan.due_ns(2)).all()
    assert (again.due_ns(2) == START_NS + schedule(pattern, index=2, frames=1000)).all()


@pytest.mark.parametrize("said", [{}, {"arrival": "periodic"}, {"arrival": {"kind": "periodic"}}])
def test_an_older_plan_is_periodic(said: dict[str, object]) -> None:
    fields = json.loads(account.encode(PLAN))
    del fields["arrival"]
    assert account.decode(json.dumps(fields | said).encode()) == PLAN


@pytest.mark.parametrize(
    "arrival",
    [
        *("weekly", 3, None, {}, {"kind": "weekly"}, {"kind": "poisson", "rate_hz": 3}, {"kind": "lognormal"}),
        *({"kind": "lognormal", "sigma": sigma} for sigma in (-1, 2.1, "wide")),
        *({"kind": "burst", "on_s": on_s} for on_s in (0, -1, 1e10)),
        *({"kind": "diurnal", "depth": depth} for depth in (-0.1, 1.1)),
        *({"kind": "diurnal", "period_s": period_s} for period_s in (0, 1e10)),
    ],
)
def test_a_pattern_that_is_none_makes_no_plan(arrival: object) -> None:
    fields = json.loads(account.encode(PLAN)) | {"arrival": arrival}
    assert account.decode(json.dumps(fields).encode()) is None


def test_a_plan_ends_after_its_last_frame() -> None:
    for pattern in PATTERNS:
        plan = PLAN.model_copy(update={"arrival": pattern})
        assert plan.end_ns() >= max(int(plan.due_ns(index)[-1]) for index in range(plan.cameras))
    assert of_trace().end_ns() == START_NS + 7


def test_a_trace_gives_each_camera_its_own_frames() -> None:
    plan = account.decode(account.encode(of_trace()))
    assert plan == of_trace()
    assert isinstance(plan, Plan)
    assert [(plan.due_ns(index) - START_NS).tolist() for index in (0, 1)] == [[5, 7, 7], [2]]
    assert [plan.image(index).tolist() for index in (0, 1)] == [[9, 0, 9], [4]]
    assert ([plan.frames_of(index) for index in (0, 1)], plan.frames_together()) == ([3, 1], 4)


def test_a_trace_without_images_deals_them() -> None:
    plan = of_trace(traced([5, 7, 7], [2]))
    assert [plan.image(index).tolist() for index in (0, 1)] == [[0, 2, 4], [1]]


@pytest.mark.parametrize(("field", "value"), [("cameras", 3), ("frames", 4), ("frames", 2), ("images", 9)])
def test_a_trace_of_another_fleet_makes_no_plan(field: str, value: int) -> None:
    with pytest.raises(ValidationError, match=field):
        of_trace(TRACE, **{field: value})
    assert of_trace(images=10).images == 10


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=50))
def test_packed_and_unpacked_are_each_other_backwards(numbers: list[int]) -> None:
    assert unpacked(packed(np.array(numbers, dtype=np.int64))).tolist() == numbers


def test_what_is_packed_is_read_the_same_for_ever() -> None:
    assert unpacked("eNpj5GJkYAAidAAAAT8ADg==").tolist() == [1, 10, 257]


def test_a_trace_takes_little_room() -> None:
    due_ns = schedule(Periodic(), rate_hz=30, frames=100_000)
    assert len(packed(np.diff(due_ns))) < 40_000
    assert len(packed(np.diff(schedule(Poisson(), frames=100_000)))) < 700_000


BOMB: Final = packed(np.zeros(arrivals.TRACE_FRAMES_MOST + 1, dtype=np.int64))


@pytest.mark.parametrize(
    "changes",
    [
        *({"counts": text} for text in ("", "?", "eA==", TRACE.counts[:-4], BOMB, TRACE.gaps_ns)),
        *({"counts": packed(np.array(counts))} for counts in ([5], [2, 1], [4, 0], [5, -1], [2**62, 4])),
        *({"gaps_ns": packed(np.array(gaps_ns))} for gaps_ns in ([5, 2, -1, 2], [2**62] * 4, [1, 2, 3])),
        *({"images": packed(np.array(images))} for images in ([9, 0, 9], [9, 0, 9, -1])),
        *({"sha256": sha256} for sha256 in ("", "0" * 63, "G" * 64)),
    ],
)
def test_a_damaged_trace_is_none(changes: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        Trace.model_validate(TRACE.model_dump() | changes)
