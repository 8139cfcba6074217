"""The kernels of fused training: arrays in lanes in, arrays in lanes out, no Tensor.

Every name here has a twin in `bnas.fused.reference` with the same signature in plain NumPy: read that one first,
it says what is computed. `bnas.fused.kernels.lanes` tells the layout.
"""

from bnas.fused.kernels.lanes import (
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
from bnas.fused.kernels.pooling import pool_lanes, pool_lanes_dx
from bnas.fused.kernels.separable import (
    binary_unit,
    real_unit,
    separable,
    separable_gradients,
)

__all__ = [
    "batch_statistics",
    "binary_unit",
    "from_lanes",
    "lane_sums",
    "moments",
    "norm_gradient",
    "norm_slopes",
    "pool_lanes",
    "pool_lanes_dx",
    "real_unit",
    "scale_lanes",
    "separable",
    "separable_gradients",
    "to_lanes",
    "weighted_sum",
]
