"""All 10,000 test images through Kafka and Spark give the gateway's answers, whichever engine runs the model."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from numpy.typing import NDArray

from brokers.broker import Broker
from edgewise import dataset
from edgewise.messages import Result
from edgewise.parts import say
from models import card
from models import engine as engines
from models.engine import model_file
from tests.real import eventually
from tests.system import Answers, Yard, await_ready, cluster, kafka_alone, printed

pytestmark = [pytest.mark.brokers, pytest.mark.acceptance, pytest.mark.timeout(900)]

IMAGES: Final = 10_000
CAMERAS: Final = 8
LEAST: Final = 9_995
"""Labels that must be the same: what is left are ties of two classes."""
BATCH: Final = 500


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Give a Kafka that holds every test image once."""
    with kafka_alone(tmp_path_factory.mktemp("kafka")) as broker:
        yard = Yard(broker.address, run="exact", frames=IMAGES // CAMERAS, cameras=CAMERAS)
        yard.send()
        yard.close()
        yield broker


@pytest.fixture(scope="module")
def gateways() -> NDArray[np.int64]:
    """Give the labels of the gateway's engine, in this process."""
    engine, images = engines.load("keras", model="resnet20"), dataset.load("test", say=say).images
    return np.concatenate([engine.classify(images[at : at + BATCH])[0] for at in range(0, IMAGES, BATCH)])


def of_engine(answers: Answers, engine: str) -> list[Result]:
    """Give an engine's results when there are enough of them."""
    found = [one for one in answers.of("exact") if one.engine == engine]
    return found if len(found) >= IMAGES else []


@pytest.mark.parametrize("engine", ["bigdl", "onnx", "openvino", "keras"])
def test_ten_thousand_images_keep_their_answers(
    log: Broker, tmp_path: Path, engine: str, gateways: NDArray[np.int64]
) -> None:
    described = card.read(model_file("resnet20"))
    child = cluster(log.address, tmp_path, "--engine", engine, "--start", "earliest")
    try:
        await_ready(child)
        with closing(Answers(log.address)) as answers:
            found = eventually(lambda: of_engine(answers, engine), within_s=300)
    finally:
        child.stop(within_s=30)
    labels = {one.image: one.label for one in found}
    assert len(found) == len(labels) == IMAGES
    assert {(one.model, one.tier) for one in found} == {(described.identity, "cluster")}
    answered = np.array([labels[image] for image in range(IMAGES)])
    same = int((answered == gateways).sum())
    right = int((answered == dataset.load("test", say=say).labels).sum())
    say(f"{engine}: {same} of {IMAGES} as the gateway, {right} right; {printed(child)['frames_per_batch']} a batch")
    assert same >= LEAST
