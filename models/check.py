"""Whether an engine gives the answers of the model's own Keras, image by image.

The gate that stands before any comparison of speed: float32 engines may differ only where
Keras itself cannot decide, the others on no more than one image in two hundred.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgewise.errors import ConfigError
from models import card, engine, keras_file
from models.card import Check
from models.engine import Chances, Labels, Scores

TIE: Final = 1e-4
"""Two classes whose probabilities are closer than this are no decision."""
DIFFER_MAX: Final = 0.005
"""Share of the labels in which an engine of fewer bits may differ."""
FEWER_BITS: Final = ("-int8", "-bf16")
"""How the names of such engines end."""
BATCH: Final = 250


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """What a model says of the images when its own library runs it, by its plainest call."""

    labels: Labels
    scores: Scores
    undecided: NDArray[np.bool_]
    """Images whose two best classes are closer than TIE."""


def reference(model: Path, images: NDArray[np.uint8]) -> Reference:
    """Ask Keras, or ONNX Runtime where the model is an ``.onnx`` file."""
    if model.suffix == ".keras":
        chances = np.asarray(keras_file.read(model).predict(images, batch_size=BATCH, verbose=0))
    else:
        chances = chances_of(engine.load("onnx", model=str(model)), images)
    best = np.sort(chances, axis=1)
    return Reference(chances.argmax(axis=1), best[:, -1], best[:, -1] - best[:, -2] < TIE)


def chances_of(loaded: engine.Loaded, images: NDArray[np.uint8]) -> Chances:
    """Put any number of images through an engine, BATCH at a time."""
    return np.concatenate([loaded.chances(images[first : first + BATCH]) for first in range(0, len(images), BATCH)])


def answers_of(loaded: engine.Loaded, images: NDArray[np.uint8]) -> tuple[Labels, Scores]:
    """Give label and score of any number of images."""
    chances = chances_of(loaded, images)
    return chances.argmax(axis=1), chances.max(axis=1)


def compared(
    name: str, answers: tuple[Labels, Scores], expected: Reference, *, truth: NDArray[np.integer], identity: str
) -> Check:
    """Set an engine's answers beside the reference.

    Args:
        name: the engine's.
        answers: label and score of each image.
        expected: of the same images.
        truth: their classes.
        identity: of the model as that engine ran it.
    """
    labels, scores = answers
    differ = labels != expected.labels
    beyond_ties = int((differ & ~expected.undecided).sum())
    allowed = int(DIFFER_MAX * len(labels)) if name.endswith(FEWER_BITS) else 0
    return Check(
        engine=name,
        identity=identity,
        images=len(labels),
        differ=int(differ.sum()),
        beyond_ties=beyond_ties,
        allowed=allowed,
        apart=float(np.abs(scores - expected.scores).max()),
        correct=int((labels == truth).sum()),
        passed=beyond_ties <= allowed,
    )


def record(model: Path, checks: list[Check]) -> bool:
    """Write checks into the model's card, over older ones of the same engines; say whether there is a card.

    Raises:
        ConfigError: the card cannot be written.
    """
    known = card.known(model).card
    if known is None:
        return False
    kept = known.model_copy(update={"checks": known.checks | {one.engine: one for one in checks}})
    path = card.card_path(model)
    try:
        path.write_text(kept.model_dump_json(indent=1) + "\n")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}; copy the model to a folder of yours") from error
    return True
