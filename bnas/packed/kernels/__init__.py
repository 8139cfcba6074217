"""The kernels of packed networks, as `bnas.packed.plan` calls them.

`floats` computes with real numbers, `bits` holds the 1-bit layers, `program` runs all calls of a plan as one.
They have no twins in NumPy: the tests compare a packed network with the network that it comes from, bit by bit.
"""

from bnas.packed.kernels.bits import (
    COUNTERS,
    conv_to_bits,
    conv_to_floats,
    depthwise_to_bits,
    pack_panels,
)
from bnas.packed.kernels.floats import (
    affine,
    classify,
    mean_pool,
    pick_conv,
    pointwise,
    pool,
    scale_panels,
    spread_panels,
    whole_conv,
    window_conv,
)
from bnas.packed.kernels.program import instruction, run

__all__ = [
    "COUNTERS",
    "affine",
    "classify",
    "conv_to_bits",
    "conv_to_floats",
    "depthwise_to_bits",
    "instruction",
    "mean_pool",
    "pack_panels",
    "pick_conv",
    "pointwise",
    "pool",
    "run",
    "scale_panels",
    "spread_panels",
    "whole_conv",
    "window_conv",
]
