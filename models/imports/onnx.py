"""ONNX files: a scaling put before the network, a softmax behind it, the rest as it is."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from models.imports.pixels import Floats, Outputs, Scaling
from models.imports.refusal import first_line, refused

if TYPE_CHECKING:
    import onnx

CHANNELS: Final = 3
BATCH: Final = 100
PIXELS: Final = "pixels_uint8"
PROBABILITIES: Final = "probabilities_of_classes"
WANTED: Final = "one input of float or uint8 RGB images, N x height x width x 3 or N x 3 x height x width"


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """A network from an ONNX file."""

    model: "onnx.ModelProto"
    shape: tuple[int, int, int]
    """Height, width, channels of its images."""
    classes: int | None
    """None where the file does not say."""
    takes_pixels: bool
    """Whether it takes uint8: then what it does to them is its own affair."""
    channels_first: bool

    @property
    def weights(self) -> dict[str, NDArray[Any]]:
        """Give the tensors that training may have made."""
        return dict(_weights(self.model))


def read(file: Path) -> Read:
    """Read a file.

    Raises:
        ConfigError: it is damaged, or takes or gives something else than images and classes.
    """
    import onnx

    try:
        model = onnx.load(file)
        onnx.checker.check_model(model)
        model = onnx.shape_inference.infer_shapes(model)
    except Exception as error:  # its errors have no class of their own
        raise refused(file, f"expected a whole ONNX file, found one that onnx refuses: {first_line(error)}") from error
    constants = {one.name for one in model.graph.initializer}
    inputs = [one for one in model.graph.input if one.name not in constants]
    if len(inputs) != 1 or len(model.graph.output) != 1:
        raise refused(
            file, f"expected {WANTED}, and one output; found {len(inputs)} inputs, {len(model.graph.output)} outputs"
        )
    kind, sizes = inputs[0].type.tensor_type.elem_type, _sizes(inputs[0])
    found = f"{onnx.TensorProto.DataType.Name(kind)} {' x '.join(str(one or 'N') for one in sizes)}"
    floats, pixels = onnx.TensorProto.FLOAT, onnx.TensorProto.UINT8
    if kind not in {floats, pixels} or len(sizes) != 4 or CHANNELS not in (sizes[1], sizes[3]):  # noqa: PLR2004 - as wanted
        raise refused(file, f"expected {WANTED}; found {found}")
    if sizes[0] is not None:
        raise refused(file, f"expected batches of any size, found {found}; export it with a free first dimension")
    channels_first = sizes[3] != CHANNELS
    height, width = sizes[2:] if channels_first else sizes[1:3]
    if height is None or width is None:
        raise refused(file, f"expected images of one size, found {found}")
    classes = (_sizes(model.graph.output[0]) or [None])[-1]
    return Read(model, (height, width, CHANNELS), classes, kind == pixels, channels_first)


def outputs(file: Path, network: Read) -> Outputs:
    """Give the network as a function of images, N x height x width x channels.

    Raises:
        ConfigError: ONNX Runtime cannot run it.
    """
    import onnxruntime  # type: ignore[import-untyped]

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(
            network.model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # its errors have no class of their own
        raise refused(file, f"expected operations that ONNX Runtime knows: {first_line(error)}") from error
    (given,) = session.get_inputs()

    def ask(images: Floats) -> Floats:
        laid = images.transpose(0, 3, 1, 2) if network.channels_first else images
        laid = laid.astype(np.uint8 if network.takes_pixels else np.float32)
        parts = [session.run(None, {given.name: laid[at : at + BATCH]})[0] for at in range(0, len(laid), BATCH)]
        found: Floats = np.concatenate(parts)
        return found

    return ask


def finished(network: Read, *, scaling: Scaling | None, softmax: bool) -> bytes:
    """Give the file that the engines load: from uint8 pixels to probabilities."""
    import onnx

    model = onnx.ModelProto()
    model.CopyFrom(network.model)
    if scaling is not None:
        _scale(model, scaling, channels_first=network.channels_first)
    if softmax:
        (given,) = model.graph.output
        model.graph.node.append(onnx.helper.make_node("Softmax", [given.name], [PROBABILITIES], axis=1))
        given.name = PROBABILITIES
    onnx.checker.check_model(model)
    written: bytes = model.SerializeToString()
    return written


def _scale(model: "onnx.ModelProto", scaling: Scaling, *, channels_first: bool) -> None:
    """Put before the network what brings uint8 to what it takes."""
    from onnx import TensorProto, helper, numpy_helper

    constants = {one.name for one in model.graph.initializer}
    (given,) = (one for one in model.graph.input if one.name not in constants)
    value, nodes = f"{PIXELS}/float", [helper.make_node("Cast", [PIXELS], [f"{PIXELS}/float"], to=TensorProto.FLOAT)]
    for op, values, after in (("Mul", scaling.scale, f"{PIXELS}/scaled"), ("Add", scaling.offset, given.name)):
        constant = numpy_helper.from_array(_laid(values, channels_first=channels_first), f"{PIXELS}/{op}")
        model.graph.initializer.append(constant)
        nodes.append(helper.make_node(op, [value, constant.name], [after]))
        value = after
    others = [one for one in model.graph.input if one is not given and one.name != given.name]
    sizes = [one.dim_value or one.dim_param or "N" for one in given.type.tensor_type.shape.dim]
    inputs = [helper.make_tensor_value_info(PIXELS, TensorProto.UINT8, sizes), *others]
    before = list(model.graph.node)
    del model.graph.input[:], model.graph.node[:]
    model.graph.input.extend(inputs)
    model.graph.node.extend([*nodes, *before])


def _laid(values: Floats, *, channels_first: bool) -> Floats:
    """Lay a scale out beside images: one number, one of each channel, or one of each channel of each pixel."""
    if not channels_first or values.ndim == 0:
        return np.ascontiguousarray(values, np.float32).reshape(values.shape)
    turned = values.transpose(2, 0, 1) if values.ndim > 1 else values.reshape(-1, 1, 1)
    return np.ascontiguousarray(turned, np.float32)


def _sizes(value: Any) -> list[int | None]:  # noqa: ANN401 - ONNX' own
    return [one.dim_value or None for one in value.type.tensor_type.shape.dim]


def _weights(model: "onnx.ModelProto") -> Iterator[tuple[str, NDArray[Any]]]:
    from onnx import TensorProto, numpy_helper

    sizes_of_things = {TensorProto.INT64, TensorProto.STRING, TensorProto.BOOL}
    tensors = [(one.name, one) for one in model.graph.initializer]
    for node in model.graph.node:
        if node.op_type == "Constant":
            tensors += [(node.output[0], one.t) for one in node.attribute if one.name == "value"]
    turn: Callable[[Any], NDArray[Any]] = numpy_helper.to_array
    for name, tensor in tensors:
        if tensor.data_type not in sizes_of_things:
            yield name, turn(tensor)
