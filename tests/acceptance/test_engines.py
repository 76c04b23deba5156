"""All 10,000 test images: the engines differ from Keras only where Keras itself cannot decide."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgewise import dataset
from edgewise.dataset import Split
from edgewise.parts import say
from models import card, engine
from models.engine import model_file

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(600)]

BATCH = 100
MOST = 5
"""Images in 10,000 on which an engine may differ."""
TIE = 1e-4
"""Two classes whose probabilities are closer than this are no decision."""


@pytest.fixture(scope="module")
def split() -> Split:
    return dataset.load("test", say=say)


@pytest.fixture(scope="module")
def chances(split: Split) -> NDArray[np.float32]:
    """Ask Keras, by its plainest call, for the probabilities of every class."""
    import keras

    model = keras.models.load_model(model_file("resnet20"))
    found: NDArray[np.float32] = model.predict(np.array(split.images), batch_size=500, verbose=0)
    return found


@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_ten_thousand_images_keep_their_labels(
    name: str, split: Split, chances: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("EDGEWISE_CACHE", str(tmp_path))  # the file that today's exporter writes
    loaded = engine.load(name, model="resnet20")
    images = np.array(split.images)
    parts = [loaded.classify(images[place : place + BATCH]) for place in range(0, len(images), BATCH)]
    labels = np.concatenate([labels for labels, _ in parts])
    scores = np.concatenate([scores for _, scores in parts])

    differ = np.flatnonzero(labels != chances.argmax(axis=1))
    best = np.sort(chances, axis=1)
    margins = best[:, -1] - best[:, -2]
    correct = int((labels == split.labels).sum())
    apart = float(np.abs(scores - chances.max(axis=1)).max())
    say(f"{name}: {len(differ)} of {len(images)} labels differ from Keras', {correct} right, scores apart {apart:.1e}")
    assert margins[differ].max(initial=0) < TIE
    assert len(differ) <= MOST
    assert abs(correct - card.read(model_file("resnet20")).correct) <= MOST
