"""Pages of searches and sweeps, and what `edgewise report` makes of their folders."""

import json
from functools import cache
from pathlib import Path

import pytest

from compare.reports import folder as folders
from compare.reports import series_page
from compare.reports.series_page import Series
from compare.scenario import Kind, Search
from compare.searches import capacity, crossover, sweep
from edgewise.errors import ConfigError
from edgewise.messages import Tier
from edgewise.places import CHECKOUT
from tests.unit.test_steps import SCENARIO, asks, disturbed, limited, points, runs

FAST = 1e9


@cache
def searched_capacity() -> Series:
    return capacity.searched(SCENARIO, limited({Tier.GATEWAY: 200, Tier.CLUSTER: 400}), asks())


@cache
def searched_crossover() -> Series:
    scenario = SCENARIO.model_copy(update={"search": Search(kind=Kind.CROSSOVER, most_times=4)})
    return crossover.searched(scenario, limited({Tier.GATEWAY: 200, Tier.CLUSTER: FAST}), asks())


@cache
def swept() -> Series:
    return sweep.put_together("micro-batch", points([50, 100]))


FOUND = {"capacity.json": searched_capacity, "crossover.json": searched_crossover, "sweep.json": swept}


@pytest.fixture(params=FOUND)
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Series]:
    """Give a folder with what was found."""
    found = FOUND[request.param]()
    (tmp_path / request.param).write_text(found.model_dump_json(by_alias=True))
    return tmp_path, found


def test_a_page_says_the_answer_draws_it_and_needs_nothing_else(kept: tuple[Path, Series]) -> None:
    folder, found = kept
    page = folders.write_page(folder, None).read_text()
    assert f"<title>VALID: {series_page.title(found)}</title>" in page
    for sentence in series_page.view(found).sentences:
        assert sentence.replace("'", "&#39;") in page
    assert page.count("<svg ") == 1
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "<script" not in page


def test_a_page_links_the_runs_that_have_pages(tmp_path: Path) -> None:
    found = swept()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "report.html").write_text("a run's")
    assert '<a href="folder/report.html">folder</a>' in series_page.write(found, tmp_path).read_text()


def test_an_invalid_search_has_its_reasons_first(tmp_path: Path) -> None:
    found = capacity.searched(SCENARIO, runs(disturbed(), disturbed()), asks())
    page = series_page.write(found, tmp_path).read_text()
    assert page.index("late generator") < page.index("The answer")
    assert "<svg " not in page


def test_a_report_is_what_stands_in_the_folder(kept: tuple[Path, Series], capsys: pytest.CaptureFixture[str]) -> None:
    folder, found = kept
    folders.show_report(folder, None, as_json=True)
    assert json.loads(capsys.readouterr().out) == json.loads(found.model_dump_json(by_alias=True))
    folders.show_report(folder, None, as_json=False)
    assert " VALID " in capsys.readouterr().out


def test_what_cannot_be_read_or_compared_is_named(kept: tuple[Path, Series]) -> None:
    folder, _ = kept
    with pytest.raises(ConfigError, match="is a search or a sweep: give two runs, or two comparisons"):
        folders.between(folder, folder)
    (file,) = folder.glob("*.json")
    file.write_text("{}")
    with pytest.raises(ConfigError, match=rf"{file.name} cannot be read; was it written by another version\?"):
        folders.show_report(folder, None, as_json=False)


def test_a_sweep_says_where_it_is_fastest() -> None:
    found = swept()
    assert isinstance(found, sweep.Sweep)
    assert sweep.said(found) == ["The cluster's lowest latency p99: 262.26 ms, with trigger_ms 50."]


# --- schemas ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", folders.PUBLISHED)
def test_the_published_schemas_are_the_codes(name: str) -> None:
    path = CHECKOUT / "docs" / f"{name}.schema.json"
    write = f"from compare.reports.folder import schema_text; print(schema_text('{name}'), end='')"
    again = f'write it again: .venv/bin/python -c "{write}" > docs/{name}.schema.json'
    assert path.is_file(), again
    assert path.read_text() == folders.schema_text(name), again


def test_what_an_older_version_found_is_read() -> None:
    older = {"folder": "one", "share": 0.9, "interval": {"low": 0.8, "high": 0.95}, "p50_ms": 20.0, "p99_ms": None}
    probe = {"cameras": 8, "offered_hz": 80.0, "tiers": {"gateway": older, "cluster": older}, "better": None}
    found = json.loads(searched_crossover().model_dump_json(by_alias=True)) | {"probes": [probe]}
    del found["confirmed"], found["disturbed"], found["runs"]
    read = crossover.Crossover.model_validate(found)
    assert read.probes[0].tiers["gateway"].folders == ["one"]
    assert "neither" in "".join(next(iter(crossover.rows(read))))
    assert series_page.view(read).folders == ["one", "one"]
