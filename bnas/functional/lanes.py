"""Images into lanes and out of them again, and their pooling.

`bnas.kernels.lanes` says what the layout is; `chains` and `mixed` compute in it.
"""

import numpy as np

from bnas import kernels
from bnas.autodiff import Function
from bnas.functional._arguments import as_images, as_tensor
from bnas.functional.shape import spread_apart


class ToLanes(Function):
    """(N, C, H, W) -> (blocks, C, H, W, L). Backward: the way back. gradient: exact."""

    @staticmethod
    def forward(ctx, x):
        ctx.batch = len(x)
        return kernels.to_lanes(x)

    @staticmethod
    def backward(ctx, dy):
        return (kernels.from_lanes(dy, ctx.batch),)


class MeanOfLanes(Function):
    """Global average pooling, out of lanes: (blocks, C, H, W, L) -> (N, C).

    Backward: dy / (H W) to each pixel. gradient: exact.
    """

    @staticmethod
    def forward(ctx, x, batch):
        ctx.shape, ctx.batch = x.shape, batch
        return kernels.from_lanes(x.mean(axis=(2, 3)), batch)

    @staticmethod
    def backward(ctx, dy):
        blocks, channels, height, width, lanes = ctx.shape
        planes = kernels.to_lanes(dy)[:, :, None, None] / dy.dtype.type(height * width)
        return (np.broadcast_to(planes, ctx.shape),)


class PoolLanes(Function):
    """3×3 max or average pooling with padding 1 of images in lanes, see MaxPool2d and AvgPool2d.

    Backward: dy to the first maximum, which is looked for again, or over the count to each pixel.
    Kinks: ties. gradient: exact.
    """

    @staticmethod
    def forward(ctx, x, largest, stride):
        ctx.x, ctx.window = x, (largest, 3, stride, 1)
        ctx.y = kernels.pool_lanes(x, *ctx.window)
        return ctx.y

    @staticmethod
    def backward(ctx, dy):
        return (kernels.pool_lanes_dx(dy, ctx.y, ctx.x, *ctx.window),)

    @staticmethod
    def off_kinks(x, **params):
        return (spread_apart(x),)


def to_lanes(x):
    """Images (N, C, H, W) as a Tensor in lanes (blocks, C, H, W, L), see `bnas.kernels.lanes`."""
    return ToLanes.apply(as_images(x, "to_lanes"))


def mean_of_lanes(x, batch):
    """Global average pooling out of lanes: (blocks, C, H, W, L) -> (batch, C)."""
    return MeanOfLanes.apply(as_tensor(x, "mean_of_lanes"), batch=batch)


def pool_lanes(x, largest, stride):
    """3×3 max pooling of a Tensor in lanes, or average pooling if not `largest`, with padding 1."""
    return PoolLanes.apply(as_tensor(x, "pool_lanes"), largest=largest, stride=stride)
