import json
import shutil
from pathlib import Path

import pytest

from edgewise import jars

NOT_FOUND = """\
		::::::::::::::::::::::::::::::::::::::::::::::
		::          UNRESOLVED DEPENDENCIES         ::
		::::::::::::::::::::::::::::::::::::::::::::::
		:: org.apache.kafka#kafka-tools-api;4.4.0: not found
		::::::::::::::::::::::::::::::::::::::::::::::
"""
FAILED = "	[FAILED     ] org.lz4#lz4-java;1.8.0!lz4-java.jar: Downloaded file size doesn't match (12ms)\n"
SILENT = "	Host repo.example not found. url=https://repo.example/a.pom\n"


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEWISE_CACHE", str(tmp_path))


def filled() -> Path:
    """Make a whole folder of jars, as a fetch leaves it."""
    place = jars.folder(jars.KAFKA)
    place.mkdir(parents=True)
    for name in ("a.jar", "b.jar"):
        (place / name).write_bytes(b"12345")
    (place / jars.MANIFEST).write_text(json.dumps({"a.jar": 5, "b.jar": 5}))
    return place


def test_a_whole_folder_is_returned_and_nothing_is_fetched() -> None:
    place = filled()
    assert jars.present(jars.KAFKA)
    assert jars.fetch(jars.KAFKA) == place


def test_a_jar_that_lost_its_end_is_noticed() -> None:
    place = filled()
    (place / "b.jar").write_bytes(b"123")
    assert not jars.present(jars.KAFKA)


def test_a_jar_that_is_gone_is_noticed() -> None:
    place = filled()
    (place / "a.jar").unlink()
    assert not jars.present(jars.KAFKA)


@pytest.mark.parametrize("content", ["", "{", None])
def test_a_folder_without_its_list_does_not_count(content: str | None) -> None:
    place = filled()
    if content is None:
        (place / jars.MANIFEST).unlink()
    else:
        (place / jars.MANIFEST).write_text(content)
    assert not jars.present(jars.KAFKA)


def test_each_sort_has_a_folder_of_its_own_with_the_name_of_its_versions() -> None:
    assert jars.folder(jars.KAFKA).name.startswith("kafka-")
    assert jars.folder(jars.HIVEMQ).name.startswith("mqtt-")
    assert jars.folder(jars.KAFKA) == jars.folder(jars.KAFKA)


def test_another_version_of_one_sort_changes_its_folder_alone(tmp_path: Path) -> None:
    changed = Path(shutil.copy(jars.WANTED, tmp_path / "jars.xml"))
    changed.write_text(changed.read_text().replace("4.3.1", "4.3.2"))
    assert jars.folder(jars.KAFKA, wanted=changed) != jars.folder(jars.KAFKA)
    assert jars.folder(jars.HIVEMQ, wanted=changed) == jars.folder(jars.HIVEMQ)


def test_pysparks_ivy_is_found() -> None:
    assert jars.ivy().name == "ivy-2.5.1.jar"


@pytest.mark.parametrize(
    ("log", "problem"),
    [
        (NOT_FOUND, "org.apache.kafka#kafka-tools-api;4.4.0"),
        (FAILED, "org.lz4#lz4-java;1.8.0!lz4-java.jar"),
        (SILENT, "Host repo.example not found. url=https://repo.example/a.pom"),
        (
            NOT_FOUND + SILENT,
            "org.apache.kafka#kafka-tools-api;4.4.0; Host repo.example not found. url=https://repo.example/a.pom",
        ),
        ("first\nException in thread main\n", "Exception in thread main"),
        ("", "Ivy ended without a word"),
    ],
)
def test_the_log_of_ivy_is_read_for_what_was_missing(log: str, problem: str) -> None:
    assert jars.problem_in(log) == problem
