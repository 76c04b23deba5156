"""What measures engines, for real and shortly: the maximum on both tiers, and the engines side by side."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from numpy.typing import NDArray

from compare.engines import maximum
from compare.engines.maximum import MaximumSettings, Place
from edgewise import dataset
from edgewise.clock import SystemClock
from edgewise.parts import say
from models import card
from models import engine as engines

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore:distutils Version classes:DeprecationWarning"),  # pyspark's
]

COUNT: Final = 101
SETTINGS: Final = MaximumSettings(engine="onnx", duration_s=0.1, batch=40, threads=1)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edgewise", "models", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)


def told(*arguments: str) -> dict[str, Any]:
    """Run a command; give the JSON it printed."""
    found = run(*arguments, "--format", "json")
    assert found.returncode == 0, found.stderr
    printed: dict[str, Any] = json.loads(found.stdout)
    return printed


@pytest.fixture(scope="module")
def images() -> NDArray[np.uint8]:
    return np.array(dataset.load("test", say=say).images[:COUNT])


@pytest.fixture(scope="module")
def labels(images: NDArray[np.uint8]) -> list[int]:
    found: list[int] = engines.load("onnx", model="resnet20", threads=1).classify(images)[0].tolist()
    return found


def test_the_maximum_on_the_gateway_is_the_engines_own(images: NDArray[np.uint8], labels: list[int]) -> None:
    found = maximum.on_gateway(SETTINGS, images, engine="onnx", clock=SystemClock())
    assert found.labels.tolist() == labels
    assert found.classified >= COUNT
    assert found.wall_s >= SETTINGS.duration_s
    assert (found.cores, found.identity) == (1, card.known(engines.model_file("resnet20")).identity)


def test_the_maximum_on_the_cluster_is_of_whole_spark_jobs(images: NDArray[np.uint8], labels: list[int]) -> None:
    settings = SETTINGS.model_copy(update={"on": Place.CLUSTER, "master": "local[1]"})
    found = maximum.on_cluster(settings, images, engine="onnx", clock=SystemClock())
    assert found.labels.tolist() == labels
    assert found.classified % COUNT == 0
    assert found.wall_s >= SETTINGS.duration_s
    assert (found.cores, found.identity) == (1, card.known(engines.model_file("resnet20")).identity)
    assert found.cpu_s is not None


def test_max_prints_rate_and_accuracy_of_all_test_images() -> None:
    found = told("max", "--engine", "onnx", "--duration-s", "0")
    known = card.read(engines.model_file("resnet20"))
    assert (found["images"], found["passes"], found["accuracy_of"]) == (10_000, 1, "test images")
    assert abs(found["correct"] - known.correct) <= 5
    assert found["rate_hz"] == pytest.approx(10_000 / found["wall_s"])
    assert found["rate_hz_per_core"] == pytest.approx(found["rate_hz"] / found["cores"])


def test_bench_sets_engines_side_by_side_and_writes_page_and_picture(tmp_path: Path) -> None:
    page, plot = tmp_path / "engines.md", tmp_path / "engines.svg"
    page.write_text("<!-- bench resnet20: from here -->\n<!-- bench resnet20: to here -->\n")
    short = ("--batches", "1,8", "--cores", "1", "--rounds", "1", "--each-s", "0.01", "--images", "50")
    found = told("bench", "--engines", "onnx,openvino", *short, "--page", str(page), "--plot", str(plot))
    assert [(one["engine"], one["missing"], one["agreement"]) for one in found["engines"]] == [
        ("onnx", None, 1),
        ("openvino", None, 1),
    ]
    for one in found["engines"]:
        assert [(speed["cores"], speed["batch"]) for speed in one["speeds"]] == [(1, 1), (1, 8)]
        assert all(speed["lowest_hz"] == speed["rate_hz"] == speed["highest_hz"] > 0 for speed in one["speeds"])
    assert "| openvino | 1 | " in page.read_text()
    assert "openvino" in plot.read_text()


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("bench", "--engines", "coral"), "edgewise: --engines 'coral' is not known; there is: "),
        (("bench", "--cores", "9999"), "edgewise: --cores 9999 is more than the "),
        (("max", "--on", "moon"), "edgewise: --on 'moon': Input should be 'gateway' or 'cluster'"),
        (("max", "--batch", "0"), "edgewise: Invalid value for '--batch': "),
    ],
)
def test_what_cannot_be_measured_is_said_in_one_line(arguments: tuple[str, ...], why: str) -> None:
    found = run(*arguments)
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr.startswith(why)
    assert found.stderr.count("\n") == 1
