"""The records that a packed network consists of: plain data, no modules. `fold` makes them, `plan` runs them.

An edge of a cell is a tuple of branches, whose outputs are concatenated along the channels: two in a
factorised reduction, otherwise one. A branch is a tuple of layers, one after another. What brings the inputs
of a cell to its number of channels has the same form.
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
    """From integers to real numbers: β and batch norm, y = (β dot) scale + shift, float32 (C,) each."""

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
    """An absent edge: zeros, of the size that a layer with this stride puts out."""

    stride: int


class PackedCell(NamedTuple):
    """A cell: two inputs, and nodes that are each the sum of two edges.

    Attributes:
        inputs: the branches applied to the output of the cell before the last one, and of the last one.
        edges: the branches of each edge, two edges to a node.
        predecessors: the state that each edge starts from; 0 and 1 are the inputs.
        concat: the states that make up the output.
    """

    inputs: tuple
    edges: tuple
    predecessors: tuple
    concat: tuple


class PackedWindowPool(NamedTuple):
    """Pooling over any window, then scale and shift.

    Attributes:
        kind: "max"; "avg", summed in float32; or "mean", an average that is summed in float64.
        window: a Window.
        counted: whether an average counts the zeros of the padding.
    """

    kind: str
    window: Window
    counted: bool
    scale: np.ndarray
    shift: np.ndarray


class PackedAffine(NamedTuple):
    """y = scale x + shift, and where that is negative, slope y: float32 (C,) each.

    A batch norm on its own has a slope of 1, a ReLU one of 0, a PReLU one that it learned.
    """

    scale: np.ndarray
    shift: np.ndarray
    slope: np.ndarray


class PackedSum(NamedTuple):
    """The sum of two results."""


class PackedConcat(NamedTuple):
    """Results one after another along the channels."""


class PackedStep(NamedTuple):
    """A layer, and the results that it reads: 0 for the images, i for what the i-th step makes."""

    sources: tuple
    layer: NamedTuple


class PackedSteps(NamedTuple):
    """A network that was written layer by layer: steps, then mean over pixels and classifier as in a Model."""

    steps: tuple
    w: np.ndarray
    bias: np.ndarray


class Model(NamedTuple):
    """The network of a genotype: stem, cells, mean over pixels, classifier w (classes, C), bias (classes,)."""

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
    PackedSteps,
    PackedStep,
    PackedWindowPool,
    PackedAffine,
    PackedSum,
    PackedConcat,
)
KINDS = {kind.__name__: kind for kind in _RECORDS}


def parts(value):
    """All records and arrays in a tree of records, parents before children."""
    if isinstance(value, np.ndarray) or type(value).__name__ in KINDS:
        yield value
    if isinstance(value, tuple):
        for part in value:
            yield from parts(part)
