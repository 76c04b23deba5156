"""Two runs beside one another: what differs, what does not, and what cannot be compared at all."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from rich.console import Console

from compare.reports import alike, comparison, difference, difference_shown, folder, intervals, same_frames
from compare.reports.difference import Differences, Repeated, Run, between_comparisons, between_runs
from compare.reports.intervals import Ratio, Sample
from compare.reports.same_frames import Same
from compare.runs import runfolder
from compare.runs.ran import Ran
from consumers.ledger.table import SCHEMA, Fate
from edgewise.cli import runs
from edgewise.errors import ConfigError
from edgewise.statistics import Floats, percentile
from edgewise.summary import Latency, PerThousand
from tests.unit.test_comparison import ALTERNATE, alternated, run, tier

START_NS: Final = 1_795_000_000_000_000_000
RATE_HZ: Final = 50
SECONDS: Final = 20
FRAMES: Final = RATE_HZ * SECONDS
WRONG_EVERY: Final = 10
SETTINGS: Final[Mapping[str, object]] = {
    "fleet.cameras": 1,
    "fleet.rate_hz": 50.0,
    "fleet.duration_s": 20.0,
    "fleet.arrival": "periodic",
    "fleet.seed": 1,
    "fleet.order": "stored",
    "gateway.engine": "onnx",
    "gateway.cores": [],
}


def latencies_ms(*, seed: int, middle_ms: float = 20.0) -> Floats:
    """Give latencies that are alike within each second: what disturbs one frame disturbs its neighbours."""
    rng = np.random.default_rng(seed)
    return middle_ms + np.repeat(rng.gamma(2, 2, SECONDS), RATE_HZ) + rng.gamma(2, 1, FRAMES)


def table(
    late_ms: Floats, *, right: NDArray[np.bool_] | None = None, rate_hz: float = RATE_HZ, images: int = 0
) -> pa.Table:
    right = np.arange(len(late_ms)) % WRONG_EVERY > 0 if right is None else right
    rows = []
    for number, (ms, correct) in enumerate(zip(late_ms, right, strict=True)):
        due_ns = START_NS + round(number * 1e9 / rate_hz)
        row: dict[str, Any] = {"camera": "camera-0", "number": number, "tier": "gateway", "image": number + images}
        row |= {"due_ns": due_ns, "sent_ns": due_ns, "truth": 3, "size_bytes": 3_000, "fate": Fate.UNANSWERED.value}
        if np.isfinite(ms):
            row |= {"fate": Fate.ANSWERED.value, "seen_ns": due_ns + round(ms * 1e6), "result_bytes": 200}
            row |= {"correct": bool(correct), "right_image": True}
        rows.append(row)
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def of(
    late_ms: Floats,
    *,
    name: str = "one",
    settings: Mapping[str, object] = SETTINGS,
    frames: pa.Table | None = None,
    summary: Mapping[str, Any] | None = None,
    model: str = "net@1",
) -> Run:
    found = frames if frames is not None else table(late_ms)
    correct = int(np.asarray(found["correct"].fill_null(False), bool).sum())  # noqa: FBT003 - Arrow's own signature
    shown = tier(None).model_copy(
        update={
            "model": model,
            "results": len(late_ms),
            "correct": correct,
            "accuracy": correct / len(late_ms),
            "throughput_hz": 50.0,
            "latency_ms": Latency(
                p50=percentile(late_ms, 50), p90=percentile(late_ms, 90), p99=percentile(late_ms, 99), p999=None
            ),
            "per_1000_correct": PerThousand(cpu_s=5.0, uplink_bytes=222_222.0),
        }
    )
    whole = run(gateway=shown).summary
    assert whole is not None
    whole = whole.model_copy(update={"deadline_ms": 500.0, **(summary or {})})
    return Run(name=name, summary=whole, settings=settings, frames=found)


def verdicts(found: Differences) -> dict[str, str]:
    return {change.name: change.verdict for change in found.changes if change.tier == "gateway"}


def whats(found: Differences) -> list[str]:
    return [one.what for one in found.obstacles]


ONE: Final = of(latencies_ms(seed=1))


# --- intervals ----------------------------------------------------------------------------------


# R. G. Newcombe, Statistics in Medicine 17 (1998), table II, method 10.
@pytest.mark.parametrize(
    ("one", "other", "low", "high"),
    [
        ((48, 80), (56, 70), 0.0524, 0.3339),
        ((3, 10), (9, 10), 0.1705, 0.8090),
        ((2, 7), (6, 7), 0.0582, 0.8062),
        ((0, 29), (5, 56), -0.0381, 0.1926),
        ((0, 10), (10, 10), 0.6075, 1.0),
    ],
)
def test_newcombe_gives_the_published_intervals(
    one: tuple[int, int], other: tuple[int, int], low: float, high: float
) -> None:
    found = intervals.newcombe(one, other)
    assert found is not None
    assert found == pytest.approx((low, high), abs=5e-5)


def test_a_share_of_nothing_has_no_difference() -> None:
    assert intervals.newcombe((0, 0), (1, 2)) is None


def test_repeats_of_the_same_seldom_differ_though_neighbouring_frames_are_alike() -> None:
    block = np.repeat(np.arange(SECONDS), RATE_HZ)
    claimed = 0
    for seed in range(0, 60, 2):
        one, other = (Sample(latencies_ms(seed=each), block) for each in (seed, seed + 1))
        within = intervals.percentile_differences(one, other, (50,))[50]
        claimed += not within.low <= 0 <= within.high
    # Of 30 true "no difference", a 95 % interval misses 1.5; drawn frame by frame it misses most.
    assert claimed <= 4


def test_a_percentile_s_interval_holds_the_difference_there_is() -> None:
    block = np.repeat(np.arange(SECONDS), RATE_HZ)
    one, other = Sample(latencies_ms(seed=1), block), Sample(latencies_ms(seed=2, middle_ms=30.0), block)
    found = intervals.percentile_differences(one, other, (50, 90, 99))
    assert sorted(found) == [50, 90, 99]
    assert 5 < found[50].low < 10 < found[50].high < 15
    assert intervals.percentile_differences(one, other, (50,))[50] == found[50], "always the same draws"


def test_few_frames_or_few_seconds_give_no_interval() -> None:
    values = np.ones(100)
    few, enough = (Sample(values, np.arange(100) // each) for each in (12, 10))
    assert intervals.percentile_differences(few, enough, (50,)) == {}
    assert list(intervals.percentile_differences(enough, enough, (50, 99))) == [50]
    nine = np.ones(9)
    assert intervals.ratio_difference(*[Ratio(nine, nine, np.arange(9))] * 2) is None


def test_a_percentile_that_is_infinite_has_no_interval() -> None:
    block = np.repeat(np.arange(SECONDS), RATE_HZ)
    lost = latencies_ms(seed=1)
    lost[::3] = np.inf
    found = intervals.percentile_differences(Sample(lost, block), Sample(latencies_ms(seed=2), block), (50, 90))
    assert list(found) == [50]


# --- two runs -----------------------------------------------------------------------------------


def test_a_run_does_not_differ_from_itself() -> None:
    found = between_runs(ONE, ONE)
    assert found.answer == "No difference shown between A and B in 7 figures; no verdict on 1 figure."
    assert verdicts(found).pop("CPU for 1,000 right") == "n/a"
    assert (found.obstacles, found.settings) == ([], [])
    assert [change.difference for change in found.changes] == [0] * 8


def test_a_slower_run_differs_in_its_latencies_alone() -> None:
    slower = of(latencies_ms(seed=2, middle_ms=40.0), settings={**SETTINGS, "gateway.engine": "keras"})
    found = between_runs(ONE, slower)
    assert found.answer.startswith("A and B differ in latency p50, p90 and p99 of the gateway; no verdict on 1 figure.")
    p50 = found.changes[0]
    assert p50.interval is not None
    assert p50.interval.low < (p50.difference or 0) < p50.interval.high
    assert [(one.name, one.a, one.b) for one in found.settings] == [("gateway.engine", "onnx", "keras")]


def test_the_same_images_are_compared_one_by_one() -> None:
    rng = np.random.default_rng(5)
    one = rng.random(FRAMES) < 0.9
    worse = one & (rng.random(FRAMES) < 0.985)
    late_ms = latencies_ms(seed=1)
    paired = between_runs(
        of(late_ms, frames=table(late_ms, right=one)), of(late_ms, frames=table(late_ms, right=worse))
    )
    assert verdicts(paired)["accuracy"] == "differs", "though both accuracies' own intervals overlap"
    counts = [(int(one.sum()), FRAMES), (int(worse.sum()), FRAMES)]
    alone = intervals.newcombe(*counts)
    assert alone is not None
    assert alone.low < 0 < alone.high


def test_without_a_table_only_the_accuracy_has_an_interval() -> None:
    found = between_runs(
        Run(name="one", summary=ONE.summary, settings=SETTINGS, frames=None),
        Run(name="other", summary=ONE.summary, settings=SETTINGS, frames=None),
    )
    assert [name for name, verdict in verdicts(found).items() if verdict != "n/a"] == ["accuracy"]
    assert found.obstacles == [], "their settings say that the frames are the same"


def test_of_frames_that_nothing_is_known_of_nothing_is_said() -> None:
    bare = Run(name="one", summary=ONE.summary, settings={}, frames=None)
    found = between_runs(bare, bare)
    assert whats(found) == ["schedule not known", "images not known"]
    assert found.answer == "A and B cannot be compared: schedule not known."


@pytest.mark.parametrize("rate_hz", [25, 100])
def test_another_schedule_leaves_what_does_not_depend_on_it(rate_hz: float) -> None:
    late_ms = latencies_ms(seed=1)
    other = of(late_ms, frames=table(late_ms, rate_hz=rate_hz), settings={**SETTINGS, "fleet.rate_hz": float(rate_hz)})
    found = between_runs(ONE, other)
    (obstacle,) = found.obstacles
    told = (obstacle.what, obstacle.a, obstacle.b)
    assert told == ("other schedule", "fleet.rate_hz 50.0", f"fleet.rate_hz {float(rate_hz)}")
    assert [name for name, verdict in verdicts(found).items() if verdict != "n/a"] == ["accuracy"]
    assert found.changes[0].difference == 0, "it is shown, and nothing is concluded from it"


def test_other_images_leave_latencies() -> None:
    late_ms = latencies_ms(seed=1)
    found = between_runs(ONE, of(late_ms, frames=table(late_ms, images=1)))
    assert [(one.what, one.a) for one in found.obstacles] == [("other images", "as in its frames.parquet")]
    assert [name for name, verdict in verdicts(found).items() if verdict != "n/a"] == [
        *("latency p50", "latency p90", "latency p99", "throughput")
    ]


def test_another_model_leaves_nothing() -> None:
    found = between_runs(ONE, of(latencies_ms(seed=1), model="net@2"))
    assert found.answer == "A and B cannot be compared: other model in the gateway."
    assert set(verdicts(found).values()) == {"n/a"}
    assert found.changes[0].interval is not None, "it is shown, and nothing is concluded from it"


def test_an_invalid_run_has_values_and_no_differences() -> None:
    found = between_runs(ONE, of(latencies_ms(seed=1), summary={"verdict": "INVALID"}))
    assert found.answer == "A and B cannot be compared: INVALID run."
    assert {(change.difference, change.interval, change.verdict) for change in found.changes} == {(None, None, "n/a")}
    assert found.changes[0].b is not None


def test_a_tier_of_one_run_alone_is_not_compared() -> None:
    both = ONE.summary.model_copy(update={"tiers": {**ONE.summary.tiers, "cluster": tier(9.0)}})
    found = between_runs(Run(name="both", summary=both, settings=SETTINGS, frames=ONE.frames), ONE)
    assert whats(found) == ["the cluster in one only"]
    assert {change.tier for change in found.changes} == {"gateway"}
    assert found.answer.startswith("No difference shown")


def test_another_deadline_leaves_all_but_what_was_on_time() -> None:
    found = between_runs(ONE, of(latencies_ms(seed=1), summary={"deadline_ms": 100.0}))
    assert [(one.what, one.a, one.b) for one in found.obstacles] == [("other deadline", "500 ms", "100 ms")]
    assert verdicts(found)["right and on time"] == "n/a"
    assert verdicts(found)["latency p50"] == "no difference shown"


def test_missing_frames_count_as_not_on_time() -> None:
    lost = latencies_ms(seed=1)
    lost[::5] = np.inf
    assert verdicts(between_runs(ONE, of(lost)))["right and on time"] == "differs"


def test_frames_are_the_same_in_whatever_order_they_stand() -> None:
    assert ONE.frames is not None
    turned = ONE.frames.take(np.arange(FRAMES)[::-1])
    assert same_frames.same(ONE.frames, turned) == Same(schedule=True, images=True)
    assert same_frames.same(ONE.frames, ONE.frames.slice(0, 900)) == Same(schedule=False, images=False)
    assert same_frames.same(ONE.frames, None) == Same()


def test_settings_differ_only_where_both_know_them() -> None:
    found = alike.settings(
        {"a": 1, "gone": 1, "cores": [0, 1], "master": "", "name": "x"},
        {"a": 2, "cores": [], "master": "m", "name": "y"},
    )
    assert [(one.name, one.a, one.b) for one in found] == [
        ("a", "1", "2"),
        ("cores", "0, 1", "not set"),
        ("master", "not set", "m"),
    ]


# --- two comparisons ----------------------------------------------------------------------------


def repeated(gateway: list[float], cluster: list[float], **settings: object) -> Repeated:
    compared = comparison.compared(ALTERNATE, alternated(gateway, cluster))
    return Repeated(name="several", comparison=compared, settings={**SETTINGS, **settings})


def test_comparisons_differ_where_their_intervals_do_not_overlap() -> None:
    found = between_comparisons(repeated([10, 11, 12], [50, 60, 70]), repeated([13, 14, 15], [65, 75, 85]))
    assert found.answer == "A and B differ in latency p50 of the gateway."
    p50s = {one.tier: one for one in found.changes if one.name == "latency p50"}
    assert (p50s["gateway"].difference, p50s["gateway"].verdict) == (3, "differs")
    assert p50s["cluster"].verdict == "no difference shown"


def test_comparisons_of_too_few_runs_have_no_verdict() -> None:
    few = comparison.compared(ALTERNATE.model_copy(update={"repeats": 2}), alternated([10, 11], [50, 60]))
    found = between_comparisons(Repeated(name="few", comparison=few, settings=SETTINGS), repeated([1, 2, 3], [4, 5, 6]))
    assert found.answer == "A and B cannot be compared: no figure has an interval in both."


def test_comparisons_of_other_loads_have_no_verdict_on_latency() -> None:
    one, other = repeated([10, 11, 12], [50, 60, 70]), repeated([13, 14, 15], [65, 75, 85], **{"fleet.cameras": 9})
    found = between_comparisons(one, other)
    assert whats(found) == ["other schedule", "other images"]
    assert verdicts(found)["latency p50"] == "n/a"


# --- as it is shown -----------------------------------------------------------------------------


def text(found: Differences, *, columns: int = 100) -> str:
    console = Console(width=columns, no_color=True)
    with console.capture() as shown:
        console.print(difference_shown.rendered(found))
    return shown.get()


def test_the_answer_stands_on_the_first_line() -> None:
    slower = of(latencies_ms(seed=2, middle_ms=40.0), name="two", settings={**SETTINGS, "gateway.engine": "keras"})
    said = text(between_runs(ONE, slower), columns=160).splitlines()
    assert said[0].startswith("A and B differ in latency p50, p90 and p99 of the gateway")
    assert said[1:3] == ["A  VALID    one", "B  VALID    two"]
    assert next(line for line in said if line.startswith("CPU")).split()[-2:] == ["n/a", "n/a"]
    assert "not how much repeats" in " ".join(said)
    assert any(line.split() == ["gateway.engine", "onnx", "keras"] for line in said)


def test_no_heading_is_cut_off_at_80_columns() -> None:
    said = text(between_runs(ONE, of(latencies_ms(seed=1), model="net@2")), columns=80)
    for words in ("What cannot be compared", "so no verdict on", "B minus A", "95 % interval", "verdict", "n/a"):
        assert words in said
    said = text(between_comparisons(*[repeated([10, 11, 12], [50, 60, 70])] * 2), columns=80)
    for words in ("figure", "interval", "B minus", "no difference shown"):
        assert words in said


def test_equal_settings_are_said_to_be_equal() -> None:
    assert "No setting that is known of both differs." in text(between_runs(ONE, ONE))
    slower = of(latencies_ms(seed=2, middle_ms=40.0))
    assert "what does differ, differs between repeats of the same" in text(between_runs(ONE, slower))


# --- folders ------------------------------------------------------------------------------------


def written(place: Path, found: Run) -> Path:
    place.mkdir()
    (place / "summary.json").write_text(found.summary.model_dump_json())
    pq.write_table(found.frames, place / "frames.parquet")
    scenario: dict[str, dict[str, object]] = {}
    for name, value in found.settings.items():
        inside, _, field = name.partition(".")
        scenario.setdefault(inside, {})[field] = value
    (place / "manifest.json").write_text(json.dumps({"version": "1", "scenario": scenario, "parts": {"x": 1}}))
    return place


def written_comparison(place: Path, summaries: Sequence[Ran]) -> Path:
    place.mkdir()
    runfolder.keep(comparison.compared(ALTERNATE, summaries), place / comparison.NAME)
    return place


def test_two_folders_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = written(tmp_path / "one", ONE), written(tmp_path / "other", ONE)
    runs.report(one, other)
    assert capsys.readouterr().out.splitlines()[0].startswith("No difference shown between A and B")
    runs.report(one, other, form=runs.ReportFormat.JSON)
    found = json.loads(capsys.readouterr().out)
    assert (found["schema"], found["of"], found["a"]["name"], found["b"]["name"]) == (1, "runs", "one", "other")
    assert found == json.loads(difference.Differences.model_validate(found).model_dump_json(by_alias=True))


def test_what_a_run_was_made_with_is_read_by_dotted_name(tmp_path: Path) -> None:
    place = written(tmp_path / "one", ONE)
    assert folder.settings(place) == {**SETTINGS, "version": "1"}
    (place / "manifest.json").unlink()
    assert folder.settings(place) == {}
    (place / "scenario.toml").write_text('model = "resnet20"\n[fleet]\ncameras = 4\n')
    assert folder.settings(place) == {"fleet.cameras": 4}
    (place / "scenario.toml").write_text("[")
    with pytest.raises(ConfigError, match=r"scenario\.toml cannot be read as a scenario: .*; was the run cut off\?"):
        folder.settings(place)


def test_two_comparisons_are_compared(tmp_path: Path) -> None:
    one = written_comparison(tmp_path / "one", alternated([10, 11, 12], [50, 60, 70]))
    other = written_comparison(tmp_path / "other", alternated([13, 14, 15], [65, 75, 85]))
    found = folder.between(one, other)
    assert (found.of, found.a.name) == ("comparisons", "one")
    assert "schedule not known" in whats(found)


@pytest.mark.parametrize("turned", [False, True])
def test_a_run_and_a_comparison_are_refused(tmp_path: Path, *, turned: bool) -> None:
    single = written(tmp_path / "single", ONE)
    several = written_comparison(tmp_path / "several", alternated([10, 11, 12], [50, 60, 70]))
    both = (several, single) if turned else (single, several)
    with pytest.raises(ConfigError) as caught:
        folder.between(*both)
    expected = (
        f"{several} is a comparison of several runs and {single} is one run: "
        "give two runs, or two comparisons; a comparison's runs stand inside its folder"
    )
    assert str(caught.value) == expected


def test_a_page_of_two_folders_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--format html is the page of one folder: compare two with --format table"):
        runs.report(tmp_path, tmp_path, form=runs.ReportFormat.HTML)


def test_a_folder_of_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"{tmp_path} is no run folder"):
        runs.report(written(tmp_path / "one", ONE), tmp_path)


def test_a_damaged_table_is_named(tmp_path: Path) -> None:
    place = written(tmp_path / "one", ONE)
    (place / "frames.parquet").write_bytes(b"PAR1")
    with pytest.raises(ConfigError, match=r"frames\.parquet cannot be read as a run's table"):
        runs.report(place, place)
