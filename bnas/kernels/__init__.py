"""The array floor: Numba kernels, arrays in and arrays out, no Tensor.

Every name here has a twin in `bnas.reference` with the same signature in plain NumPy: read that
one first, it says what is computed; the kernels say how to do it fast. Arrays are NCHW, float32 or
float64; spatial arguments are pairs (height, width). The convolutions check that shapes fit;
everything else is validated by the operations that call them.

Kernels for one purpose alone live with it: `bnas.fused.kernels` and `bnas.packed.kernels`.
"""

from bnas.kernels.conv import conv2d
from bnas.kernels.depthwise import (
    depthwise_conv2d,
    depthwise_conv2d_dw,
    depthwise_conv2d_dx,
)
from bnas.kernels.norm import batch_norm, batch_norm_dx
from bnas.kernels.packing import pack_bits, unpack_bits
from bnas.kernels.pooling import avg_pool2d, avg_pool2d_dx, max_pool2d, max_pool2d_dx
from bnas.kernels.xnor import pack_weights, packed_xnor_conv2d, xnor_conv2d, xnor_matmul

__all__ = [
    "avg_pool2d",
    "avg_pool2d_dx",
    "batch_norm",
    "batch_norm_dx",
    "conv2d",
    "depthwise_conv2d",
    "depthwise_conv2d_dw",
    "depthwise_conv2d_dx",
    "max_pool2d",
    "max_pool2d_dx",
    "pack_bits",
    "pack_weights",
    "packed_xnor_conv2d",
    "unpack_bits",
    "xnor_conv2d",
    "xnor_matmul",
]
