"""The curve of a training: what it shows, and that drawing it leaves nothing behind."""

import xml.etree.ElementTree as ET
from pathlib import Path

import matplotlib as mpl

from models import curve

EPOCHS = [
    {"epoch": 1, "train_accuracy": 0.41, "test_accuracy": 0.52, "test_loss": 1.4, "wall_s": 61.0},
    {"epoch": 2, "train_accuracy": 0.63, "test_accuracy": 0.7003, "test_loss": 0.9, "wall_s": 62.0},
]


def drawn(place: Path, *, epochs: int = 2) -> str:
    curve.draw(place, network="cifar_cnn", epochs=EPOCHS[:epochs], of=20)
    return place.read_text()


def test_the_picture_says_what_it_shows_in_letters(tmp_path: Path) -> None:
    picture = drawn(tmp_path / "curve.svg")
    letters = {element.text for element in ET.fromstring(picture).iter() if element.text}  # noqa: S314 - our own file
    assert {"cifar_cnn: 70.03% after 2 of 20 epochs, 2 min", "epoch", "images classified rightly", "test"} <= letters
    assert curve.TEST in picture
    assert curve.TRAIN in picture


def test_the_same_curve_gives_the_same_bytes_and_a_longer_one_replaces_it(tmp_path: Path) -> None:
    place = tmp_path / "curve.svg"
    first = drawn(place, epochs=1)
    assert drawn(place, epochs=1) == first
    assert drawn(place) != first
    assert [path.name for path in tmp_path.iterdir()] == ["curve.svg"]


def test_drawing_changes_no_setting_of_the_process(tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    drawn(tmp_path / "curve.svg")
    assert dict(mpl.rcParams) == before


def test_a_training_that_has_not_begun_can_be_drawn(tmp_path: Path) -> None:
    assert "no epoch of 20 yet" in drawn(tmp_path / "curve.svg", epochs=0)
