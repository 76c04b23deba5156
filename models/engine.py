"""What classifies: one protocol for every engine, and the engines that run in Python.

An engine's library is loaded when the engine is: importing this costs nothing.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from edgewise.arrival import Answer, Opened
from edgewise.clock import Clock
from edgewise.errors import ConfigError, MissingError
from edgewise.quiet import quiet_stderr
from models import card, onnx
from models.graph import PIXELS

SHIPPED: Final = Path(__file__).parent / "weights"

Labels = NDArray[np.int64]
Scores = NDArray[np.float32]


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


def model_file(named: str) -> Path:
    """Find a shipped model by name, or any by path."""
    shipped = SHIPPED / f"{named}.keras"
    return shipped if shipped.exists() or ("/" not in named and not named.endswith(".keras")) else Path(named)


class KerasEngine:
    """Keras on TensorFlow, as one compiled function of a batch of any size.

    ``Model.predict`` would build a data set for every call: 30 ms around a
    single image's 4.
    """

    name = "keras"

    def __init__(self, model: Path, *, threads: int) -> None:
        """Load a model file that has a card.

        Args:
            model: a ``.keras`` file, its card beside it.
            threads: for one batch; 0 lets TensorFlow take all cores.
        """
        self.identity = card.read(model).identity
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        with quiet_stderr():
            self._load(model, threads=threads)

    def _load(self, model: Path, *, threads: int) -> None:
        import keras
        import tensorflow as tf

        if threads:  # a setting of the whole process: TensorFlow takes it once, before it has done anything
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(1)
        loaded = keras.models.load_model(model, compile=False)
        height, width, channels = loaded.input_shape[1:]
        self.shape = (int(height), int(width), int(channels))
        self.classes = int(loaded.output_shape[-1])
        spec = tf.TensorSpec((None, *self.shape), tf.uint8)

        def best(images: object) -> tuple[object, object]:
            chances = loaded(images, training=False)
            return tf.argmax(chances, axis=1), tf.reduce_max(chances, axis=1)

        self._best = tf.function(best, input_signature=[spec])
        self._constant = tf.constant
        self.classify(np.zeros((1, *self.shape), dtype=np.uint8))

    def classify(self, images: NDArray[np.uint8]) -> tuple[Labels, Scores]:
        """See Engine."""
        labels, scores = self._best(self._constant(images))
        return labels.numpy(), scores.numpy()


class OnnxEngine:
    """ONNX Runtime on the processor."""

    name = "onnx"

    def __init__(self, model: Path, *, threads: int) -> None:
        """Load a model's ONNX file, made first if it is not there.

        Args:
            model: a ``.keras`` file, its card beside it.
            threads: for one batch; 0 is as many as this process may use cores.
        """
        import onnxruntime  # type: ignore[import-untyped]

        self.identity = card.read(model).identity
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or _cores()
        options.inter_op_num_threads = 1
        # Threads that wait by spinning take the cores that decode, fetch and publish.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(onnx.file(model), options, providers=["CPUExecutionProvider"])
        _, height, width, channels = self._session.get_inputs()[0].shape
        self.shape = (int(height), int(width), int(channels))
        self.classes = int(self._session.get_outputs()[0].shape[-1])
        self.classify(np.zeros((1, *self.shape), dtype=np.uint8))

    def classify(self, images: NDArray[np.uint8]) -> tuple[Labels, Scores]:
        """See Engine."""
        (chances,) = self._session.run([onnx.PROBABILITIES], {PIXELS: images})
        return _best(chances)


class OpenVinoEngine:
    """OpenVINO on the processor, from the same ONNX file.

    A batch of a size not seen before costs 6 ms more, once: it is no slower afterwards than
    a model made for that size alone.
    """

    name = "openvino"

    SETTINGS: Final[Mapping[str, str | int | bool]] = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,  # two processes would pin themselves to the same core
        "INFERENCE_PRECISION_HINT": "f32",  # or bfloat16 where the processor has it, with other labels
    }

    def __init__(self, model: Path, *, threads: int) -> None:
        """Load a model's ONNX file; arguments as for OnnxEngine."""
        import openvino  # type: ignore[import-untyped]

        self.identity = card.read(model).identity
        core = openvino.Core()
        settings = {**self.SETTINGS, "INFERENCE_NUM_THREADS": threads or _cores()}
        compiled = core.compile_model(core.read_model(onnx.file(model)), "CPU", settings)
        _, height, width, channels = compiled.input(0).partial_shape
        self.shape = (height.get_length(), width.get_length(), channels.get_length())
        self.classes = compiled.output(0).partial_shape[-1].get_length()
        self._request = compiled.create_infer_request()
        self.classify(np.zeros((1, *self.shape), dtype=np.uint8))

    def classify(self, images: NDArray[np.uint8]) -> tuple[Labels, Scores]:
        """See Engine."""
        return _best(self._request.infer({PIXELS: images}, share_inputs=True)[onnx.PROBABILITIES])


ENGINES: Final = {engine.name: engine for engine in (KerasEngine, OnnxEngine, OpenVinoEngine)}
PINS: Final = {
    "keras": "keras==3.15.1",
    "tensorflow": "tensorflow-cpu==2.21.0",
    "onnx": "onnx==1.23.2",
    "onnxruntime": "onnxruntime==1.31.1",
    "openvino": "openvino==2026.4.1",
}
"""What pip calls the libraries, in the versions that were tried."""


def load(engine: str, *, model: str, threads: int = 0) -> Engine:
    """Load a model into an engine.

    Raises:
        ConfigError: no such engine or model, or a model that this engine cannot run.
        MissingError: the engine's library is not installed.
    """
    if engine not in ENGINES:
        raise ConfigError(f"--engine {engine!r} is not known; there is: {', '.join(ENGINES)}")
    try:
        return ENGINES[engine](model_file(model), threads=threads)
    except ModuleNotFoundError as error:
        library = error.name or "a library"
        raise MissingError(
            f"--engine {engine} needs {library}, which is not installed; "
            f"install it with: pip install {PINS.get(library, library)}"
        ) from error


def answers(engine: Engine, frames: Sequence[Opened], *, clock: Clock) -> list[Answer]:
    """Put frames through the engine as one batch; give each one's answer, in their order."""
    started_ns = clock.now_ns()
    labels, scores = engine.classify(np.stack([frame.image for frame in frames]))
    inferred_ns = clock.now_ns()
    return [
        Answer(label, score, started_ns, inferred_ns, len(frames))
        for label, score in zip(labels.tolist(), scores.tolist(), strict=True)
    ]


def _best(chances: NDArray[np.float32]) -> tuple[Labels, Scores]:
    return chances.argmax(axis=1), chances.max(axis=1)


def _cores() -> int:
    return len(os.sched_getaffinity(0))
