"""A checkpoint belongs to one driver at a time, one topic and one Kafka; another one is refused in words that help."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from consumers.cluster.spark.checkpoint import LOCK, ORIGIN, Checkpoint, Origin, usual
from edgewise.errors import ConfigError
from edgewise.places import cache

MINE: Final = Origin("frames", "kafka-one")
HOLD: Final = """
import fcntl, sys
lock = open(sys.argv[1], "a")
fcntl.lockf(lock, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def refused(checkpoint: Checkpoint, origin: Origin = MINE) -> str:
    with pytest.raises(ConfigError) as caught:
        checkpoint.claim(origin)
    return str(caught.value)


def test_a_new_folder_is_made_and_remembers_whose_offsets_it_counts(tmp_path: Path) -> None:
    place = tmp_path / "deep" / "checkpoint"
    Checkpoint(str(place)).claim(MINE)
    assert json.loads((place / ORIGIN).read_text()) == {"topic": "frames", "kafka_id": "kafka-one"}
    Checkpoint(str(place)).claim(MINE)


def test_a_file_uri_is_the_folder_that_it_names(tmp_path: Path) -> None:
    checkpoint = Checkpoint(f"file://{tmp_path}/named")
    checkpoint.claim(MINE)
    assert checkpoint.folder == tmp_path / "named"
    assert (tmp_path / "named" / ORIGIN).exists()


def test_another_process_that_has_the_lock_is_said_to_be_another_driver(tmp_path: Path) -> None:
    checkpoint = Checkpoint(str(tmp_path))
    command = [sys.executable, "-c", HOLD, str(tmp_path / LOCK)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        text = refused(checkpoint)
        other.communicate("")
    assert text == f"--checkpoint {tmp_path} is in use by another driver; stop that one, or name another folder"
    assert not (tmp_path / ORIGIN).exists()
    checkpoint.claim(MINE)


@pytest.mark.parametrize("other", [Origin("pictures", "kafka-one"), Origin("frames", "kafka-two")])
def test_the_offsets_of_another_topic_or_another_kafka_are_refused(tmp_path: Path, other: Origin) -> None:
    Checkpoint(str(tmp_path)).claim(other)
    assert refused(Checkpoint(str(tmp_path))) == (
        f"--checkpoint {tmp_path} counts the offsets of topic {other.topic!r} in Kafka {other.kafka_id}, "
        "not of 'frames' in kafka-one; name another folder"
    )


@pytest.mark.parametrize("content", ["", "{", "[1]", "3", '{"topic": "frames"}', '{"topic": "a", "more": 1}', "\udcff"])
def test_an_origin_that_cannot_be_read_is_called_damaged(tmp_path: Path, content: str) -> None:
    (tmp_path / ORIGIN).write_text(content, errors="surrogateescape")
    assert refused(Checkpoint(str(tmp_path))) == f"{tmp_path / ORIGIN} is damaged; name another --checkpoint"


def test_a_place_that_is_no_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    place = tmp_path / "file" / "checkpoint"
    text = refused(Checkpoint(str(place)))
    assert text == f"--checkpoint {place}: Not a directory; name a folder that can be written"


@pytest.mark.parametrize("place", ["hdfs://name:8020/checkpoints/one", "s3a://bucket/one"])
def test_what_is_elsewhere_is_left_to_spark(tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    checkpoint = Checkpoint(place)
    checkpoint.claim(MINE)
    assert checkpoint.folder is None
    assert checkpoint.location == place
    assert list(tmp_path.iterdir()) == []


def test_each_kafka_and_run_has_a_usual_place_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEWISE_CACHE", str(tmp_path))
    places = [usual(origin, run=run) for origin in (MINE, Origin("frames", "kafka-two")) for run in ("", "a", "b")]
    assert len(set(places)) == len(places)
    assert {place.parent for place in places} == {cache() / "checkpoints"}
    assert usual(MINE, run="a") == usual(MINE, run="a")


def test_whatever_a_run_is_called_its_place_is_one_folder_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEWISE_CACHE", str(tmp_path))
    assert usual(Origin("frames", "../id=="), run="../../a b") == tmp_path / "checkpoints" / "..-id---..-..-a-b"
