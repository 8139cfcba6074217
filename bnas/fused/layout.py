"""Images into lanes and out of them again, and their pooling, as operations with a backward.

`bnas.fused.kernels.lanes` says what the layout is; `chains` and `edges` compute in it.
"""

import numpy as np

from bnas.autodiff import Function
from bnas.functional.pooling import pool_window
from bnas.functional.shape import spread_apart
from bnas.fused import kernels


class ToLanes(Function):
    """Images into lanes: (N, C, H, W) -> (blocks, C, H, W, L).

    Backward: the way back. gradient: exact.
    """

    @staticmethod
    def forward(ctx, x):
        ctx.batch = len(x)
        return kernels.to_lanes(x)

    @staticmethod
    def backward(ctx, dy):
        return (kernels.from_lanes(dy, ctx.batch),)


class FromLanes(Function):
    """Images out of lanes: (blocks, C, H, W, L) -> (N, C, H, W), N the batch.

    Backward: into lanes again. gradient: exact.
    """

    @staticmethod
    def forward(ctx, x, batch):
        return kernels.from_lanes(x, batch)

    @staticmethod
    def backward(ctx, dy):
        return (kernels.to_lanes(dy),)


class MeanOfLanes(Function):
    """Global average pooling, out of lanes: (blocks, C, H, W, L) -> (N, C).

    Backward: dy / (H W) to each pixel. gradient: exact.
    """

    @staticmethod
    def forward(ctx, x, batch):
        ctx.shape, ctx.batch = x.shape, batch
        mean = x.mean(axis=(2, 3), dtype=np.float64).astype(x.dtype, copy=False)
        return kernels.from_lanes(mean, batch)

    @staticmethod
    def backward(ctx, dy):
        blocks, channels, height, width, lanes = ctx.shape
        planes = kernels.to_lanes(dy)[:, :, None, None] / dy.dtype.type(height * width)
        return (np.broadcast_to(planes, ctx.shape),)


class PoolLanes(Function):
    """Max or average pooling of images in lanes, see MaxPool2d and AvgPool2d.

    The average is over the pixels inside the image. Backward: dy to the first maximum, which is looked
    for again, or over the count to each pixel. Shapes: (blocks, C, H, W, L) -> (blocks, C, Ho, Wo, L).
    Kinks: ties. gradient: exact.
    """

    makes = (0,)

    @staticmethod
    def forward(ctx, x, largest, kernel, stride, padding):
        ctx.x, ctx.settings = x, (largest, kernel, stride, padding)
        ctx.y = kernels.pool_lanes(x, *ctx.settings)
        return ctx.y

    @staticmethod
    def backward(ctx, dy):
        return (kernels.pool_lanes_dx(dy, ctx.y, ctx.x, *ctx.settings),)

    @staticmethod
    def off_kinks(x, **params):
        return (spread_apart(x),)


def to_lanes(x):
    """A Tensor of images (N, C, H, W) in lanes (blocks, C, H, W, L)."""
    return ToLanes.apply(x)


def from_lanes(x, batch):
    """The first `batch` images of a Tensor in lanes, (batch, C, H, W)."""
    return FromLanes.apply(x, batch=batch)


def mean_of_lanes(x, batch):
    """Global average pooling out of lanes: (blocks, C, H, W, L) -> (batch, C)."""
    return MeanOfLanes.apply(x, batch=batch)


def pool_lanes(x, largest, kernel, stride, padding):
    """Max pooling of a Tensor in lanes, or average pooling if not `largest`; square windows.

    Raises ValueError as F.max_pool2d and F.avg_pool2d do.
    """
    images = x.data[..., 0]  # as many of them as there are blocks
    window = pool_window(images, kernel, stride, padding, 1, "pool_lanes")
    settings = {"kernel": kernel, "stride": max(window.stride), "padding": padding}
    return PoolLanes.apply(x, largest=largest, **settings)
