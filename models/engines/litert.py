"""LiteRT on the processor, once called TensorFlow Lite."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgewise.errors import ConfigError
from edgewise.quiet import quiet_stderr
from models import card
from models.engine import Chances, Loaded, cores
from models.exports import litert


class LiteRtEngine(Loaded):
    """LiteRT, in float32 or int8.

    Its memory is laid out for one size of batch: the next size costs 0.1 to 1 ms more, once.
    """

    def __init__(self, model: Path, *, threads: int, precision: str = "fp32") -> None:
        """Load a model's LiteRT file, made first if it is not there.

        Args:
            model: a ``.keras`` file.
            threads: for one batch; 0 is as many as this process may use cores.
            precision: fp32 or int8.

        Raises:
            ConfigError: it is something else, or cannot be converted.
        """
        with quiet_stderr():
            from ai_edge_litert import interpreter  # type: ignore[import-untyped]

        int8 = precision == "int8"
        file = litert.file(model, int8=int8)
        self.identity = card.ran(card.known(model), file, int8=int8)
        try:
            with quiet_stderr():  # it greets when it lays out memory for the first time
                self._interpreter = interpreter.Interpreter(str(file), num_threads=threads or cores())
                self._interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise ConfigError(f"LiteRT cannot read {file}: {str(error).strip()[:200]}; remove it") from error
        taken, given = self._interpreter.get_input_details()[0], self._interpreter.get_output_details()[0]
        self._input, self._output = taken["index"], given["index"]
        _, height, width, channels = (int(size) for size in taken["shape_signature"])
        self.shape, self.classes = (height, width, channels), int(given["shape"][-1])
        self._laid_out = 1

    def chances(self, images: NDArray[np.uint8]) -> Chances:
        """See Loaded."""
        if len(images) != self._laid_out:
            self._interpreter.resize_tensor_input(self._input, images.shape)
            self._interpreter.allocate_tensors()
            self._laid_out = len(images)
        self._interpreter.set_tensor(self._input, images)
        self._interpreter.invoke()
        return np.asarray(self._interpreter.get_tensor(self._output))  # a copy
