"""All 10,000 test images: the engines differ from Keras only where Keras itself cannot decide, or as int8 must."""

from pathlib import Path
from typing import Final

import numpy as np
import pytest
from numpy.typing import NDArray

from edgewise import dataset
from edgewise.dataset import Split
from edgewise.errors import MissingError
from edgewise.parts import say
from edgewise.places import cache
from models import card, engine
from models.engine import model_file
from models.exports import litert, onnx

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(600)]

BATCH = 100
MOST: Final = {
    "onnx": 5,
    "openvino": 5,
    "litert": 5,
    "openvino-bf16": 50,
    "onnx-int8": 75,
    "openvino-int8": 75,
    "litert-int8": 120,
}
"""Images in 10,000 on which an engine may differ: half as many again as were measured, in int8."""
LOST_MOST: Final = 50
"""Right answers in 10,000 that an engine may cost: 0.5 points."""
EXACT: Final = ("onnx", "openvino", "litert")
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


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let today's exporters write the files."""
    dataset.load("train", say=say)
    for name in dataset.SPLITS:
        file = f"{dataset.NAME}-{name}.bin"
        (tmp_path / file).symlink_to((cache() / file).absolute())
    monkeypatch.setenv("EDGEWISE_CACHE", str(tmp_path))


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("name", MOST)
def test_ten_thousand_images_keep_their_labels(name: str, split: Split, chances: NDArray[np.float32]) -> None:
    try:
        loaded = engine.load(name, model="resnet20")
    except MissingError as missing:
        pytest.skip(str(missing))
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
    assert len(differ) <= MOST[name]
    lost = card.read(model_file("resnet20")).correct - correct
    if name in EXACT:
        assert margins[differ].max(initial=0) < TIE
        assert abs(lost) <= MOST[name]
    assert lost <= LOST_MOST
    if name.endswith("-int8"):
        exports = litert if name.startswith("litert") else onnx  # OpenVINO runs the ONNX file
        small, large = (exports.file(model_file("resnet20"), int8=int8).stat().st_size for int8 in (True, False))
        say(f"{name}: {small:,} bytes, {small / large:.3f} of float32's")
        assert small <= 0.35 * large
