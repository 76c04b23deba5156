"""An ONNX file in int8: activations uint8, weights int8 a channel, calibrated on training images.

Runtimes' own recipes for ranges (least and greatest value, percentiles, entropy) were tried
and lost: each range is searched for here, the one with the least square error. It took
ResNet-20's changed labels from 118 to 51 of the 10,000 test images, with these four:

* the weights' ranges are searched for too, channel by channel;
* a bias makes up for what rounding its kernel does to the mean of the output;
* activations are joined to what they follow, so that no range is wasted on negative values;
* the layers that take the pixels and give the classes stay in float32 where they are small.

A sum takes what the convolutions around it take, already in 256 steps, so that runtimes may
compute it in int8: the exact values would save 5 more labels and cost a third of the speed.
What writes the file is ``onnxruntime.quantization``; OpenVINO runs the same file.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from edgewise import dataset
from edgewise.errors import ConfigError
from edgewise.parts import say

if TYPE_CHECKING:
    import onnx

Values = NDArray[np.float32]
Range = tuple[float, float]

IMAGES: Final = 512
"""Training images for the ranges."""
SEED: Final = 6
"""Of which images, and which of their values."""
BATCH: Final = 64
SAMPLES: Final = 200_000
"""Values looked at for the range of one tensor."""
SHRUNK: Final = np.linspace(0.3, 1, 36)
"""Shares of the whole range that are tried."""
SMALL: Final = 0.05
"""Share of all weights up to which the first and the last layer stay in float32."""
WEIGHTED: Final = ("Conv", "Gemm", "MatMul")
JOINED: Final = ("Relu", "Clip", "MaxPool", "Flatten", "Reshape", "Transpose")
"""Operations that stay in int8 between two that are."""
PER_CHANNEL_OPSET: Final = 13
"""ONNX' first with a scale a channel."""
OPSET: Final = 17
"""What an older one becomes."""


def images(shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Give the training images for ranges, always the same ones.

    Raises:
        ConfigError: the model takes other images.
    """
    if shape != dataset.SHAPE:
        took, given = (" x ".join(map(str, one)) for one in (shape, dataset.SHAPE))
        raise ConfigError(f"int8 needs training images of {took}; there are only {dataset.NAME}'s, {given}")
    split = dataset.load("train", say=say)
    chosen = np.random.default_rng(SEED).choice(len(split.images), IMAGES, replace=False)
    return np.array(split.images[np.sort(chosen)])


def quantise(file: Path, laid: NDArray[np.uint8]) -> "onnx.ModelProto":
    """Turn an ONNX file into one in int8.

    Args:
        file: in float32.
        laid: images as it takes them.

    Raises:
        ConfigError: nothing in it can be in int8, or it is already.
    """
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QDQQuantizer, QuantType  # type: ignore[import-untyped]
    from onnxruntime.quantization.calibrate import TensorData, TensorsData  # type: ignore[import-untyped]

    model = _prepared(file)
    if any(node.op_type == "DequantizeLinear" for node in model.graph.node):
        raise ConfigError(f"{file} is quantised already; take it without int8")
    chosen = _chosen(model)
    if not chosen:
        raise ConfigError(f"{file}: int8 needs convolutions or dense layers with constant weights; there are none")
    ranges, means = _measured(model, laid, inputs={node.input[0] for node in chosen})
    for node in chosen:
        _round(model, node, mean=means[node.input[0]])
    found = {name: TensorData(lowest=np.float32(low), highest=np.float32(high)) for name, (low, high) in ranges.items()}
    quantizer = QDQQuantizer(
        model,
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=TensorsData(CalibrationMethod.MinMax, found),
        nodes_to_quantize=[node.name for node in chosen]
        + [node.name for node in model.graph.node if node.op_type in JOINED],
        nodes_to_exclude=[],
        op_types_to_quantize=[*WEIGHTED, *JOINED],
        extra_options={"WeightSymmetric": True},
    )
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    written: onnx.ModelProto = quantizer.model.model
    onnx.checker.check_model(written)
    return written


def _prepared(file: Path) -> "onnx.ModelProto":
    """Load a file with normalisation folded into the weights, every node named, and its tensors' types known."""
    import onnx
    import onnx.version_converter

    model = onnx.load_from_string(_optimised(file.read_bytes()))
    opset = next(one.version for one in model.opset_import if one.domain in {"", "ai.onnx"})
    if opset < PER_CHANNEL_OPSET:
        model = onnx.version_converter.convert_version(model, OPSET)
    for number, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}_{number}"
    return onnx.shape_inference.infer_shapes(model)


def _optimised(content: bytes) -> bytes:
    import tempfile

    import onnxruntime  # type: ignore[import-untyped]

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with tempfile.NamedTemporaryFile(suffix=".onnx") as out:
        options.optimized_model_filepath = out.name
        onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        return Path(out.name).read_bytes()


def _chosen(model: "onnx.ModelProto") -> "Sequence[onnx.NodeProto]":
    """Give the nodes whose weights become int8."""
    sizes = {one.name: int(np.prod(one.dims)) for one in model.graph.initializer}
    nodes = [node for node in model.graph.node if node.op_type in WEIGHTED and sizes.get(node.input[1], 0) > 1]
    small = SMALL * sum(sizes[node.input[1]] for node in nodes)
    return [node for node in nodes if node not in (nodes[0], nodes[-1]) or sizes[node.input[1]] > small]


def _measured(
    model: "onnx.ModelProto", laid: NDArray[np.uint8], *, inputs: set[str]
) -> tuple[Mapping[str, Range], Mapping[str, Values]]:
    """Give the range of every tensor that may become int8, and of ``inputs`` the mean of each channel."""
    import onnx
    import onnxruntime

    constants = {one.name for one in model.graph.initializer}
    kinds = {one.name: one.type.tensor_type.elem_type for one in model.graph.value_info}
    names = sorted(
        {
            name
            for node in model.graph.node
            if node.op_type in {*WEIGHTED, *JOINED}
            for name in (node.input[0], node.output[0])
            if name not in constants and kinds.get(name, onnx.TensorProto.FLOAT) == onnx.TensorProto.FLOAT
        }
        - {one.name for one in model.graph.input}
    )
    told = onnx.ModelProto()
    told.CopyFrom(model)
    given = {one.name for one in model.graph.output}
    told.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names if name not in given)
    session = onnxruntime.InferenceSession(told.SerializeToString(), providers=["CPUExecutionProvider"])
    random = np.random.default_rng(SEED)
    samples: dict[str, list[Values]] = {name: [] for name in names}
    means: dict[str, list[Values]] = {name: [] for name in inputs}
    for start in range(0, len(laid), BATCH):
        batch = laid[start : start + BATCH]
        found = session.run(names, {model.graph.input[0].name: batch})
        for name, values in zip(names, found, strict=True):
            most = SAMPLES * len(batch) // len(laid)
            flat = values.reshape(-1)
            samples[name].append(flat if flat.size <= most else flat[random.integers(0, flat.size, most)])
            samples[name].append(np.array([flat.min(), flat.max()]))
            if name in inputs:
                means[name].append(values.mean(axis=(0, 2, 3) if values.ndim == 4 else 0))  # noqa: PLR2004 - images
    return (
        {name: _best(np.concatenate(parts)) for name, parts in samples.items()},
        {name: np.mean(parts, axis=0) for name, parts in means.items()},
    )


def _best(values: Values) -> Range:
    """Give the range which, in 256 steps, loses least."""
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    if low == high:
        return 0.0, 1.0

    def lost(share: float) -> float:
        step = (high - low) * share / 255
        zero = np.round(-low * share / step)
        return float(np.mean(np.square((np.clip(np.round(values / step) + zero, 0, 255) - zero) * step - values)))

    share = min(SHRUNK, key=lost)
    return low * share, high * share


def _round(model: "onnx.ModelProto", node: "onnx.NodeProto", *, mean: Values) -> None:
    """Cut a node's weights to the best range of each output channel; let its bias make up for their rounding."""
    from onnx import numpy_helper

    stored = {one.name: one for one in model.graph.initializer}
    attributes = {one.name: one.i for one in node.attribute}
    given = numpy_helper.to_array(stored[node.input[1]])
    if given.ndim != (4 if node.op_type == "Conv" else 2):
        return
    outputs_last = node.op_type == "MatMul" or (node.op_type == "Gemm" and not attributes.get("transB"))
    kernel = given.T if outputs_last else given
    cut, rounded = _rounded(kernel.reshape(len(kernel), -1))
    lost = (kernel - rounded.reshape(kernel.shape)).reshape(*kernel.shape[:2], -1).sum(axis=2)
    turned = cut.reshape(kernel.shape)
    stored[node.input[1]].CopyFrom(
        numpy_helper.from_array(np.ascontiguousarray(turned.T if outputs_last else turned), node.input[1])
    )
    if len(node.input) > 2 and node.input[2] in stored:  # noqa: PLR2004 - image, kernel, bias
        groups = mean.reshape(attributes.get("group", 1), -1)
        bias = numpy_helper.to_array(stored[node.input[2]])
        if bias.shape == (len(lost),):
            taken = np.repeat(groups, len(lost) // len(groups), axis=0)
            better = (bias + (lost * taken).sum(axis=1)).astype(np.float32)
            stored[node.input[2]].CopyFrom(numpy_helper.from_array(better, node.input[2]))


def _rounded(rows: Values) -> tuple[Values, Values]:
    """Give rows cut to the ranges that lose least, and as int8 will have them."""
    whole = np.maximum(np.abs(rows).max(axis=1, keepdims=True), np.finfo(np.float32).tiny)
    least = np.full((len(rows), 1), np.inf)
    limits = whole
    for share in SHRUNK[SHRUNK >= 0.7]:  # noqa: PLR2004 - less never was best
        step = whole * share / 127
        error = np.square(np.clip(np.round(rows / step), -127, 127) * step - rows).sum(axis=1, keepdims=True)
        limits, least = np.where(error < least, whole * share, limits), np.minimum(error, least)
    step = limits / 127
    rounded = np.clip(np.round(rows / step), -127, 127) * step
    return np.clip(rows, -limits, limits).astype(np.float32), rounded.astype(np.float32)
