"""What classifies: one protocol for every engine, and how one is loaded.

The engines themselves are in ``models.engines``; each one's library is loaded when the
engine is, so importing this costs nothing.
"""

import importlib
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from edgewise import dataset
from edgewise.arrival import Answer, Opened
from edgewise.clock import Clock
from edgewise.errors import ConfigError, MissingError

SHIPPED: Final = Path(__file__).parent / "weights"

Labels = NDArray[np.int64]
Scores = NDArray[np.float32]
Chances = NDArray[np.float32]
"""Probabilities, N x classes."""

Name = Literal["keras", "onnx", "onnx-int8", "openvino", "openvino-bf16", "openvino-int8", "litert", "litert-int8"]
NAMES: Final[Sequence[Name]] = get_args(Name)
"""Engines that run in Python, each a library and a precision; float32 where none is named."""
CLASSES: Final[Mapping[str, str]] = {
    "keras": "KerasEngine",
    "onnx": "OnnxEngine",
    "openvino": "OpenVinoEngine",
    "litert": "LiteRtEngine",
}
"""Of each library, in the module of ``models.engines`` that is called as the library."""
PINS: Final = {
    "keras": "keras==3.15.1",
    "tensorflow": "tensorflow-cpu==2.21.0",
    "onnx": "onnx==1.23.2",
    "onnxruntime": "onnxruntime==1.31.1",
    "openvino": "openvino==2026.4.1",
    "ai_edge_litert": "ai-edge-litert==2.3.0",
}
"""What pip calls the libraries, in the versions that were tried."""
MODEL_FILES: Final = (".keras", ".onnx")
"""What engines load; any other format is imported first."""


class Engine(Protocol):
    """A loaded model."""

    name: str
    """Of the engine, as results carry it."""
    identity: str
    """Of the model: name@12 hex digits."""
    shape: tuple[int, int, int]
    """Height, width, channels of the images it takes."""

    def classify(self, images: NDArray[np.uint8]) -> tuple[Labels, Scores]:
        """Give label and probability of each of N x height x width x 3 images; N is at least 1."""


class Loaded(ABC):
    """An engine that gives the probabilities of all classes."""

    name: str
    identity: str
    shape: tuple[int, int, int]
    classes: int

    @abstractmethod
    def chances(self, images: NDArray[np.uint8]) -> Chances:
        """Give N x classes probabilities of N x height x width x 3 images; N is at least 1."""

    def classify(self, images: NDArray[np.uint8]) -> tuple[Labels, Scores]:
        """See Engine."""
        chances = self.chances(images)
        return chances.argmax(axis=1), chances.max(axis=1)


def model_file(named: str) -> Path:
    """Find a shipped model by name, or any by path.

    Raises:
        ConfigError: it is in a format that no engine loads.
    """
    shipped = SHIPPED / f"{named}.keras"
    if shipped.exists() or ("/" not in named and "." not in named):
        return shipped
    given = Path(named)
    if given.suffix not in MODEL_FILES:
        raise ConfigError(
            f"--model {named!r} is neither a .keras nor an .onnx file; import it first: edgewise models import {named}"
        )
    return given


def load(engine: str, *, model: str, threads: int = 0) -> Loaded:
    """Load a model into an engine.

    Args:
        engine: one of NAMES.
        model: a shipped model's name, or a file.
        threads: for one batch; 0 is as many as this process may use cores.

    Raises:
        ConfigError: no such engine or model, or a model that this engine cannot run.
        MissingError: the engine's library is not installed, or the processor lacks what it needs.
    """
    if engine not in NAMES:
        raise ConfigError(f"--engine {engine!r} is not known; there is: {', '.join(NAMES)}")
    library, _, precision = engine.partition("-")
    file = model_file(model)
    try:
        kind = getattr(importlib.import_module(f"models.engines.{library}"), CLASSES[library])
        loaded: Loaded = kind(file, threads=threads, precision=precision or "fp32")
    except ModuleNotFoundError as error:
        missing = error.name or "a library"
        raise MissingError(
            f"--engine {engine} needs {missing}, which is not installed; "
            f"install it with: pip install {PINS.get(missing, missing)}"
        ) from error
    loaded.name = engine
    refuse_other_images(file, shape=loaded.shape, classes=loaded.classes)
    chances = loaded.chances(np.zeros((1, *loaded.shape), dtype=np.uint8))  # also: the first frame need not wait
    if not (chances.min() >= 0 and abs(float(chances.sum()) - 1) < 0.02):  # noqa: PLR2004 - int8 rounds
        raise ConfigError(
            f"--model {file}: its outputs are no probabilities (sum {chances.sum():.3f}); end it in softmax"
        )
    return loaded


def refuse_unknown(engines: Sequence[str], *, known: Sequence[str]) -> None:
    """Raise ConfigError if one of several engines is not known."""
    if unknown := [name for name in engines if name not in known]:
        raise ConfigError(f"--engines {unknown[0]!r} is not known; there is: {', '.join(known)}")


def refuse_other_images(file: Path, *, shape: tuple[int, int, int], classes: int) -> None:
    """Raise ConfigError for a model that does not classify the data set's images."""
    wanted, found = (*dataset.SHAPE, len(dataset.CLASSES)), (*shape, classes)
    if found != wanted:
        told = [f"{' x '.join(map(str, one[:3]))} images and {one[3]} classes" for one in (wanted, found)]
        raise ConfigError(f"--model {file}: expected a classifier for {told[0]}, found one for {told[1]}")


def answers(engine: Engine, frames: Sequence[Opened], *, clock: Clock) -> list[Answer]:
    """Put frames through the engine as one batch; give each one's answer, in their order."""
    started_ns = clock.now_ns()
    labels, scores = engine.classify(np.stack([frame.image for frame in frames]))
    inferred_ns = clock.now_ns()
    return [
        Answer(label, score, started_ns, inferred_ns, len(frames))
        for label, score in zip(labels.tolist(), scores.tolist(), strict=True)
    ]


def cores() -> int:
    """Say how many cores this process may use."""
    return len(os.sched_getaffinity(0))
