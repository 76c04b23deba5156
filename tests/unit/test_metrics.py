"""What a part tells a Prometheus: by the conventions, as its page says, and counted rightly."""

import re
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.ledger.collect import Collected
from consumers.ledger.seen import Seen
from consumers.ledger.summary import STAGES
from edgewise import addresses, metrics
from edgewise.arrival import Answer, opened
from edgewise.clock import SECOND_NS
from edgewise.endpoint import Place, serving
from edgewise.errors import ConfigError, UnreachableError
from edgewise.kafka import Record
from edgewise.messages import Rule, Tier, encode_frame, encode_result
from edgewise.meter import Meter
from edgewise.metrics import METRICS, Histogram, Metric, Reading, page_text
from edgewise.places import CHECKOUT
from tests.fakes import FRAME, RESULT, arrival
from tests.real import eventually

PAGE_COMMAND: Final = "from edgewise.metrics import page_text; print(page_text(), end='')"
UNITS: Final = ("_seconds", "_bytes", "_frames", "_info")
WITHOUT_UNIT: Final = ("cameras", "cameras_connected", "frames_scheduled", "broker_running")


def everything() -> Iterator[Reading]:
    """Give one reading of each metric that a part has work to tell of."""
    for one in METRICS:
        if one.parts != metrics.EVERY:
            value: float | Histogram = Histogram(one) if one.kind == "histogram" else 1.0
            yield one.of(value, *one.labels)


def scraped(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return str(answer.read().decode())


def promtool(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    program = shutil.which("promtool")
    if program is None:
        pytest.fail("promtool is not installed; install it with: apt-get install prometheus")
    return subprocess.run([program, *arguments], input=text, capture_output=True, text=True, check=False, timeout=60)


def test_the_page_is_the_modules() -> None:
    path = CHECKOUT / "docs" / "metrics.md"
    again = f'write it again: .venv/bin/python -c "{PAGE_COMMAND}" > docs/metrics.md'
    assert path.is_file(), again
    assert path.read_text() == page_text(), again


@pytest.mark.parametrize("one", METRICS, ids=lambda one: one.name)
def test_a_name_says_its_unit_as_prometheus_wants_it(one: Metric) -> None:
    assert re.fullmatch(r"edgewise(_[a-z]+)+", one.name)
    assert one.name.endswith("_total") == (one.kind == "counter")
    if one.kind != "counter":
        assert one.name.endswith(UNITS) or one.name.removeprefix("edgewise_") in WITHOUT_UNIT
    assert bool(one.bounds) == (one.kind == "histogram")
    assert list(one.bounds) == sorted(set(one.bounds))


def test_what_is_scraped_is_what_prometheus_takes_without_complaint() -> None:
    port = addresses.free_port()
    with serving(Place(port=port), "bridge", name="bridge", run="first") as (told, _):
        told.by(everything)
        told.keeps(CHECKOUT, holds="out")
        text = scraped(port)
    found = promtool("check", "metrics", text=text)
    assert (found.returncode, found.stderr) == (0, ""), found.stderr
    names = set(re.findall(r"^# TYPE (\S+)", text, flags=re.MULTILINE))
    assert {one.name for one in METRICS} <= names
    assert "process_start_time_seconds" in names
    lines = [line for line in text.splitlines() if line.startswith("edgewise_")]
    assert all('part="bridge"' in line for line in lines)
    assert 'edgewise_part_info{engine="",model="",name="bridge",part="bridge",run="first"} 1.0' in lines


def test_without_a_port_nothing_listens_and_nothing_is_counted() -> None:
    with serving(Place(), "bridge") as (_, meter):
        meter.passed([arrival(b"12345")], on=[arrival(b"12345")])
        meter.refused(Rule.EMPTY)
    assert (meter.received, meter.sent_bytes, meter.rejected) == (0, 0, {})


def test_a_port_that_is_taken_is_said_in_one_line() -> None:
    port = addresses.free_port()
    with (
        serving(Place(port=port), "bridge"),
        pytest.raises(
            ConfigError,
            match=rf"^--metrics-port {port}: nothing can be served at 127\.0\.0\.1:{port} "
            r"\(Address already in use\); give another$",
        ),
        serving(Place(port=port), "gateway"),
    ):
        pytest.fail("it was free")


def test_the_port_is_free_again_when_the_part_has_ended() -> None:
    port = addresses.free_port()
    for part in ("bridge", "gateway"):
        with serving(Place(port=port), part):
            assert f'part="{part}"' in scraped(port)
    assert addresses.is_free(port)


def test_what_takes_its_time_holds_up_no_scrape_and_is_not_told_while_it_is_not_known() -> None:
    port, asked, may_answer = addresses.free_port(), Event(), Event()
    answers: Iterator[float | None] = iter([7.0, None, 8.0, None])

    def lag() -> Iterator[Reading]:
        asked.set()
        may_answer.wait(10)
        may_answer.clear()
        if (found := next(answers)) is None:
            raise UnreachableError("Kafka", at="nowhere", hint="start it")
        yield metrics.LAG_FRAMES.of(found)

    def told_lag() -> list[str]:
        return re.findall(r"^edgewise_lag_frames\S+ (\S+)$", scraped(port), flags=re.MULTILINE)

    with serving(Place(port=port), "gateway") as (told, _):
        told.watches(lag, every_s=0.01)
        assert asked.wait(10)
        assert told_lag() == []
        for expected in (["7.0"], [], ["8.0"]):
            may_answer.set()
            eventually(lambda expected=expected: told_lag() == expected, within_s=10)  # type: ignore[misc]
        told.end()
        may_answer.set()


def test_a_source_with_a_bug_is_not_told_is_said_once_and_asked_again(capsys: pytest.CaptureFixture[str]) -> None:
    port, asked, mended = addresses.free_port(), 0, Event()

    def lag() -> Iterator[Reading]:
        nonlocal asked
        asked += 1
        if asked > 1 and not mended.is_set():
            raise TypeError("None and int")
        yield metrics.LAG_FRAMES.of(asked)

    def told_lag() -> list[str]:
        return re.findall(r"^edgewise_lag_frames\S+ (\S+)$", scraped(port), flags=re.MULTILINE)

    with serving(Place(port=port), "gateway") as (told, _):
        told.watches(lag, every_s=0.02)
        eventually(lambda: asked > 3 and told_lag() == [], within_s=10)
        mended.set()
        eventually(told_lag, within_s=10)
    said = "gateway: metrics: TypeError: None and int; asking again every 0.02 s\n"
    assert capsys.readouterr().err == said


def test_a_folder_that_is_not_there_has_no_disk(tmp_path: Path) -> None:
    port = addresses.free_port()
    with serving(Place(port=port), "ledger") as (told, _):
        told.keeps(tmp_path / "none", holds="checkpoint")
        told.keeps(tmp_path, holds="out")
        text = scraped(port)
    assert re.findall(r'^edgewise_disk_free_bytes\{holds="(\w+)"', text, flags=re.MULTILINE) == ["out"]


@given(st.lists(st.integers(min_value=0, max_value=400 * SECOND_NS)), st.lists(st.integers(min_value=0, max_value=10)))
def test_a_histogram_counts_each_value_once_below_every_bound_that_it_does_not_pass(
    some: list[int], more: list[int]
) -> None:
    one, other = Histogram(metrics.LATENESS_SECONDS), Histogram(metrics.LATENESS_SECONDS)
    one.add(some)
    for value in more:
        other.repeat(value, times=2)
    values = [*some, *more, *more]
    both = one + other
    assert both.total == sum(values)
    for bound, count in both.buckets():
        assert count == sum(value <= float(bound) * SECOND_NS for value in values)


def test_what_clocks_call_less_than_nothing_is_nothing() -> None:
    found = Histogram(metrics.LATENESS_SECONDS)
    found.add([-5, 7])
    found.repeat(-5, times=3)
    assert (found.total, found.counts[0]) == (7, 5)


def test_a_frame_is_timed_through_every_stage_and_what_was_forgotten_is_not() -> None:
    meter, frame = Meter(), opened(arrival(encode_frame(FRAME)), shape=(1, 2, 3))
    meter.took([frame.arrival])
    at_ns = frame.arrival.received_ns
    answer = Answer(3, 0.9, at_ns + 2_000_000, at_ns + 42_000_000, 1)
    meter.classified([frame], answer)
    meter.wrote([(7, answer.inferred_ns), (8, answer.inferred_ns)], size_bytes=300)
    meter.stored([7, 9], now_ns=answer.inferred_ns + 5_000_000)
    meter.forget()
    meter.stored([8], now_ns=answer.inferred_ns + 5_000_000)
    assert (meter.received, meter.received_bytes, meter.sent, meter.sent_bytes) == (1, len(frame.arrival.wire), 1, 300)
    totals = {one.labels[0]: one.value.total for one in meter.stages("queue", "inference", "store")}  # type: ignore[union-attr]
    assert totals == {"queue": 2_000_000, "inference": 40_000_000, "store": 5_000_000}
    assert (meter.batches.total, meter.engine.total) == (1, 40_000_000)


def test_a_ledger_tells_latency_and_stages_of_the_first_result_of_each_frame_by_tier() -> None:
    collected = Collected(RESULT.run, caught_up_ns=0)
    seen = Seen(collected, tiers=list(Tier))
    for _ in range(2):
        record = Record("results", 0, 0, RESULT.camera, encode_result(RESULT), (), RESULT.inferred_ns)
        collected.add([record], now_ns=RESULT.inferred_ns + 50_000_000)
    seen.fold()
    seen.lag = 3
    found = {(one.metric.name, *one.labels): one.value for one in seen.readings()}
    assert found["edgewise_results_total", "cluster"] == 1
    assert found["edgewise_results_total", "gateway"] == 0
    assert found["edgewise_lag_frames",] == 3
    totals = {key[1:]: one.total for key, one in found.items() if isinstance(one, Histogram)}
    stages = {stage: totals["cluster", stage] for stage, _, _ in STAGES}
    assert totals["cluster",] == RESULT.inferred_ns + 50_000_000 - RESULT.due_ns == sum(stages.values())
    assert (stages["inference"], stages["result"]) == (RESULT.inferred_ns - RESULT.started_ns, 50_000_000)
    assert totals["gateway",] == 0


def test_every_rule_is_there_before_anything_breaks_it() -> None:
    rules = [one.labels[0] for one in Meter().taken_in() if one.metric is metrics.REJECTED]
    assert rules == [rule.value for rule in Rule]
