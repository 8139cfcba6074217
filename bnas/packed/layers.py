"""What a packed network consists of: plain data, no modules. `fold` makes it, `plan` runs it.

An edge of a cell, and the way from a cell's input to its first states, is a tuple of branches whose outputs are
joined along the channels (two in a factorized reduction, otherwise one); a branch is a tuple of layers.
"""

from typing import NamedTuple

import numpy as np

from bnas.kernels.windows import Window


class Threshold(NamedTuple):
    """Batch norm and sign folded: the output bit is (dot >= least), inverted where not `rising`.

    least int32 (C,), rising bool (C,); the dot product is an integer.
    """

    least: np.ndarray
    rising: np.ndarray


class Rescale(NamedTuple):
    """The way back to real numbers: y = (β dot) scale + shift, float32 (C,) each."""

    beta: np.ndarray
    scale: np.ndarray
    shift: np.ndarray


class BitConv(NamedTuple):
    """A 1-bit convolution of bits: weights w bool (Cout, Cin / groups, Kh, Kw), True for +1."""

    name: str
    w: np.ndarray
    window: Window
    groups: int
    finish: Threshold | Rescale


class RealConv(NamedTuple):
    """(ReLU,) convolution, batch norm as scale and shift: w float32 (Cout, Cin, Kh, Kw)."""

    w: np.ndarray
    window: Window
    groups: int
    relu: bool
    scale: np.ndarray
    shift: np.ndarray


class PackedPool(NamedTuple):
    """3×3 pooling with padding 1, "max" or "avg" (over pixels inside), then scale and shift."""

    kind: str
    stride: int
    scale: np.ndarray
    shift: np.ndarray


class PackedSkip(NamedTuple):
    """The input itself."""


class PackedZero(NamedTuple):
    """Nothing: zeros of the size that `stride` leaves."""

    stride: int


class PackedCell(NamedTuple):
    """A cell: two inputs, and nodes that each add two edges.

    Attributes:
        inputs: the branches that bring the outputs of the last cell but one, and of the last, to shape.
        edges: the branches of each edge, two edges to a node.
        predecessors: the state that each edge starts from; 0 and 1 are the inputs.
        concat: the states that make up the output.
    """

    inputs: tuple
    edges: tuple
    predecessors: tuple
    concat: tuple


class Model(NamedTuple):
    """A whole network: stem, cells, mean over pixels, linear classifier w (classes, C), bias (classes,)."""

    stem: tuple
    cells: tuple
    w: np.ndarray
    bias: np.ndarray


_RECORDS = (
    Model,
    PackedCell,
    BitConv,
    RealConv,
    PackedPool,
    PackedSkip,
    PackedZero,
    Threshold,
    Rescale,
    Window,
)
KINDS = {kind.__name__: kind for kind in _RECORDS}


def parts(value):
    """All records and arrays of a tree of records, from the top down."""
    if isinstance(value, np.ndarray) or type(value).__name__ in KINDS:
        yield value
    if isinstance(value, tuple):
        for part in value:
            yield from parts(part)
