"""Cameras that send a folder's pictures, all the way to the account and its audit."""

import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pyarrow.parquet as pq
import pytest
from PIL import Image

from brokers.broker import Broker
from compare.audits.audit import Audit
from compare.reports import report
from edgewise import dataset
from edgewise.dataset import CLASSES
from edgewise.parts import say
from edgewise.summary import Summary
from tests.system import UNTIMED, System, accounted, printed

pytestmark = [pytest.mark.brokers, pytest.mark.timeout(300)]

IMAGES: Final = 200
YARD: Final = """
[own]
images = "photos"
cameras = 2
frames = 100
rate_hz = 50

[set]
cameras = 2
frames = 100
rate_hz = 50
codec = "png"
"""


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[int, int]]:
    """Give a folder with a fleet file and CIFAR-10's first test images as pictures; their places as such."""
    folder = tmp_path_factory.mktemp("yard")
    test = dataset.load("test", say=say)
    named = {}
    for image in range(IMAGES):
        path = folder / "photos" / CLASSES[test.labels[image]] / f"{image:05}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(test.images[image]).save(path)
        named[path.relative_to(folder).as_posix()] = image
    (folder / "photos" / "cat" / "torn.png").write_bytes((folder / min(named)).read_bytes()[:500])
    (folder / "yard.toml").write_text(YARD)
    return folder, {place: named[name] for place, name in enumerate(sorted(named))}


@pytest.fixture(scope="module")
def ran(
    mqtt: Broker, kafka: Broker, places: tuple[Path, Mapping[int, int]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, Summary, dict[str, Any]]]:
    """Give the account of both groups: its folder, its summary, and what the fleet said of itself."""
    system, run = System(tmp_path_factory.mktemp("run"), mqtt=mqtt, kafka=kafka), uuid4().hex
    mine = ("--client-id", run, "--end-session")
    out = system.folder / "account"
    try:
        system.start("bridge", *mine)
        system.start("gateway", "--client-id", f"{run}-gateway", "--end-session", "--engine", "onnx")
        ledger = system.start("ledger", "--run", run, "--out", str(out), "--settle-s", "30", *UNTIMED)
        groups = ("--groups", str(places[0] / "yard.toml"), "--processes", "2", "--format", "json")
        fleet = system.start("fleet", "--run", run, *groups, "--wait-s", "120")
        yield out, accounted(system, ledger, fleet, within_s=200), {"said": system.said(fleet), **printed(fleet)}
    finally:
        system.stop()


def edgewise(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edgewise", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)


def test_the_same_pictures_get_the_same_labels_and_the_same_accuracy(
    ran: tuple[Path, Summary, Mapping[str, Any]], places: tuple[Path, Mapping[int, int]]
) -> None:
    out, summary, _ = ran
    assert (summary.verdict, summary.frames.scheduled) == ("VALID", 2 * IMAGES)
    rows = pq.read_table(out / "frames.parquet", columns=["camera", "image", "truth", "label", "correct"]).to_pylist()
    by_group: dict[str, dict[int, tuple[int, int, bool]]] = {"own": {}, "set": {}}
    for row in rows:
        group = row["camera"].partition("-")[0]
        image = places[1][row["image"]] if group == "own" else row["image"]
        by_group[group][image] = (row["truth"], row["label"], row["correct"])
    assert by_group["own"] == by_group["set"]
    assert len(by_group["own"]) == IMAGES
    right = sum(correct for _, _, correct in by_group["set"].values())
    assert 0 < right < IMAGES
    assert summary.tiers["gateway"].accuracy == right / IMAGES


def test_the_account_says_which_images_were_sent(ran: tuple[Path, Summary, Mapping[str, Any]]) -> None:
    out, summary, fleet = ran
    own, ours = summary.images["own"], summary.images["set"]
    assert (own.dataset, own.split, own.images, own.skipped) == ("pictures", "photos", IMAGES, 1)
    assert (ours.dataset, ours.split, ours.images) == ("cifar10", "test", 10_000)
    assert "photos: cat/torn.png is skipped: image file is truncated" in fleet["said"]
    told = f"Images of own: 200 pictures of the folder photos, 1 of its files skipped; SHA-256 {own.sha256[:12]}."
    assert told in " ".join(edgewise("report", str(out)).stdout.split())
    assert report.read(out) == summary


def test_its_audit_wants_the_pictures_and_passes_with_them(
    ran: tuple[Path, Summary, Mapping[str, Any]], places: tuple[Path, Mapping[int, int]], tmp_path: Path
) -> None:
    out, _, _ = ran
    photos = places[0] / "photos"
    done = edgewise("audit", str(out), "--images", str(photos), "--format", "json")
    assert done.returncode == 0, done.stdout + done.stderr
    states = {one.check: one.state for one in Audit.model_validate_json(done.stdout).findings}
    assert {"truth, own", "truth, set", "same labels, gateway, own", "same labels, gateway, set"} <= set(states)
    assert [check for check, state in states.items() if state == "failed"] == []
    done = edgewise("audit", str(out))
    assert done.returncode == 2
    assert "own sent 200 pictures of a folder 'photos'" in done.stderr
    assert done.stderr.rstrip().endswith("say where they are: --images DIR")
    other = Path(shutil.copytree(photos, tmp_path / "photos"))
    next((other / "cat").glob("0*.png")).unlink()
    done = edgewise("audit", str(out), "--images", str(other))
    assert done.returncode == 2
    assert done.stderr.rstrip().endswith("holds others; give the folder as it was at the run")
