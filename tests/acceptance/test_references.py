"""The trained models of the systems re-created here give the figures that were published with them.

They are read where they lie, and imported into a folder of the test's. Without a folder
named these tests are left out; see ``conftest.py`` beside this one.
"""

import hashlib
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from edgewise import dataset
from edgewise.parts import say
from models import card
from models import engine as engines
from tests.real import eventually
from tests.system import Answers, Yard, accounted, await_ready, cluster, kafka_alone, running

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(1200), pytest.mark.usefixtures("reference")]

IMAGES: Final = 10_000
FIRST: Final = 1_000
KERAS: Final = "cifar10_ResNet20v1_model_91470.h5"
KERAS_SHA256: Final = "a65f052b06bfc5e5dd349c9771a96f8f4ca33549ea3e1f03cc01934e99dab1dd"
KERAS_RIGHT: Final = (916, 9147)
"""Of the first 1,000 test images, and of all."""
BIGDL: Final = "bigdl_resnet_model_887"
BIGDL_SHA256: Final = "2a560b56631c9a115110bebbf101bc6ea71ca1434263463b546116235b220613"
BIGDL_RIGHT: Final = 8868
OFF_MAX: Final = 2
TIES_MAX: Final = 2
"""Labels in 10,000 that another library's arithmetic may turn."""
CAMERAS: Final = 8
BATCH: Final = 500

Labels = NDArray[np.int64]


def imported(file: Path, sha256: str, out: Path) -> Path:
    """Import a reference by the command; give the model file."""
    assert file.is_file(), f"{file} is missing; the folder must hold {KERAS} and {BIGDL}"
    assert hashlib.sha256(file.read_bytes()).hexdigest() == sha256, f"{file} is not the file that was published"
    command = [sys.executable, "-m", "edgewise", "models", "import", str(file), "--name", file.stem, "--out", str(out)]
    child = subprocess.run(command, capture_output=True, text=True, check=False)
    assert child.returncode == 0, child.stderr
    say(child.stdout.strip())
    return out / f"{file.stem}.keras"


@pytest.fixture(scope="module")
def keras_model(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return imported(reference / KERAS, KERAS_SHA256, tmp_path_factory.mktemp("keras"))


@pytest.fixture(scope="module")
def bigdl_model(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return imported(reference / BIGDL, BIGDL_SHA256, tmp_path_factory.mktemp("bigdl"))


def labels_of(model: Path, engine: str = "keras") -> Labels:
    """Classify all test images in this process."""
    loaded, images = engines.load(engine, model=str(model)), dataset.load("test", say=say).images
    return np.concatenate([loaded.classify(np.array(images[at : at + BATCH]))[0] for at in range(0, IMAGES, BATCH)])


def right(labels: Labels) -> tuple[int, int]:
    """Count the right ones, of the first 1,000 and of all."""
    found = labels == dataset.load("test", say=say).labels
    return int(found[:FIRST].sum()), int(found.sum())


@pytest.fixture(scope="module")
def keras_labels(keras_model: Path) -> Labels:
    return labels_of(keras_model)


@pytest.fixture(scope="module")
def bigdl_labels(bigdl_model: Path) -> Labels:
    return labels_of(bigdl_model)


def test_the_keras_model_in_one_process(keras_model: Path, keras_labels: Labels) -> None:
    first, every = right(keras_labels)
    say(f"{KERAS}: {first} of {FIRST}, {every} of {IMAGES}")
    assert abs(first - KERAS_RIGHT[0]) <= OFF_MAX
    assert abs(every - KERAS_RIGHT[1]) <= OFF_MAX
    assert card.read(keras_model).correct == every


def test_the_bigdl_model_in_one_process(bigdl_model: Path, bigdl_labels: Labels) -> None:
    first, every = right(bigdl_labels)
    say(f"{BIGDL}: {first} of {FIRST}, {every} of {IMAGES}")
    assert abs(every - BIGDL_RIGHT) <= OFF_MAX
    assert card.read(bigdl_model).correct == every


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
@pytest.mark.parametrize("which", ["keras", "bigdl"])
def test_every_engine_gives_the_same_labels(which: str, engine: str, request: pytest.FixtureRequest) -> None:
    expected: Labels = request.getfixturevalue(f"{which}_labels")
    differ = int((labels_of(request.getfixturevalue(f"{which}_model"), engine) != expected).sum())
    say(f"{which}, {engine}: {differ} of {IMAGES} labels differ from Keras'")
    assert differ <= TIES_MAX


@pytest.mark.brokers
@pytest.mark.parametrize("codec", ["text", "raw", "png"])
def test_the_keras_model_through_the_whole_path(
    tmp_path: Path, codec: str, keras_model: Path, keras_labels: Labels
) -> None:
    with running(tmp_path) as system:
        ledger = system.ledger()
        system.start("bridge")
        gateway = system.start("gateway", "--model", str(keras_model))
        eventually(lambda: "classifying" in system.said(gateway), within_s=120)
        fleet = system.fleet(frames=IMAGES, rate_hz=200, codec=codec)
        summary = accounted(system, ledger, fleet, within_s=400)
        table = pq.read_table(system.folder / "account" / "frames.parquet")
    tier = summary.tiers["gateway"]
    assert (summary.verdict, tier.results, tier.missing) == ("VALID", IMAGES, 0)
    assert sorted(table["image"].to_pylist()) == list(range(IMAGES))
    answered = np.empty(IMAGES, dtype=np.int64)
    answered[table["image"].to_numpy()] = table["label"].to_numpy()
    first, every = right(answered)
    say(f"{codec}: {first} of {FIRST}, {every} of {IMAGES} through MQTT, bridge, Kafka and gateway")
    assert np.flatnonzero(answered != keras_labels).tolist() == []
    assert abs(first - KERAS_RIGHT[0]) <= OFF_MAX
    assert abs(every - KERAS_RIGHT[1]) <= OFF_MAX


@pytest.mark.brokers
@pytest.mark.parametrize("which", ["bigdl", "keras"])
def test_bigdl_in_the_cluster_gives_the_same_labels(tmp_path: Path, which: str, request: pytest.FixtureRequest) -> None:
    model: Path = request.getfixturevalue(f"{which}_model")
    expected: Labels = request.getfixturevalue(f"{which}_labels")
    with kafka_alone(tmp_path / "kafka") as broker:
        yard = Yard(broker.address, run="reference", frames=IMAGES // CAMERAS, cameras=CAMERAS)
        yard.send()
        yard.close()
        child = cluster(broker.address, tmp_path, "--engine", "bigdl", "--model", str(model), "--start", "earliest")
        try:
            await_ready(child)
            with closing(Answers(broker.address)) as answers:
                found = answers.wait("reference", frames=IMAGES, within_s=400)
        finally:
            child.stop(within_s=30)
    assert {(one.engine, one.model) for one in found} == {("bigdl", card.read(model).identity)}
    labels = {one.image: one.label for one in found}
    answered = np.array([labels[image] for image in range(IMAGES)])
    first, every = right(answered)
    differ = int((answered != expected).sum())
    say(f"{which} in BigDL: {first} of {FIRST}, {every} of {IMAGES}, {differ} unlike Keras in one process")
    assert differ <= TIES_MAX
