"""Our networks for BigDL: a file that the cluster's JVM builds BigDL's own layers from.

BigDL's readers of other formats mostly fail on files of today, and its own format needs a
JVM to write it. So the file is a neutral one: the length of a header (8 bytes, little-endian),
the header in JSON (the network's operations in order, and where each one's weights stand),
then all weights as little-endian float32, already in BigDL's layouts. Its reader is
``consumers/cluster/jvm/BigDl.scala``.
"""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

import numpy as np

from edgewise.errors import ConfigError
from edgewise.places import cache, once
from models import card, walk
from models.graph import PIXELS, Graph, Node, Op, Padding, Weights

FORMAT: Final = 3
"""Goes up when the file's content changes for the same model."""
SAME: Final = -1
"""BigDL's number for padding as Keras and TensorFlow do it."""


def file(model: Path) -> Path:
    """Give the BigDL file of a model that has a card, writing it first if it is not there.

    Raises:
        ConfigError: there is no such model, or it has an operation that BigDL does not do alike.
    """
    place = cache() / "models" / f"{card.known(model).file_key}.bigdl{FORMAT}"
    return once(place, lambda: write(walk.read(model), place), lock="models-bigdl")


@dataclass(frozen=True, slots=True)
class Input:
    """What a network takes."""

    height: int
    width: int
    classes: int
    scale: Sequence[float]
    """The first operation takes pixels * scale + offset: of each channel, or of each channel of each pixel."""
    offset: Sequence[float]


def input_of(place: Path) -> Input:
    """Read from a file what its network takes."""
    with place.open("rb") as stored:
        header = json.loads(stored.read(int.from_bytes(stored.read(8), "little")))
    return Input(header["height"], header["width"], header["classes"], header["scale"], header["offset"])


def write(network: Graph, place: Path) -> None:
    """Write a network's file, whole or not at all."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=place.parent, prefix=f".{place.name}.", delete=False) as out:
        partial = Path(out.name)
        try:
            out.write(encode(network))
            out.flush()
            partial.replace(place)
        finally:
            partial.unlink(missing_ok=True)


def encode(network: Graph) -> bytes:
    """Give the file's bytes."""
    nodes: list[dict[str, Any]] = []
    blob: list[bytes] = []
    start = 0
    sources = _without_flatten(network)
    for node in network.nodes:
        if node.op is Op.FLATTEN:
            continue
        _refuse_what_differs(network, node)
        places = {}
        for name, values in _weights(network, node).items():
            places[name] = {"shape": values.shape, "start": start}
            blob.append(np.ascontiguousarray(values, dtype="<f4").tobytes())
            start += values.size
        nodes.append(
            {
                "name": node.name,
                "op": node.op,
                "inputs": [sources[name] for name in node.inputs],
                "kernel": node.kernel,
                "strides": node.strides,
                "pads": _pads(node),
                "weights": places,
            }
        )
    height, width, channels = network.shape
    scale, offset = np.broadcast_arrays(network.scale, network.offset)
    header = {
        "height": height,
        "width": width,
        "channels": channels,
        "classes": network.classes,
        "scale": scale.ravel().tolist(),
        "offset": offset.ravel().tolist(),
        "output": network.output,
        "nodes": nodes,
    }
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + b"".join(blob)


def _without_flatten(network: Graph) -> dict[str, str]:
    """Say which node stands for each: BigDL's dense layer takes images as they are."""
    sources = {PIXELS: PIXELS}
    for node in network.nodes:
        sources[node.name] = sources[node.inputs[0]] if node.op is Op.FLATTEN else node.name
    return sources


def _pads(node: Node) -> tuple[int, int]:
    """Give the rows above and below and the columns on both sides, as BigDL takes them: -1 is ``same``."""
    if node.padding is Padding.SAME:
        return (SAME, SAME)
    top, left, bottom, right = node.margins
    if (top, left) != (bottom, right):
        _refuse(
            node, f"has {top} rows of zeros above and {bottom} below, {left} columns left and {right} right: not alike"
        )
    return (top, left)


def _weights(network: Graph, node: Node) -> dict[str, Weights]:
    if node.op is Op.CONV:
        return {"kernel": node.weights["kernel"].transpose(3, 2, 0, 1), "bias": node.weights["bias"]}
    if node.op is Op.DENSE:
        kernel = node.weights["kernel"]
        flattened = _flattened(network, node.inputs[0])
        if flattened is not None:  # Keras flattens channels last, BigDL first
            kernel = kernel.reshape(*flattened, -1).transpose(2, 0, 1, 3).reshape(kernel.shape)
        return {"kernel": kernel.T, "bias": node.weights["bias"]}
    return {}


def _flattened(network: Graph, name: str) -> Sequence[int] | None:
    """Give the shape of the image that this node flattens, None if it does not flatten."""
    found = next((node for node in network.nodes if node.name == name), None)
    return network.shape_of(found.inputs[0]) if found is not None and found.op is Op.FLATTEN else None


def _refuse_what_differs(network: Graph, node: Node) -> None:
    """Raise ConfigError for what BigDL's layers on MKL-DNN would get wrong."""
    if node.strides[0] != node.strides[1]:
        _refuse(node, f"has strides of {node.strides[0]} and {node.strides[1]}, of which BigDL takes one for the other")
    if node.op is Op.RELU and len(_takers(network, node.inputs[0])) > 1:
        _refuse(node, "is not alone in what it takes: BigDL computes it in place")
    if node.op is not Op.ADD:
        return
    # The sum is added up in the second operand's place, by the convolution that is the first.
    convolutions = {one.name for one in network.nodes if one.op is Op.CONV}
    if len(node.inputs) != 2 or node.inputs[0] not in convolutions or len(_takers(network, node.inputs[0])) > 1:  # noqa: PLR2004 - a pair
        _refuse(node, "adds something else than a convolution's own result and one other")
    if not _takers(network, node.inputs[1]) <= _ancestors(network, node.name) | {node.name}:
        _refuse(node, "is not the last to take its other operand: BigDL adds in place")


def _takers(network: Graph, name: str) -> set[str]:
    """Say which nodes take another's result."""
    return {node.name for node in network.nodes if name in node.inputs}


def _ancestors(network: Graph, name: str) -> set[str]:
    """Say which nodes must be computed before this one."""
    inputs = {node.name: node.inputs for node in network.nodes}
    found, waiting = set[str](), list(inputs[name])
    while waiting:
        one = waiting.pop()
        if one in inputs and one not in found:
            found.add(one)
            waiting.extend(inputs[one])
    return found


def _refuse(node: Node, why: str) -> NoReturn:
    raise ConfigError(f"{node.name!r} {why}; --engine keras runs every model")
