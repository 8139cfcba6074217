"""The array floor: Numba kernels, arrays in and arrays out, no Tensor.

Every name here has a twin in `bnas.reference` with the same signature in plain NumPy: read that
one first, it says what is computed; the kernels say how to do it fast. Arrays are NCHW, or in lanes
where the name or `bnas.kernels.lanes` says so, float32 or float64; spatial arguments are pairs (height, width). The convolutions check
that shapes fit; everything else is validated one floor up.
"""

from bnas.kernels.conv import conv2d
from bnas.kernels.depthwise import (
    depthwise_conv2d,
    depthwise_conv2d_dw,
    depthwise_conv2d_dx,
)
from bnas.kernels.lane_pooling import pool_lanes, pool_lanes_dx
from bnas.kernels.lanes import (
    batch_statistics,
    from_lanes,
    lane_sums,
    moments,
    norm_gradient,
    norm_slopes,
    scale_lanes,
    to_lanes,
    weighted_sum,
)
from bnas.kernels.norm import batch_norm, batch_norm_dx
from bnas.kernels.packing import pack_bits, unpack_bits
from bnas.kernels.pooling import avg_pool2d, avg_pool2d_dx, max_pool2d, max_pool2d_dx
from bnas.kernels.separable import (
    binary_unit,
    real_unit,
    separable,
    separable_gradients,
)
from bnas.kernels.xnor import xnor_conv2d, xnor_matmul
from bnas.reference import lanes_of, output_size

__all__ = [
    "avg_pool2d",
    "avg_pool2d_dx",
    "batch_norm",
    "batch_norm_dx",
    "batch_statistics",
    "binary_unit",
    "conv2d",
    "depthwise_conv2d",
    "depthwise_conv2d_dw",
    "depthwise_conv2d_dx",
    "from_lanes",
    "lane_sums",
    "lanes_of",
    "max_pool2d",
    "max_pool2d_dx",
    "moments",
    "norm_gradient",
    "norm_slopes",
    "output_size",
    "pack_bits",
    "pool_lanes",
    "pool_lanes_dx",
    "real_unit",
    "scale_lanes",
    "separable",
    "separable_gradients",
    "to_lanes",
    "unpack_bits",
    "weighted_sum",
    "xnor_conv2d",
    "xnor_matmul",
]
