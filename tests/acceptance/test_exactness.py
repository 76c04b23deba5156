"""All 10,000 test images through the whole path give Keras' own answers, frame by frame."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from edgewise import dataset
from edgewise.parts import say
from models import card
from models.engine import model_file
from tests.real import eventually
from tests.system import RUN, accounted, running

pytestmark = [pytest.mark.brokers, pytest.mark.acceptance, pytest.mark.timeout(900)]

IMAGES = 10_000


@pytest.fixture(scope="module")
def expected() -> NDArray[np.int64]:
    """Classify the test split with Keras in this process, by its plainest call."""
    import keras

    model = keras.models.load_model(model_file("resnet20"))
    images = np.array(dataset.load("test", say=say).images)
    labels: NDArray[np.int64] = model.predict(images, batch_size=500, verbose=0).argmax(axis=1)
    return labels


@pytest.mark.parametrize("codec", ["raw", "png"])
def test_ten_thousand_images_keep_their_answers(tmp_path: Path, codec: str, expected: NDArray[np.int64]) -> None:
    described = card.read(model_file("resnet20"))
    assert int((expected == dataset.load("test", say=say).labels).sum()) == described.correct
    with running(tmp_path) as system:
        ledger = system.ledger()
        system.start("bridge")
        gateway = system.start("gateway")
        eventually(lambda: "classifying" in system.said(gateway), within_s=90)
        fleet = system.fleet(frames=IMAGES, rate_hz=250, codec=codec)
        summary = accounted(system, ledger, fleet, within_s=300)
        table = pq.read_table(system.folder / "account" / "frames.parquet")
    tier = summary.tiers["gateway"]
    assert (summary.run, summary.verdict, tier.results, tier.missing) == (RUN, "VALID", IMAGES, 0)
    answered = np.empty(IMAGES, dtype=np.int64)
    answered[table["image"].to_numpy()] = table["label"].to_numpy()
    assert sorted(table["image"].to_pylist()) == list(range(IMAGES))
    assert np.flatnonzero(answered != expected).tolist() == []
    assert tier.correct == described.correct
    say(f"{codec}: {tier.correct} of {IMAGES}, p50 {tier.latency_ms.p50} ms, p99 {tier.latency_ms.p99} ms")
