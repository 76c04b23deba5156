"""ONNX Runtime on the processor."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models import card
from models.engine import Chances, Loaded, cores
from models.exports import onnx


class OnnxEngine(Loaded):
    """ONNX Runtime, in float32 or int8."""

    def __init__(self, model: Path, *, threads: int, precision: str = "fp32") -> None:
        """Load a model's ONNX file, made first if it is not there.

        Args:
            model: a ``.keras`` file, or an ``.onnx`` file.
            threads: for one batch; 0 is as many as this process may use cores.
            precision: fp32 or int8.

        Raises:
            ConfigError: the file cannot be read, or takes or gives something else than images and probabilities.
        """
        import onnxruntime  # type: ignore[import-untyped]

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or cores()
        options.inter_op_num_threads = 1
        # Threads that wait by spinning take the cores that decode, fetch and publish.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        int8 = precision == "int8"
        file = onnx.file(model, int8=int8)
        self.identity = card.ran(card.known(model), file, int8=int8)
        self._session = onnx.session(file, options)
        self._signature = onnx.described(self._session, file)
        self.shape, self.classes = self._signature.shape, self._signature.classes

    def chances(self, images: NDArray[np.uint8]) -> Chances:
        """See Loaded."""
        signature = self._signature
        (found,) = self._session.run([signature.output], {signature.input: signature.laid(images)})
        return np.asarray(found)
