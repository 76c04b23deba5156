"""Several runs put together: medians, intervals, and a winner only where all allow one."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from compare.reports import comparison, comparison_page, comparison_shown
from compare.reports.comparison import Comparison, answer, compared, listed
from compare.runs import runfolder
from compare.runs.ran import Ran
from compare.scenario import Cluster, Gateway, Placement, Scenario
from edgewise.cli import runs
from edgewise.errors import ConfigError
from edgewise.statistics import median_interval
from edgewise.summary import FrameCounts, Interval, Latency, Lateness, Reason, Summary, TierSummary

COUNTS = dict.fromkeys(
    ("scheduled", "sent", "confirmed", "unheard", "refused", "dropped_at_source", "bridged", "bridged_copies"), 1000
)


def tier(p50_ms: float | None, *, on_time: float | None = 0.9) -> TierSummary:
    nothing: dict[str, Any] = dict.fromkeys(("missing", "duplicates", "reordered", "rejected", "late_readings"), 0)
    return TierSummary(
        engine="onnx",
        model="net@1",
        results=1000,
        missing_by_last_place={},
        rejected_by_rule={},
        correct=900,
        accuracy=0.9,
        on_time=on_time,
        throughput_hz=50.0,
        latency_ms=Latency(p50=p50_ms, p90=None, p99=None, p999=None),
        latency_stages_ms={},
        batch_mean=1.0,
        cpu_s=None,
        memory_bytes=None,
        uplink_bytes=0,
        **nothing,
    )


def run(verdict: str = "VALID", **tiers: TierSummary) -> Ran:
    reasons = [] if verdict == "VALID" else [Reason(rule="gateway died", found="exit code -9", limit="-", next="look")]
    summary = Summary(
        run="r",
        version="0",
        verdict=verdict,  # type: ignore[arg-type]
        reasons=reasons,
        frames=FrameCounts(**COUNTS, rejected=0),
        lateness_ms=Lateness(p50=None, p99=None, max=None),
        tiers=tiers,
    )
    return Ran("folder", tuple(tiers), summary)


def alternated(gateway: list[float], cluster: list[float]) -> list[Ran]:
    return [run(gateway=tier(one)) for one in gateway] + [run(cluster=tier(one)) for one in cluster]


def figure(found: comparison.Comparison, name: str = "latency p50") -> comparison.Figure:
    (one,) = (one for one in found.figures if one.name == name)
    return one


ALTERNATE = Scenario(placement=Placement.ALTERNATE, repeats=3)


def test_the_median_of_three_has_their_range_for_an_interval() -> None:
    assert median_interval([3.0, 1.0, 2.0]) == (2.0, (1.0, 3.0))
    assert median_interval([4.0]) == (4.0, (4.0, 4.0))
    middle, (low, high) = median_interval([*range(1, 102)])
    assert middle == 51
    assert 35 < low < 51 < high < 67


def test_a_tier_is_better_where_the_intervals_do_not_overlap() -> None:
    found = compared(ALTERNATE, alternated([10, 12, 11], [20, 19, 30]))
    assert (found.verdict, found.no_winner) == ("VALID", None)
    p50 = figure(found)
    assert p50.better == "gateway"
    assert p50.tiers["cluster"].values == [20, 19, 30]
    assert p50.tiers["cluster"].median == 20
    assert (p50.tiers["cluster"].min, p50.tiers["cluster"].max) == (19, 30)
    assert figure(found, "right and on time").better is None, "they are the same"


def test_what_only_frames_can_tell_has_no_winner_without_them() -> None:
    runs = [run(gateway=tier(1, on_time=0.5))] * 3 + [run(cluster=tier(1, on_time=0.8))] * 3
    assert figure(compared(ALTERNATE, runs), "right and on time").better is None


def test_an_accuracy_that_repeats_tell_alike_is_as_uncertain_as_its_frames() -> None:
    sure = tier(1).model_copy(update={"accuracy_interval": Interval(low=0.88, high=0.92)})
    spread = figure(compared(ALTERNATE, [run(gateway=sure)] * 3 + [run(cluster=sure)] * 3), "accuracy").tiers["gateway"]
    assert (spread.min, spread.max, spread.interval) == (90, 90, Interval(low=88, high=92))


def test_intervals_that_overlap_name_no_winner() -> None:
    assert figure(compared(ALTERNATE, alternated([10, 12, 21], [20, 19, 30]))).better is None


def test_a_run_that_did_not_measure_a_figure_leaves_too_few() -> None:
    runs = alternated([10, 12, 11], [20, 19, 30])
    runs[0] = run(gateway=tier(None))
    found = compared(ALTERNATE, runs)
    assert figure(found).tiers["gateway"].values == [12, 11]
    assert figure(found).better is None


def test_an_invalid_run_makes_all_invalid_and_names_its_reason() -> None:
    runs = [*alternated([10, 12, 11], [20, 19, 30]), run("INVALID", gateway=tier(10))]
    found = compared(ALTERNATE, runs)
    assert (found.verdict, found.no_winner) == ("INVALID", "1 of the runs are INVALID")
    assert [reason.rule for reason in found.reasons] == ["gateway died"]
    assert figure(found).better is None


@pytest.mark.parametrize(
    ("scenario", "why"),
    [
        (Scenario(placement=Placement.ALTERNATE, repeats=2), "2 of at least 3 repeats"),
        (Scenario(repeats=3), "co-located: "),
        (Scenario(repeats=3, gateway=Gateway(cores=(0,))), "co-located: "),
        (Scenario(repeats=3, gateway=Gateway(cores=(0,)), cluster=Cluster(cores=(0, 1))), "co-located: "),
        (Scenario(repeats=3, placement=Placement.GATEWAY), "one tier alone"),
    ],
)
def test_there_are_reasons_to_name_no_winner(scenario: Scenario, why: str) -> None:
    found = compared(scenario, [run(gateway=tier(1), cluster=tier(9))] * 3)
    assert found.no_winner is not None
    assert found.no_winner.startswith(why)
    assert figure(found).better is None


def test_cores_of_their_own_allow_a_winner() -> None:
    apart = Scenario(repeats=3, gateway=Gateway(cores=(0,)), cluster=Cluster(cores=(1,)))
    assert figure(compared(apart, [run(gateway=tier(1), cluster=tier(9))] * 3)).better == "gateway"


def test_it_is_laid_out_in_100_columns() -> None:
    console = Console(width=100, record=True, file=None, no_color=True)
    with console.capture() as shown:
        console.print(comparison_shown.rendered(compared(ALTERNATE, alternated([10, 12, 11], [20, 19, 30]))))
    text = shown.get()
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert lines[0] == "VALID compare, 6 runs"
    assert lines[1].startswith("The gateway is better in latency p50; no difference shown in right and on time and")
    assert "latency p50, ms gateway 11.00 10.00 to 12.00 10.00 to 12.00 gateway" in lines
    assert "cluster 20.00 19.00 to 30.00 19.00 to 30.00" in lines
    assert "accuracy, % gateway 90.00 90.00 to 90.00 90.00 to 90.00 -" in lines
    assert "latency p99, ms gateway n/a n/a n/a n/a" in lines, "p99 was not measured"
    assert "Better only where the repeats do not overlap" in text


# --- the answer ---------------------------------------------------------------------------------


def test_the_answer_is_one_sentence() -> None:
    found = compared(ALTERNATE, [run(gateway=tier(1))] * 3 + [run(cluster=tier(20))] * 3)
    assert answer(found) == (
        "The gateway is better in latency p50; no difference shown in right and on time and accuracy; not measured in "
        "3 runs of each tier: latency p99, CPU for 1,000 right and uplink for 1,000 right."
    )


def test_the_answer_names_no_winner_where_there_is_none() -> None:
    alone = Scenario(repeats=3, placement=Placement.GATEWAY)
    assert answer(compared(alone, [run(gateway=tier(1))] * 3)) == "No tier is called better: one tier alone."
    invalid = compared(ALTERNATE, [run("INVALID", gateway=tier(10))])
    assert answer(invalid) == (
        "None: 1 of 1 runs are INVALID, so these numbers must not be used. The reasons are those of the first, folder."
    )


@pytest.mark.parametrize(
    ("names", "written"),
    [
        ([], ""),
        (["accuracy"], "accuracy"),
        (["latency p50", "latency p99"], "latency p50 and p99"),
        (["latency p50", "latency p90", "accuracy"], "latency p50, p90 and accuracy"),
        (["accuracy", "latency p50"], "accuracy and latency p50"),
    ],
)
def test_figures_are_written_in_a_row(names: list[str], written: str) -> None:
    assert listed(names) == written


# --- its folder ---------------------------------------------------------------------------------


def folder_of(place: Path, found: Comparison) -> Path:
    """Write a comparison's folder; the first of its runs has a page."""
    place.mkdir(parents=True, exist_ok=True)
    runfolder.keep(found, place / comparison.NAME)
    (place / "folder").mkdir()
    (place / "folder" / "report.html").write_text("a run's page")
    return place


def three(gateway: list[float], cluster: list[float]) -> Comparison:
    return compared(ALTERNATE, alternated(gateway, cluster))


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    found = three([10, 12, 11], [20, 19, 30])
    assert comparison.read(folder_of(tmp_path, found)) == found


def test_a_comparison_of_an_older_version_has_no_ends_and_is_read(tmp_path: Path) -> None:
    found = three([10, 12, 11], [20, 19, 30])
    path = folder_of(tmp_path, found) / "comparison.json"
    older = json.loads(path.read_text())
    for one in older["figures"]:
        for spread in one["tiers"].values():
            del spread["min"], spread["max"]
    path.write_text(json.dumps(older))
    assert comparison.read(tmp_path) == found


def test_a_folder_of_no_comparison_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"is no comparison's folder: it has no comparison\.json; runs stand in"):
        comparison.read(tmp_path)
    (tmp_path / "comparison.json").write_text("{}")
    with pytest.raises(
        ConfigError, match=r"comparison\.json cannot be read as a comparison; was it written by another"
    ):
        comparison.read(tmp_path)


def test_the_command_shows_a_comparison(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = three([10, 12, 11], [20, 19, 30])
    folder = folder_of(tmp_path, found)
    runs.report(folder)
    assert "VALID   compare, 6 runs" in capsys.readouterr().out
    runs.report(folder, form=runs.ReportFormat.JSON)
    assert Comparison.model_validate_json(capsys.readouterr().out) == found
    runs.report(folder, form=runs.ReportFormat.HTML)
    assert capsys.readouterr().out == f"{folder / 'report.html'}\n"


# --- its page -----------------------------------------------------------------------------------


def page_of(found: Comparison) -> str:
    return comparison_page.rendered(found, runs={"folder": "folder/report.html"})


def plain(html: str) -> str:
    """Give what is read on a page."""
    shown = re.sub(r"<(style|svg|title).*?</\1>", " ", html, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", shown).split())


def test_the_page_says_verdict_answer_and_figures_in_this_order() -> None:
    said = plain(page_of(three([10, 12, 11], [20, 19, 30])))
    order = [
        *("VALID compare, 6 runs", "No rule was broken", "The gateway is better in latency p50;"),
        *("latency p50, ms: gateway better", "gateway 11.00 10.00 to 12.00 10.00 to 12.00", "cluster 20.00"),
        *("accuracy, %: no difference shown", "do not overlap", "A dot is a run", "The runs", "Placement: alternate"),
    ]
    places = [said.find(words) for words in order]
    assert -1 not in places, order[places.index(-1)]
    assert places == sorted(places)


def test_the_page_of_an_invalid_comparison_says_why_before_any_number() -> None:
    said = plain(page_of(compared(ALTERNATE, [run("INVALID", gateway=tier(10)), run(cluster=tier(20))])))
    assert said.startswith("INVALID compare, 2 runs These are the reasons of the first INVALID run.")
    assert said.index("gateway died") < said.index("None: 1 of 2 runs are INVALID") < said.index("10.00")
    assert "better" not in said.split("The figures")[1]


@pytest.mark.parametrize(
    "found",
    [
        three([10, 12, 11], [20, 19, 30]),
        compared(Scenario(repeats=2, placement=Placement.GATEWAY), [run(gateway=tier(1))] * 2),
        compared(ALTERNATE, [run("INVALID")]),
    ],
    ids=["two tiers", "one tier", "nothing"],
)
def test_the_page_stands_alone_but_for_the_pages_of_its_runs(found: Comparison) -> None:
    html = page_of(found)
    assert set(re.findall(r'(?:href|src)="(?!#|data:,)([^"]*)"', html)) == {"folder/report.html"}
    assert re.findall(r"url\((?!#)|@import|<script|<img", html) == []
    assert set(re.findall(r"https?://[^\"' ]+", html)) <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids)), "an id stands twice"
    assert html.count("<svg") == html.count("<title id=") == html.count("<desc id=")
    assert "nan" not in plain(html).lower().split()


def test_a_run_without_a_page_is_named_and_not_linked() -> None:
    html = comparison_page.rendered(three([1, 2, 3], [4, 5, 6]), runs={})
    assert "<a " not in html
    assert "folder" in plain(html)


def test_links_are_relative_where_the_page_stands_with_its_runs(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "a b", three([1, 2, 3], [4, 5, 6]))
    assert 'href="folder/report.html"' in comparison_page.write(folder).read_text()
    elsewhere = comparison_page.write(folder, tmp_path / "page.html").read_text()
    assert f'href="{(folder / "folder" / "report.html").as_uri()}"' in elsewhere


def test_a_name_cannot_bring_markup_with_it() -> None:
    found = three([1, 2, 3], [4, 5, 6]).model_copy(update={"scenario": "<script>alert(1)</script>"})
    assert "&lt;script&gt;" in page_of(found)
    assert "<script" not in page_of(found)
