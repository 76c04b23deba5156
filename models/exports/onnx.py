"""The same networks as ONNX files: how a graph is written as one, and where the file is kept.

The file is made from the ``.keras`` file once and stays in the cache: weights have one
origin. Who only asks for it, with ``file``, loads neither Keras nor ``onnx``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from edgewise.errors import ConfigError
from edgewise.places import cache, once
from models import card
from models.exports.child import make, serve
from models.graph import PIXELS, Graph, Node, Op
from models.walk import read

if TYPE_CHECKING:
    import onnx

EXPORTER: Final = 1
"""Version of what is written here: a higher one makes every file anew."""
QUANTISER: Final = 1
"""The same of ``models.exports.int8``."""
OPSET: Final = 17
"""Version of the operations' meaning."""
IR_VERSION: Final = 8
"""Version of the file's form that belongs to the operations: older runtimes take it too."""
PROBABILITIES: Final = "probabilities"
"""The output's name; the input's is PIXELS."""
CHANNELS: Final = 3
"""Red, green, blue."""
IDENTITY: Final = "identity"
"""Key of the model's identity in the file's metadata."""


def file(model: Path, *, int8: bool = False) -> Path:
    """Give a model's ONNX file, made first if it is not there; an ``.onnx`` file is its own in float32.

    Several processes may call this at once: one makes it, the others wait.

    Raises:
        ConfigError: no such model, or one that cannot be exported.
        MissingError: int8 lacks the training images.
        ModuleNotFoundError: it must be made, and what makes it is not installed.
    """
    known = card.known(model)
    given = model.suffix == ".onnx"
    if given and not int8:
        return model
    kind, lock = (f"v{EXPORTER}-int8.{QUANTISER}", "onnx-int8") if int8 else (f"v{EXPORTER}", "onnx")
    place = cache() / "models" / f"{known.file_key}-{kind}.onnx"
    needs = ["onnx"] if given else ["keras", "onnx"]
    return once(place, lambda: make("models.exports.onnx", model, place, int8=int8, needs=needs), lock=lock)


@dataclass(frozen=True, slots=True)
class Signature:
    """What an ONNX classifier takes and gives."""

    input: str
    shape: tuple[int, int, int]
    """Height, width, channels."""
    channels_first: bool
    output: str
    classes: int

    def laid(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Lay N x height x width x channels out as the file wants them."""
        return np.ascontiguousarray(images.transpose(0, 3, 1, 2)) if self.channels_first else images


def signature(file: Path) -> Signature:
    """Read from an ONNX file what it takes and gives.

    Raises:
        ConfigError: it cannot be read, or is no classifier of uint8 RGB images.
    """
    import onnxruntime  # type: ignore[import-untyped]

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return described(session(file, options), file)


def session(file: Path, options: Any) -> Any:  # noqa: ANN401 - ONNX Runtime has no types
    """Open an ONNX file in ONNX Runtime, which then complains of errors alone.

    Raises:
        ConfigError: it cannot be read.
    """
    import onnxruntime

    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no class of their own
        said = str(error).strip().splitlines() or ["no reason given"]
        raise ConfigError(f"ONNX Runtime cannot read {file}: {said[0][:200]}") from error


def described(session: Any, file: Path) -> Signature:  # noqa: ANN401 - as above
    """Say what an opened ONNX file takes and gives.

    Raises:
        ConfigError: it is no classifier of uint8 RGB images.
    """
    inputs, outputs = session.get_inputs(), session.get_outputs()
    found = f"{[(one.type, one.shape) for one in inputs]} to {[(one.type, one.shape) for one in outputs]}"
    wanted = "one input of uint8 RGB images, N x height x width x 3 or N x 3 x height x width, one output N x classes"
    if len(inputs) != 1 or len(outputs) != 1 or inputs[0].type != "tensor(uint8)" or len(inputs[0].shape) != 4:  # noqa: PLR2004 - as said
        raise ConfigError(f"{file}: expected {wanted}; found {found}")
    sizes, classes = inputs[0].shape[1:], outputs[0].shape[-1]
    if not all(isinstance(one, int) for one in (*sizes, classes)) or CHANNELS not in (sizes[0], sizes[2]):
        raise ConfigError(f"{file}: expected {wanted}; found {found}")
    channels_first = sizes[2] != CHANNELS
    height, width, channels = (*sizes[1:], sizes[0]) if channels_first else sizes
    return Signature(inputs[0].name, (height, width, channels), channels_first, outputs[0].name, classes)


def _float(model: Path) -> bytes:
    written: bytes = export(read(model), identity=card.known(model).identity).SerializeToString()
    return written


def _int8(model: Path) -> bytes:
    from models.exports import int8

    place = file(model)
    taken = signature(place)
    written: bytes = int8.quantise(place, taken.laid(int8.images(taken.shape))).SerializeToString()
    return written


def export(graph: Graph, *, identity: str) -> "onnx.ModelProto":
    """Write a graph as ONNX: uint8 images N x height x width x channels in, probabilities N x classes out."""
    import onnx
    from onnx import TensorProto, helper

    writer = _Writer(graph)
    body = helper.make_graph(
        writer.nodes,
        identity,
        [helper.make_tensor_value_info(PIXELS, TensorProto.UINT8, ["N", *graph.shape])],
        [helper.make_tensor_value_info(PROBABILITIES, TensorProto.FLOAT, ["N", graph.classes])],
        writer.constants,
    )
    model = helper.make_model(
        body,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="edgewise",
        producer_version=str(EXPORTER),
    )
    helper.set_model_props(model, {IDENTITY: identity})
    onnx.checker.check_model(model, full_check=True)
    return model


class _Writer:
    """Nodes and constants in ONNX' own layouts: N x channels x height x width, kernels out x in x height x width."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._names = {PIXELS: self._scaled(), graph.output: PROBABILITIES}
        """Which value each of the graph's names is; another node's is called as the node."""
        for node in graph.nodes:
            WRITERS[node.op](self, node)

    # --- what each operation becomes ---------------------------------------------------------

    def conv(self, node: Node) -> None:
        kernel = self._constant(node, "kernel", node.weights["kernel"].transpose(3, 2, 0, 1))
        bias = self._constant(node, "bias", node.weights["bias"])
        self._put(
            "Conv", node, kernel, bias, kernel_shape=node.kernel, strides=node.strides, pads=self._graph.pads(node)
        )

    def relu(self, node: Node) -> None:
        self._put("Relu", node)

    def add(self, node: Node) -> None:
        self._put("Add" if len(node.inputs) == 2 else "Sum", node)  # noqa: PLR2004 - Add takes two, Sum any number

    def max_pool(self, node: Node) -> None:
        self._put("MaxPool", node, kernel_shape=node.kernel, strides=node.strides, pads=self._graph.pads(node))

    def global_average_pool(self, node: Node) -> None:
        pooled = f"{node.name}/pooled"
        self._node("GlobalAveragePool", self._inputs(node), pooled)
        self._node("Flatten", [pooled], self._name(node.name), axis=1)

    def flatten(self, node: Node) -> None:
        turned = f"{node.name}/turned"
        self._node("Transpose", self._inputs(node), turned, perm=(0, 2, 3, 1))  # Keras counts channels fastest
        self._node("Flatten", [turned], self._name(node.name), axis=1)

    def dense(self, node: Node) -> None:
        kernel = self._constant(node, "kernel", node.weights["kernel"])
        self._put("Gemm", node, kernel, self._constant(node, "bias", node.weights["bias"]))

    def softmax(self, node: Node) -> None:
        self._put("Softmax", node, axis=1)

    # --- how it is written down --------------------------------------------------------------

    def _scaled(self) -> str:
        """Bring the pixels to float32, to the scale of the first node, and to ONNX' layout."""
        from onnx import TensorProto

        self._node("Transpose", [PIXELS], f"{PIXELS}/turned", perm=(0, 3, 1, 2))
        self._node("Cast", [f"{PIXELS}/turned"], f"{PIXELS}/float", to=TensorProto.FLOAT)
        value = f"{PIXELS}/float"
        for op, name, values in (("Mul", "scale", self._graph.scale), ("Add", "offset", self._graph.offset)):
            if (values != (op == "Mul")).any():  # something other than * 1 or + 0
                turned = values.transpose(2, 0, 1) if values.ndim > 1 else values.reshape(-1, 1, 1)
                constant = self._stored(f"{PIXELS}/{name}", turned[None])
                self._node(op, [value, constant], f"{value}/{name}")
                value = f"{value}/{name}"
        return value

    def _name(self, name: str) -> str:
        return self._names.get(name, name)

    def _inputs(self, node: Node) -> list[str]:
        return [self._name(name) for name in node.inputs]

    def _put(self, kind: str, node: Node, *constants: str, **attributes: Any) -> None:  # noqa: ANN401 - ONNX' own
        self._node(kind, [*self._inputs(node), *constants], self._name(node.name), **attributes)

    def _node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> None:  # noqa: ANN401 - as above
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))

    def _constant(self, node: Node, name: str, values: NDArray[np.float32]) -> str:
        return self._stored(f"{node.name}/{name}", values)

    def _stored(self, name: str, values: NDArray[np.float32]) -> str:
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name


WRITERS: Final[dict[Op, Callable[[_Writer, Node], None]]] = {
    Op.CONV: _Writer.conv,
    Op.RELU: _Writer.relu,
    Op.ADD: _Writer.add,
    Op.MAX_POOL: _Writer.max_pool,
    Op.GLOBAL_AVERAGE_POOL: _Writer.global_average_pool,
    Op.FLATTEN: _Writer.flatten,
    Op.DENSE: _Writer.dense,
    Op.SOFTMAX: _Writer.softmax,
}


if __name__ == "__main__":
    serve(_float, int8=_int8)
