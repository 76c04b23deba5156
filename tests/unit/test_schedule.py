"""What a fleet is asked in words becomes its schedule, or one line that says what was expected."""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from edgewise import account
from edgewise.account import Plan
from edgewise.arrivals import TRACE_MOST_BYTES, Burst, Diurnal, Lognormal, Periodic, Poisson, Trace
from edgewise.clock import ManualClock
from edgewise.errors import ConfigError
from producers.camera.camera import Camera
from producers.camera.tally import Tally
from producers.fleet.schedule import asked
from tests.fakes import MemoryOutbox
from tests.unit.test_account import PLAN, START_NS

Write = Callable[[Mapping[str, Sequence[object]]], Path]
ROWS: Final[Mapping[str, Sequence[object]]] = {
    "camera": ["gate-10", "gate-2", "gate-2", "gate-2"],
    "time_s": [100.5, 100.75, 100.0, 100.25],
    "image": [3, 9, 7, 8],
}
OF_TRACE: Final = "a trace has camera, time_s or due_ns, and perhaps image"


def csv(path: Path, rows: Mapping[str, Sequence[object]]) -> Path:
    lines = [",".join(rows), *(",".join(str(cell) for cell in row) for row in zip(*rows.values(), strict=True))]
    path.write_text("\n".join(lines) + "\n")
    return path


def parquet(path: Path, rows: Mapping[str, Sequence[object]]) -> Path:
    pq.write_table(pa.table(dict(rows)), path)
    return path


@pytest.fixture(params=[csv, parquet], ids=["csv", "parquet"])
def write(request: pytest.FixtureRequest, tmp_path: Path) -> Write:
    """Write a trace; what it is, its first bytes say, not its name."""
    return lambda rows: request.param(tmp_path / "trace", rows)


def traced(path: Path, **sizes: float) -> Trace:
    found = asked(f"trace:{path}", **sizes).arrival  # type: ignore[arg-type]  # all of them are numbers
    assert isinstance(found, Trace)
    return found


def moments(trace: Trace) -> list[list[int]]:
    return [trace.due_ns(index).tolist() for index in range(trace.cameras())]


def images(trace: Trace) -> list[Any]:
    return [None if (found := trace.image(index)) is None else found.tolist() for index in range(trace.cameras())]


# --- patterns by name ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "pattern"),
    [
        ("periodic", Periodic()),
        ("poisson", Poisson()),
        ("lognormal", Lognormal(sigma=0.05)),
        ("lognormal:sigma=0.5", Lognormal(sigma=0.5)),
        ("burst", Burst(on_s=1, off_s=4)),
        ("burst:on_s=0.5", Burst(on_s=0.5, off_s=4)),
        ("burst:on_s=2,off_s=3", Burst(on_s=2, off_s=3)),
        ("burst: on_s = 2, off_s = 3", Burst(on_s=2, off_s=3)),
        ("diurnal:depth=1,period_s=3600", Diurnal(period_s=3600, depth=1)),
    ],
)
def test_a_pattern_is_asked_by_its_name_and_settings(words: str, pattern: object) -> None:
    assert asked(words).arrival == pattern


AT_MOST: Final = "less than or equal to"
LOGNORMAL: Final = "lognormal takes sigma, as in lognormal:sigma=0.5"
DIURNAL: Final = "diurnal takes period_s and depth, as in diurnal:period_s=3600,depth=0.8"
BURST: Final = "burst takes on_s and off_s, as in burst:on_s=1,off_s=4"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("brust", "--arrival 'brust' is none of periodic, poisson, lognormal, burst, diurnal, trace:FILE"),
        ("", "--arrival '' is none of periodic, poisson, lognormal, burst, diurnal, trace:FILE"),
        ("trace", "--arrival 'trace' is none of periodic, poisson, lognormal, burst, diurnal, trace:FILE"),
        ("poisson:rate=3", "--arrival 'poisson:rate=3': poisson takes no settings"),
        ("periodic:", "--arrival 'periodic:': periodic takes no settings"),
        ("burst:on=1", f"--arrival 'burst:on=1': {BURST}"),
        ("burst:on_s", f"--arrival 'burst:on_s': {BURST}"),
        ("burst:kind=burst", f"--arrival 'burst:kind=burst': {BURST}"),
        ("burst:on_s=1,on_s=2", f"--arrival 'burst:on_s=1,on_s=2': {BURST}"),
        ("burst:on_s=0", f"--arrival 'burst:on_s=0': on_s: Input should be greater than 0; {BURST}"),
        ("lognormal:sigma=3", f"--arrival 'lognormal:sigma=3': sigma: Input should be {AT_MOST} 2; {LOGNORMAL}"),
        ("diurnal:depth=2", f"--arrival 'diurnal:depth=2': depth: Input should be {AT_MOST} 1; {DIURNAL}"),
    ],
)
def test_a_wrong_pattern_is_explained(words: str, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        asked(words)
    assert str(caught.value) == line


def test_a_sigma_that_nobody_asked_for_is_not_let_run_away() -> None:
    assert asked("lognormal", rate_hz=0.25).arrival == Lognormal(sigma=2)
    with pytest.raises(ConfigError) as caught:
        asked("lognormal", rate_hz=0.1)
    assert str(caught.value) == (
        "--arrival lognormal at --rate-hz 0.1: its sender's sigma is half the mean gap in seconds, 5, whose mean no "
        "run lives to see; say one up to 2: lognormal:sigma=0.5"
    )


# --- how long -----------------------------------------------------------------------------------


def test_what_was_not_asked_is_as_the_help_says() -> None:
    found = asked("periodic")
    assert (found.cameras, found.rate_hz, found.frames) == (1, 10.0, 100)


@pytest.mark.parametrize(("duration_s", "frames"), [(10, 25), (0.01, 1), (0.9, 2)])
def test_a_duration_is_as_many_frames_as_come_in_it(duration_s: float, frames: int) -> None:
    assert asked("poisson", rate_hz=2.5, duration_s=duration_s).frames == frames


@pytest.mark.parametrize(("duration_s", "rate_hz"), [(math.inf, 1), (math.nan, 1), (1e300, 1e300), (1e9, 1)])
def test_a_duration_without_end_is_refused(duration_s: float, rate_hz: float) -> None:
    with pytest.raises(ConfigError, match="a camera sends 10,000,000 frames at most"):
        asked("periodic", duration_s=duration_s, rate_hz=rate_hz)


def test_frames_and_a_duration_are_one_too_many() -> None:
    with pytest.raises(ConfigError) as caught:
        asked("periodic", frames=10, duration_s=2.5)
    assert str(caught.value) == "--frames 10 and --duration-s 2.5 are two lengths; give one of them"


# --- traces -------------------------------------------------------------------------------------


def test_a_trace_counts_from_its_earliest_frame_and_orders_cameras_by_name(write: Write) -> None:
    path = write(ROWS)
    found = traced(path)
    assert moments(found) == [[0, 250_000_000, 750_000_000], [500_000_000]]  # gate-2, gate-10
    assert images(found) == [[7, 8, 9], [3]]
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_trace_says_how_many_cameras_and_frames_there_are(write: Write) -> None:
    found = asked(f"trace:{write(ROWS)}")
    assert (found.cameras, found.frames, found.rate_hz) == (2, 3, 2.0)
    slow = asked(f"trace:{write({'camera': [1, 2], 'time_s': [0, 10]})}")
    assert (slow.cameras, slow.frames, slow.rate_hz) == (2, 1, 0.1)


def test_a_trace_may_have_numbers_for_cameras_whole_nanoseconds_and_no_images(write: Write) -> None:
    found = traced(write({"camera": [7, 3], "due_ns": [START_NS + 1, START_NS], "other": ["a", "b"]}))
    assert moments(found) == [[0], [1]]
    assert images(found) == [None, None]


def test_frames_of_the_same_moment_stay_in_their_order(write: Write) -> None:
    found = traced(write({"camera": [0, 0, 0], "time_s": [1, 1, 0], "image": [5, 4, 6]}))
    assert images(found) == [[6, 5, 4]]


def test_a_ledgers_table_is_a_trace_of_its_first_tier(write: Write) -> None:
    rows: Mapping[str, Sequence[object]]
    rows = {"camera": ["c-0"] * 4, "due_ns": [5, 5, 9, 9], "image": [1, 1, 2, 2], "tier": ["gateway", "cluster"] * 2}
    found = traced(write(rows))
    assert (moments(found), images(found)) == ([[0, 4]], [[1, 2]])


def test_a_plan_with_a_trace_is_sent_and_accounted_for_camera_by_camera(write: Write) -> None:
    schedule = asked(f"trace:{write(ROWS)}")
    sizes = {"cameras": schedule.cameras, "rate_hz": schedule.rate_hz, "frames": schedule.frames}
    plan = account.decode(account.encode(PLAN.model_copy(update=sizes | {"arrival": schedule.arrival})))
    assert isinstance(plan, Plan)
    clock = ManualClock(start_ns=plan.start_ns)
    for index, frames in enumerate((3, 1)):
        outbox, tally = MemoryOutbox(clock, window=20), Tally()
        camera = Camera(plan, index, outbox=outbox, payload=lambda _: b"?", size=(1, 1), tally=tally, clock=clock)
        assert tally.scheduled == frames
        clock.sleep_until(plan.end_ns())
        camera.turn()
        assert camera.account().sent == [(0, frames - 1)]
        assert camera.next_due_ns() is None


def without(name: str) -> Mapping[str, Sequence[object]]:
    return {column: cells for column, cells in ROWS.items() if column != name}


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        (without("camera"), f"has no column camera; {OF_TRACE}"),
        (without("time_s"), f"has no column time_s; {OF_TRACE}"),
        ({**ROWS, "due_ns": [1, 2, 3, 4]}, "has both time_s and due_ns; leave one of them out"),
        ({**ROWS, "image": [1, -2, 3, 4]}, "column image names -2; the split has 0 to 9,999"),
        ({**ROWS, "image": [1, 2, 3, 10_000]}, "column image names 10,000; the split has 0 to 9,999"),
        ({**ROWS, "image": [1.5, 2.0, 3.0, 4.0]}, "column image holds double; it must hold whole numbers"),
        ({**ROWS, "time_s": ["a", "b", "c", "d"]}, "column time_s holds string; it must hold numbers"),
        (
            {**without("time_s"), "due_ns": [0.5, 1.0, 2.0, 3.0]},
            "column due_ns holds double; it must hold whole numbers",
        ),
        ({**ROWS, "time_s": [1.5, 2.0, float("inf"), 3.0]}, "column time_s holds what is no moment: nan or infinity"),
        ({**ROWS, "time_s": [0, 1, 2, 2_000_000_000]}, "the trace goes back in time, or takes more than "),
        ({"camera": [], "time_s": []}, "has 0 frames; a trace has from 1 to 1,000,000"),
    ],
)
def test_a_wrong_trace_is_explained(write: Write, rows: Mapping[str, Sequence[object]], problem: str) -> None:
    path = write(rows)
    with pytest.raises(ConfigError) as caught:
        asked(f"trace:{path}")
    assert str(caught.value).startswith(f"--arrival trace:{path}: {problem}")


def test_an_empty_cell_is_named(tmp_path: Path) -> None:
    path = parquet(tmp_path / "trace", {**ROWS, "time_s": [1.0, None, None, 2.0]})
    with pytest.raises(ConfigError, match="column time_s is empty in 2 of 4 rows, first in 2"):
        asked(f"trace:{path}")


def test_a_column_of_lists_is_explained(tmp_path: Path) -> None:
    path = parquet(tmp_path / "trace", {**ROWS, "camera": [[1], [2], [3], [4]]})
    with pytest.raises(ConfigError, match="cannot be read: "):
        asked(f"trace:{path}")


def test_a_trace_that_no_plan_could_carry_is_refused(tmp_path: Path) -> None:
    moments_ns = np.random.default_rng(1).integers(0, 10**15, 200_000)
    path = parquet(tmp_path / "trace", {"camera": np.zeros(200_000, dtype=int), "due_ns": moments_ns})  # type: ignore[dict-item]
    with pytest.raises(ConfigError) as caught:
        asked(f"trace:{path}")
    found = str(caught.value)
    assert f"bytes of the run's plan, which holds {TRACE_MOST_BYTES:,}; give fewer than its 200,000 frames" in found


@pytest.mark.parametrize(
    "content", [b"", b"PAR1", b"PAR1 and something else", b'camera,time_s\n1,"', b"\xff\xfe\n\x00"]
)
def test_what_is_no_table_is_explained(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "trace"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="trace:") as caught:
        asked(f"trace:{path}")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "none", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(ConfigError) as caught:
            asked(f"trace:{path}")
        assert str(caught.value) == f"--arrival trace:{path}: cannot be read: {reason}"


@pytest.mark.parametrize("size", ["cameras", "rate_hz", "frames", "duration_s"])
def test_a_trace_lets_nobody_else_say_how_much(write: Write, size: str) -> None:
    path = write(ROWS)
    with pytest.raises(ConfigError) as caught:
        traced(path, **{size: 3})
    assert str(caught.value) == (
        f"--arrival trace:{path}: a trace says itself how many frames come, and when; "
        f"leave out --{size.replace('_', '-')}"
    )
