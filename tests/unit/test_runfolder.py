"""A run's folder and its manifest."""

import json
import shutil
from collections import namedtuple
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

from compare.runs import runfolder
from edgewise import __version__
from edgewise.clock import SECOND_NS, ManualClock
from edgewise.errors import ConfigError, MissingError

NOON = ManualClock(start_ns=1_795_262_400 * SECOND_NS)
Usage = namedtuple("Usage", "total used free")  # noqa: PYI024 - as shutil gives it


def free(free_bytes: int) -> Callable[[Path], Usage]:
    return lambda _: Usage(1 << 40, 0, free_bytes)


def test_a_run_folder_is_named_by_its_moment_and_scenario_and_has_logs(tmp_path: Path) -> None:
    folder = runfolder.make(tmp_path / "runs", "demo", clock=NOON)
    assert folder == tmp_path / "runs" / "20261121T120000Z-demo"
    assert (folder / "logs").is_dir()


def test_a_second_run_in_the_same_second_does_not_write_into_the_first(tmp_path: Path) -> None:
    runfolder.make(tmp_path, "demo", clock=NOON)
    with pytest.raises(MissingError, match="cannot be made: File exists; choose another --runs"):
        runfolder.make(tmp_path, "demo", clock=NOON)


def test_a_place_that_takes_no_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file, where the folder should be")
    with pytest.raises(MissingError) as caught:
        runfolder.make(tmp_path / "runs", "demo", clock=NOON)
    folder = tmp_path / "runs" / "20261121T120000Z-demo"
    assert str(caught.value) == f"{folder} cannot be made: Not a directory; choose another --runs"


def test_a_disk_without_room_for_a_run_is_refused_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", free(12 << 20))
    with pytest.raises(MissingError, match=r"has 12 MB free and a run needs 200; free some space or choose another"):
        runfolder.make(tmp_path, "demo", clock=NOON)


def test_a_disk_with_room_for_a_run_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", free(runfolder.SPACE_NEEDED_BYTES))
    assert runfolder.make(tmp_path, "demo", clock=NOON).is_dir()


def test_the_manifest_says_what_ran_where_and_with_what(tmp_path: Path) -> None:
    runfolder.write_manifest(tmp_path, scenario={"cameras": 4, "runs": Path("runs")}, parts={"bridge": ["edgewise"]})
    found = json.loads((tmp_path / "manifest.json").read_text())
    assert set(found) == {"version", "commit", "host", "packages", "scenario", "parts", "files"}
    assert found["version"] == __version__
    assert found["packages"]["pydantic"] == version("pydantic")
    assert found["scenario"] == {"cameras": 4, "runs": "runs"}
    assert found["parts"] == {"bridge": ["edgewise"]}
    assert {"name", "system", "python", "processor", "cores", "cores_allowed", "memory_bytes"} <= set(found["host"])
    assert found["host"]["memory_bytes"] > 1 << 28
    assert len(found["host"]["cores_allowed"]) >= 1


def test_the_manifest_has_the_checksums_of_the_result_files_that_there_are(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text("abc")
    runfolder.write_manifest(tmp_path, scenario={}, parts={})
    assert runfolder.manifest(tmp_path)["files"] == {
        "summary.json": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    }


def test_a_folder_of_a_ledger_alone_has_no_manifest(tmp_path: Path) -> None:
    assert runfolder.manifest(tmp_path) == {}


def test_a_manifest_that_was_cut_off_is_named(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"version": "0.')
    with pytest.raises(ConfigError, match=r"manifest\.json cannot be read as a manifest: .*; was the run cut off\?"):
        runfolder.manifest(tmp_path)


def test_a_disk_that_takes_no_manifest_is_named(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").symlink_to("/dev/full")
    with pytest.raises(MissingError) as caught:
        runfolder.write_manifest(tmp_path, scenario={}, parts={})
    path = tmp_path / "manifest.json"
    assert str(caught.value) == f"{path} cannot be written: No space left on device; free some space"


def test_a_machine_without_git_has_no_commit_and_still_a_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    runfolder.write_manifest(tmp_path, scenario={}, parts={})
    assert json.loads((tmp_path / "manifest.json").read_text())["commit"] is None
