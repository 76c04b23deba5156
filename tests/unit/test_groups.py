"""A fleet file: each table a group, and what is wrong is said with the group's name."""

from pathlib import Path

import pytest
from PIL import Image

from edgewise.arrivals import Poisson, Trace
from edgewise.errors import ConfigError
from edgewise.messages import Codec
from producers.fleet import groups

YARD = """
[gate]
cameras = 4
rate_hz = 10
duration_s = 6
arrival = "poisson"

[fence]
cameras = 200
rate_hz = 0.5
frames = 3
codec = "jpeg"
qos = 0
seed = 7
link = "delay_ms=80,loss_share=0.01"
churn = { share = 0.2, away_s = 3 }
clock_ahead_s = -2
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "yard.toml"
    path.write_text(text)
    return path


def test_each_table_is_a_group_in_the_files_order(tmp_path: Path) -> None:
    gate, fence = groups.read(written(tmp_path, YARD))
    assert (gate.name, gate.cameras, gate.frames, gate.arrival) == ("gate", 4, 60, Poisson())
    assert (fence.name, fence.cameras, fence.frames, fence.codec, fence.qos) == ("fence", 200, 3, Codec.JPEG, 0)
    assert (gate.seed, fence.seed) == (1, 7)
    assert fence.unlike_ideal() == {
        "link": {"delay_ms": 80.0, "loss_share": 0.01},
        "churn": {"share": 0.2, "away_s": 3.0},
        "clock_ahead_s": -2.0,
    }
    assert gate.unlike_ideal() == {}


def test_a_trace_is_looked_for_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "street.csv").write_text("camera,time_s\none,0\none,1\ntwo,0.5\n")
    (street,) = groups.read(written(tmp_path, '[street]\narrival = "trace:street.csv"\n'))
    assert isinstance(street.arrival, Trace)
    assert (street.cameras, street.frames) == (2, 2)


def test_pictures_are_looked_for_beside_the_file_and_bound_a_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEWISE_CACHE", str(tmp_path / "cache"))
    for place, colour in (("cat/1.png", "red"), ("dog/2.png", "blue")):
        (tmp_path / "photos" / place).parent.mkdir(parents=True)
        Image.new("RGB", (40, 30), colour).save(tmp_path / "photos" / place)
    (gate, fence) = groups.read(written(tmp_path, '[gate]\nimages = "photos"\n[fence]\ncameras = 2\n'))
    assert gate.images is not None
    assert fence.images is None
    plan = gate.plan(run="r", start_ns=0)
    assert (plan.dataset, plan.split, plan.images) == ("pictures", "photos", 2)
    assert plan.image(0)[:4].tolist() == [0, 1, 0, 1]
    assert fence.plan(run="r", start_ns=0).labels == ""
    (tmp_path / "street.csv").write_text("camera,time_s,image\none,0,1\none,1,2\n")
    with pytest.raises(ConfigError, match="column image names 2; the split has 0 to 1"):
        groups.read(written(tmp_path, '[street]\nimages = "photos"\narrival = "trace:street.csv"\n'))
    with pytest.raises(ConfigError, match=r"\[yard\]: --images .*none cannot be read: .*: No such file"):
        groups.read(written(tmp_path, '[yard]\nimages = "none"\n'))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "has no group: a table for each, as in"),
        ("cameras = 4", "cameras stands outside of a group; begin one with"),
        ("[gate", "is no TOML"),
        ("[gate]\ncamera = 4", r"\[gate\]: camera is not known; did you mean cameras\?"),
        ("[gate]\nrate_hz = 0", r"\[gate\]: rate_hz = 0: "),
        ('[gate]\nlink = "delay=3"', r"\[gate\]: link.delay is not known; did you mean delay_ms\?"),
        ('[gate]\nlink = "delay_ms=fast"', r"\[gate\]: link.delay_ms = 'fast': "),
        ('[gate]\nlink = "fast"', r"\[gate\]: link = 'fast': Value error, 'fast' is not NAME=VALUE"),
        ("[gate]\nchurn = { share = 2 }", r"\[gate\]: churn.share = 2: "),
        ("[Gate]\ncameras = 1", r"\[Gate\]: name = 'Gate': "),
        ("[gate]\nframes = 4\nduration_s = 2", r"\[gate\]: --frames 4 and --duration-s 2 are two lengths"),
        ('[gate]\narrival = "weekly"', r"\[gate\]: --arrival 'weekly' is none of periodic"),
        ('[gate]\narrival = "trace:none.csv"', r"\[gate\]: .*none.csv"),
    ],
)
def test_what_is_wrong_is_said_with_the_groups_name(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        groups.read(written(tmp_path, text))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml cannot be read: No such file"):
        groups.read(tmp_path / "none.toml")
