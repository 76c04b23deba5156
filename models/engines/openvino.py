"""OpenVINO on the processor, from the same ONNX file as ONNX Runtime."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgewise.errors import ConfigError, MissingError
from models import card
from models.engine import Chances, Loaded, cores
from models.exports import onnx


class OpenVinoEngine(Loaded):
    """OpenVINO, in float32, bfloat16 or int8.

    A batch of a size not seen before costs 6 ms more, once: it is no slower afterwards than
    a model made for that size alone.
    """

    SETTINGS: Final[Mapping[str, str | int | bool]] = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,  # two processes would pin themselves to the same core
    }
    HINTS: Final = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
    """What is computed in where the file says nothing; OpenVINO itself would choose bfloat16 unasked."""

    def __init__(self, model: Path, *, threads: int, precision: str = "fp32") -> None:
        """Load a model's ONNX file; arguments and errors as for OnnxEngine; precision may be bf16 too.

        Raises:
            MissingError: the processor has no bfloat16.
        """
        import openvino  # type: ignore[import-untyped]

        int8 = precision == "int8"
        file = onnx.file(model, int8=int8)  # first: a model that is not there is nobody's processor's fault
        core = openvino.Core()
        if precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise MissingError("this processor has no bfloat16; take --engine openvino")
        self.identity = card.ran(card.known(model), file, int8=int8)
        settings = {
            **self.SETTINGS,
            "INFERENCE_PRECISION_HINT": self.HINTS[precision],
            "INFERENCE_NUM_THREADS": threads or cores(),
        }
        try:
            compiled = core.compile_model(core.read_model(file), "CPU", settings)
        except RuntimeError as error:
            raise ConfigError(f"OpenVINO cannot read {model}: {str(error).strip().splitlines()[-1][:200]}") from error
        self._signature = onnx.signature(file)
        self.shape, self.classes = self._signature.shape, self._signature.classes
        self._request = compiled.create_infer_request()

    def chances(self, images: NDArray[np.uint8]) -> Chances:
        """See Loaded."""
        signature = self._signature
        found = self._request.infer({signature.input: signature.laid(images)}, share_inputs=True)[signature.output]
        return np.array(found)  # the request's own memory, which the next batch overwrites
