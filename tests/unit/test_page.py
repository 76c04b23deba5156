"""The page of a run: exact curves from tiny tables, the summary's own numbers, and nothing from elsewhere."""

import json
import re
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from compare.reports import page, report, sentences
from edgewise.cli import runs
from edgewise.errors import ConfigError, MissingError
from edgewise.summary import (
    Backlog,
    Camera,
    Difference,
    Interval,
    Limits,
    PerThousand,
    Reason,
    Summary,
    TierSummary,
    WarmUp,
)
from tests.unit.test_curves import BOTH, Row, a_minute, answered, frames, table, unanswered
from tests.unit.test_report import EMPTY, FULL, TWO

MANIFEST: Final = {
    "version": "0.3.0",
    "commit": "0123456789ab",
    "host": {"name": "here", "python": "3.11.7", "cores": 2, "cores_allowed": [0, 1], "memory_bytes": 24_000_000_000},
    "packages": {"numpy": "2.4.6"},
    "scenario": {
        "seed": 1,
        "mqtt": None,
        "tiers": list(BOTH),
        "model": "resnet20@3ed6da86e141",
        "dataset_sha256": "81",
    },
    "parts": {
        "bridge": {"command": [], "accounts": [{"cpu_s": 1.66, "memory_bytes": 74_690_560}]},
        "ledger": {"command": [], "accounts": []},
    },
}


def run_folder(place: Path, summary: Summary, rows: Sequence[Row] | None) -> Path:
    """Write a run folder; without rows it has no table."""
    place.mkdir(exist_ok=True)
    (place / "summary.json").write_text(summary.model_dump_json())
    (place / "manifest.json").write_text(json.dumps(MANIFEST))
    if rows is not None:
        pq.write_table(table(rows), place / "frames.parquet")
    return place


INVALID: Final = TWO.model_copy(
    update={
        "verdict": "INVALID",
        "reasons": [
            Reason(
                rule="cluster died",
                found="exit code 137",
                limit="runs to the end",
                next="see logs/cluster.log",
                consequences=[
                    Reason(rule="missing in cluster", found=1200, limit=0, unit="frames", next="see column fate")
                ],
            )
        ],
    }
)


def measured(tier: TierSummary, *, camera_ms: float | None) -> TierSummary:
    """Add all that a long run tells."""
    return tier.model_copy(
        update={
            "accuracy_interval": Interval(low=0.8912, high=0.9331),
            "measured": 1_111,
            "on_time": 0.8765,
            "per_1000_correct": PerThousand(cpu_s=7.89, uplink_bytes=3_456_789.0),
            "worst_camera": Camera(name="camera-7", percentile="p90", latency_ms=camera_ms, frames=321),
            "starved_cameras": 1,
            "starved_names": ["camera-9"],
            "backlog": Backlog(slope_hz=0.51, lower_hz=-0.12, upper_hz=1.13, offered_hz=61.0),
            "impossible_steps": {"sent to received": 17},
        }
    )


assert TWO.paired is not None
TOLD: Final = TWO.model_copy(
    update={
        "remarks": [Reason(rule="never stable", found=0.31, limit=0.1, unit="of the middle", next="run it for longer")],
        "limits": Limits(late_ms=6.5),
        "deadline_ms": 433.0,
        "warm_up": WarmUp(stable=True, lasted_s=30.0, frames=300, window_s=2.5),
        "tiers": {
            name: measured(tier, camera_ms=ms) for (name, tier), ms in zip(TWO.tiers.items(), (98.7, None), strict=True)
        },
        "paired": TWO.paired.model_copy(
            update={
                "accuracy_difference": -0.0123,
                "accuracy_difference_interval": Interval(low=-0.0345, high=0.0067),
                "mcnemar_p": 0.217,
                "measured": 1_099,
                "latency_difference_ms": Difference(p50=12.3, p90=45.6, p50_interval=Interval(low=11.1, high=13.7)),
            }
        ),
    }
)


class Texts(HTMLParser):
    """Gather what a page says outside its style sheet, and its ids."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self._inside = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag
        self.tags.append(tag)
        self.ids += [value for name, value in attrs if name == "id" and value]

    def handle_data(self, data: str) -> None:
        if self._inside != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def test_a_matrix_that_nobody_can_read_is_left_out() -> None:
    assert [one.tier for one in page.matrices(frames([answered("gateway", 0, 1)]))] == ["gateway"]
    assert page.matrices(frames([answered("gateway", 0, 1, label=500)])) == []


# --- the answer ---------------------------------------------------------------------------------


def with_difference(later_ms: float | None, within: Interval | None = None) -> Summary:
    assert TWO.paired is not None
    later = Difference(p50=later_ms, p90=None, p50_interval=within)
    paired = TWO.paired.model_copy(update={"latency_difference_ms": later})
    return TWO.model_copy(update={"paired": paired, "co_located": False})


def test_on_shared_cores_no_winner_is_named() -> None:
    found = " ".join(sentences.answer(with_difference(250.0).model_copy(update={"co_located": True})))
    assert "co-located" in found
    assert "no winner" in found
    assert "faster" not in found
    assert "250" not in found


@pytest.mark.parametrize(
    ("later_ms", "within", "said"),
    [
        (
            250.04,
            None,
            "the gateway was faster: of the same frames, half had its answer 250.0 ms or more before the cl",
        ),
        (-3.0, None, "the cluster was faster: of the same frames, half had its answer 3.0 ms or more before the gatew"),
        (8.0, Interval(low=6.0, high=9.5), "(95 % interval of the median difference: 6.0 to 9.5 ms)."),
        (8.0, Interval(low=-1.0, high=9.5), "Neither tier was faster (95 % interval of the median difference: -1.0 to"),
        (0.0, None, "Neither tier was faster."),
        (None, None, "Too few frames"),
    ],
)
def test_on_cores_of_their_own_the_answer_says_who_was_first(
    later_ms: float | None, within: Interval | None, said: str
) -> None:
    assert said in sentences.answer(with_difference(later_ms, within))[1]


def test_an_invalid_run_has_no_answer() -> None:
    assert sentences.answer(INVALID)[0] == "None: this run is INVALID and its numbers must not be used."


def test_a_tier_alone_is_compared_with_nothing() -> None:
    (said,) = sentences.answer(FULL)
    assert said == "One tier ran alone, so there is none to compare it with. Accuracy: gateway 91.48 %."


# --- the page -----------------------------------------------------------------------------------


def rendered(summary: Summary, rows: Sequence[Row] | None = None, *, manifest: Mapping[str, Any] = MANIFEST) -> str:
    found = None if rows is None else frames(rows, tiers=list(summary.tiers))
    return page.rendered(summary, found, manifest=manifest)


def numbers(text: str) -> set[str]:
    """Give every number of a text, whether its thousands have commas or not."""
    found = re.findall(r"(?<![\w.,@-])-?\d[\d,]*(?:\.\d+)?(?![\w.,]*\w)", text)
    return {number.replace(",", "") for number in found}


@pytest.mark.parametrize("summary", [FULL, TWO, EMPTY, INVALID, TOLD], ids=["full", "two", "empty", "invalid", "told"])
def test_the_page_has_each_number_of_the_text_report(summary: Summary) -> None:
    console = Console(width=200, color_system=None)
    with console.capture() as captured:
        console.print(report.rendered(summary))
    assert numbers(captured.get()) - numbers(Texts(rendered(summary)).text) == set()


def test_what_a_long_run_tells_stands_on_the_page() -> None:
    said = Texts(rendered(TOLD)).text
    for told in (
        "Remarks Worth knowing; none of them makes a run INVALID. never stable found 0.31 of the middle limit 0.1 of",
        "right within 433 ms, % gateway 1,111",
        "(1,099 frames): p50 12.3 ms (95 %: 11.1 to 13.7), p90 45.6 ms.",
        "gateway camera-7 p90 98.7 321 1 camera-9 cluster camera-7 p90 infinite 321 1 camera-9",
        "offered gateway 0.51 -0.12 1.13 61.00",
        "gateway: sent to received 17",
        "accuracy, cluster minus gateway, percentage points -1.23 its 95 % interval -3.45 to 0.67",
        "so different by chance 0.217",
        "Judged by name value late ms 6.5",
    ):
        assert told in said


def test_verdict_answer_and_figures_stand_in_their_order() -> None:
    said = Texts(rendered(INVALID, a_minute())).text
    order = [
        *("INVALID run", "cluster died", "exit code 137", "runs to the end", "see logs/cluster.log", "1,200 frames"),
        *("The answer", "None: this run is INVALID", "Latency from due to seen", "Over time", "Where the time goes"),
        *("Accuracy and agreement", "Confusion matrix: gateway", "Confusion matrix: cluster", "The funnel"),
        *("Resources", "Manifest", "0123456789ab"),
    ]
    body = said[said.index("INVALID run") :]
    places = [body.find(words) for words in order]
    assert -1 not in places, order[places.index(-1)]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("summary", "rows"),
    [
        (TWO, a_minute()),
        (FULL, a_minute()),
        (TWO, None),
        (TWO, [answered("gateway", 0, 0)]),
        (FULL, [unanswered("gateway", due) for due in range(9)]),
        (EMPTY, []),
    ],
    ids=["two tiers", "one tier", "no table", "one frame", "all missing", "nothing"],
)
def test_a_page_stands_alone_whatever_was_measured(summary: Summary, rows: list[Row] | None) -> None:
    html = rendered(summary, rows)
    found = Texts(html)
    assert not set(found.tags) & {"script", "iframe", "object", "embed", "img"}
    assert re.findall(r'(?:href|src)="(?!#|data:,")[^"]*"', html) == []
    assert re.findall(r"url\((?!#)|@import", html) == []
    assert set(re.findall(r"https?://[^\"' ]+", html)) <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert len(found.ids) == len(set(found.ids)), "an id stands twice"
    assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', html)) <= set(found.ids)
    assert "nan" not in found.text.lower().split()
    assert html.count("<svg") == html.count("<title id=") == html.count("<desc id=")


def test_what_was_not_measured_is_not_nought() -> None:
    said = Texts(rendered(EMPTY)).text
    assert "accuracy % 95 % interval gateway 0 0 n/a n/a" in said
    assert "bridge 1.7 n/a 75 ledger n/a n/a n/a" in said


def test_a_name_cannot_bring_markup_with_it() -> None:
    html = rendered(FULL.model_copy(update={"run": "<script>alert(1)</script>"}))
    assert "<script" not in html
    assert "&lt;script&gt;" in html


def test_missing_frames_can_be_seen_in_the_curves() -> None:
    assert "cluster, 200 missing" in Texts(rendered(TWO, a_minute())).text


def test_curves_and_series_know_of_the_warm_up() -> None:
    said = Texts(rendered(TOLD, a_minute())).text
    assert "Without the warm-up: 300 frames due in the first 30.0 s; then three windows in a row agreed" in said
    assert "Shaded: the warm-up." in said


def test_the_same_run_gives_the_same_page() -> None:
    assert rendered(TWO, a_minute()) == rendered(TWO, a_minute())


# --- the folder ---------------------------------------------------------------------------------


def test_a_page_is_written_into_its_run_folder(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", TWO, [])
    assert page.write(folder) == folder / "report.html"
    assert sorted(path.name for path in folder.iterdir()) == [
        *("frames.parquet", "manifest.json", "report.html", "summary.json")
    ]
    assert (folder / "report.html").read_text().startswith("<!DOCTYPE html>")


def test_a_ledgers_folder_has_no_manifest_and_still_a_page(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", TWO, None)
    (folder / "manifest.json").unlink()
    said = Texts(page.write(folder).read_text()).text
    assert "The run folder has no manifest.json" in said
    assert "the run folder has no frames.parquet" in said


def test_a_folder_of_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no run folder"):
        page.write(tmp_path)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"not parquet at all"])
def test_a_damaged_table_is_named(tmp_path: Path, content: bytes) -> None:
    folder = run_folder(tmp_path / "run", TWO, None)
    (folder / "frames.parquet").write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        page.write(folder)
    expected = f"{folder / 'frames.parquet'} cannot be read as a run's table; was it written by another version?"
    assert str(caught.value) == expected


def test_a_damaged_manifest_is_named(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", TWO, None)
    (folder / "manifest.json").write_text("{")
    with pytest.raises(ConfigError, match=r"manifest\.json cannot be read as a manifest: .*; was the run cut off\?"):
        page.write(folder)


def test_a_page_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    folder, place = run_folder(tmp_path / "run", TWO, None), tmp_path / "nowhere" / "page.html"
    with pytest.raises(MissingError, match="cannot be written: No such file or directory; free some space or choose"):
        page.write(folder, place)


def test_the_command_writes_the_page_and_prints_its_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, place = run_folder(tmp_path / "run", TWO, None), tmp_path / "page.html"
    runs.report(folder, form=runs.ReportFormat.HTML, out=place)
    assert capsys.readouterr().out == f"{place}\n"
    assert "<h1>" in place.read_text()


def test_a_place_without_a_page_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="give --format html with it"):
        runs.report(tmp_path, form=runs.ReportFormat.JSON, out=tmp_path / "page.html")
