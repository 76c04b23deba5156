"""A network as the exporters see it: plain operations with float32 weights, and nothing of Keras.

What a file format or an engine would have to undo is undone here, once: batch normalisation
is folded into the weights before it, layers that only train are gone, an activation is an
operation of its own. Layouts are Keras' own: images height x width x channels, convolutions
height x width x in x out, dense kernels in x out. Other layouts are the exporters' business.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

PIXELS: Final = "pixels"
"""What the first operation takes: the scaled image."""

Weights = NDArray[np.float32]
Model = Any
"""Keras has no types."""


class Op(StrEnum):
    """All that an exporter must know."""

    CONV = "conv"
    RELU = "relu"
    ADD = "add"
    MAX_POOL = "max_pool"
    GLOBAL_AVERAGE_POOL = "global_average_pool"
    FLATTEN = "flatten"
    DENSE = "dense"
    SOFTMAX = "softmax"


class Padding(StrEnum):
    """What a window does at the edges."""

    SAME = "same"
    VALID = "valid"
    EXPLICIT = "explicit"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Node:
    """One operation."""

    name: str
    """The layer's; an activation taken out of a layer is called layer/activation."""
    op: Op
    inputs: tuple[str, ...]
    """Names of nodes, or PIXELS. An addition has the convolution that is computed last first."""
    shape: tuple[int, ...]
    """Of the output, without the batch: height, width, channels, or the number of values."""
    kernel: tuple[int, int] = (1, 1)
    """Height and width of a convolution's or a pool's window."""
    strides: tuple[int, int] = (1, 1)
    """The window's steps, down and to the right."""
    padding: Padding = Padding.VALID
    margins: tuple[int, int, int, int] = (0, 0, 0, 0)
    """With explicit padding the rows and columns of zeros that are added: top, left, bottom, right."""
    weights: Mapping[str, Weights] = field(default_factory=dict)
    """A convolution's and a dense node's ``kernel`` and ``bias``; both are always there."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Graph:
    """A network for images of uint8, ending in probabilities."""

    shape: tuple[int, int, int]
    """Height, width, channels of the images."""
    classes: int
    scale: Weights
    """The first node takes pixel * scale + offset. Of each channel, or height x width x channels."""
    offset: Weights
    """As the scale, of which it need not have the shape."""
    nodes: tuple[Node, ...]
    """Each after its inputs; of an addition's branches the first operand's comes last."""
    output: str
    """Name of the node that gives the probabilities: a softmax."""

    def shape_of(self, name: str) -> tuple[int, ...]:
        """Give the shape of a node's output, or of PIXELS."""
        return self.shape if name == PIXELS else next(node.shape for node in self.nodes if node.name == name)

    def pads(self, node: Node) -> tuple[int, int, int, int]:
        """Give the rows and columns that a window's node adds: top, left, bottom, right.

        ``same`` adds as few as the output's size needs, an odd one below or to the right.
        """
        if node.padding is not Padding.SAME:
            return node.margins
        before = self.shape_of(node.inputs[0])
        needed = [
            max(0, (after - 1) * stride + size - given)
            for after, stride, size, given in zip(node.shape, node.strides, node.kernel, before, strict=False)
        ]
        top, left = (total // 2 for total in needed)
        return (top, left, needed[0] - top, needed[1] - left)
