"""Pooling over windows."""

from bnas.autodiff import Function
from bnas.backend import kernels
from bnas.functional.arguments import as_images, fitting_window, pair
from bnas.functional.reductions import mean
from bnas.functional.shape import spread_apart, stack
from bnas.gradcheck import Case
from bnas.kernels.windows import Window


class MaxPool2d(Function):
    """y = the largest entry of each window; padding never wins. Backward: dy to that entry.

    Shapes: x (N, C, H, W) -> (N, C, Ho, Wo). Kinks: ties, where the first in row order counts.
    gradient: exact.
    """

    @staticmethod
    def forward(ctx, x, window):
        y, ctx.index = kernels().max_pool2d(x, *window[:4])
        ctx.shape = x.shape
        return y

    @staticmethod
    def backward(ctx, dy):
        return (kernels().max_pool2d_dx(dy, ctx.index, ctx.shape),)

    @staticmethod
    def off_kinks(x, **params):
        return (spread_apart(x),)


class AvgPool2d(Function):
    """y = the mean of each window, over K² entries or over those inside the image.

    Backward: dy over that count to each entry. Shapes: x (N, C, H, W) -> (N, C, Ho, Wo).
    gradient: exact.
    """

    @staticmethod
    def forward(ctx, x, window, count_include_pad):
        ctx.shape = x.shape
        ctx.settings = window.kernel, window.stride, window.padding, count_include_pad
        return kernels().avg_pool2d(x, *ctx.settings)

    @staticmethod
    def backward(ctx, dy):
        return (kernels().avg_pool2d_dx(dy, ctx.shape, *ctx.settings),)


def pool_window(x, kernel_size, stride, padding, dilation, operation):
    """The Window of a pooling of images, a Tensor or array (N, C, H, W), its arguments checked."""
    if 0 in x.shape[2:]:
        raise ValueError(f"{operation}: expected images with pixels, got shape {x.shape}")
    kernel = pair(kernel_size, "kernel_size", operation, 1)
    padding = pair(padding, "padding", operation, 0)
    if any(2 * p > k for p, k in zip(padding, kernel)):
        raise ValueError(
            f"{operation}: padding {padding} must be at most half of the kernel {kernel}, or a window "
            "could hold nothing but padding"
        )
    stride = kernel if stride is None else stride
    return fitting_window(x, kernel, stride, padding, dilation, operation)


def max_pool2d(x, kernel_size, stride=None, padding=0, dilation=1):
    """Largest entry of each window. Shapes: (N, C, H, W) -> (N, C, Ho, Wo). stride None: kernel_size."""
    x = as_images(x, "max_pool2d")
    window = pool_window(x, kernel_size, stride, padding, dilation, "max_pool2d")
    return MaxPool2d.apply(x, window=window)


def avg_pool2d(x, kernel_size, stride=None, padding=0, *, count_include_pad=True):
    """Mean of each window; with count_include_pad=False, of its entries inside the image alone.

    Shapes: (N, C, H, W) -> (N, C, Ho, Wo). stride None: kernel_size.
    """
    x = as_images(x, "avg_pool2d")
    window = pool_window(x, kernel_size, stride, padding, 1, "avg_pool2d")
    return AvgPool2d.apply(x, window=window, count_include_pad=bool(count_include_pad))


def adaptive_avg_pool2d(x, output_size):
    """Mean over windows that divide the image evenly, however large it is, as in torch.nn.functional.

    Row i of the output is the mean of the rows from ⌊i H / Ho⌋ to ⌈(i + 1) H / Ho⌉, columns alike.
    Shapes: (N, C, H, W) -> (N, C, Ho, Wo), output_size an int or a pair (Ho, Wo).
    """
    x = as_images(x, "adaptive_avg_pool2d")
    output_size = pair(output_size, "output_size", "adaptive_avg_pool2d", 1)
    if 0 in x.shape[2:]:
        raise ValueError(f"adaptive_avg_pool2d: no pixels to average in images of {x.shape}")
    if output_size == (1, 1):
        return mean(x, axis=(2, 3), keepdims=True)
    if not any(length % parts for length, parts in zip(x.shape[2:], output_size)):
        return avg_pool2d(x, [length // parts for length, parts in zip(x.shape[2:], output_size)])
    for axis, parts in zip((2, 3), output_size):
        length = x.shape[axis]
        cuts = [(i * length // parts, -(-(i + 1) * length // parts)) for i in range(parts)]
        before = (slice(None),) * axis
        x = stack([mean(x[(*before, slice(*cut))], axis=axis) for cut in cuts], axis=axis)
    return x


def global_avg_pool2d(x):
    """Mean of each channel. Shapes: (N, C, H, W) -> (N, C)."""
    return mean(as_images(x, "global_avg_pool2d"), axis=(2, 3))


def gradient_cases(draw):
    """{name: [Case, ...]} of the operations of this file, see `bnas.gradcheck`."""
    x, transposed, one = draw.normal, draw.transposed, (1, 1)

    def largest(kernel, stride, padding, dilation=one):
        return {"window": Window(kernel, stride, padding, dilation)}

    def average(kernel, stride, padding, counted):
        return {"window": Window(kernel, stride, padding), "count_include_pad": counted}

    return {
        "MaxPool2d": [
            Case("3×3, padded", (x(2, 2, 5, 5),), largest((3, 3), one, one)),
            Case("stride 2, odd", (x(1, 3, 7, 5),), largest((3, 3), (2, 2), one)),
            Case("dilation 2", (x(1, 1, 6, 6),), largest((2, 2), one, (0, 0), (2, 2))),
            Case("1×1 image", (x(2, 3, 1, 1),), largest((3, 3), one, one)),
            Case("70 channels", (x(1, 70, 3, 3),), largest((3, 3), one, one)),
            Case("non-contiguous", (transposed(2, 2, 5, 4),), largest((2, 3), (2, 1), (1, 0))),
        ],
        "AvgPool2d": [
            Case("3×3, padding counted", (x(2, 2, 5, 5),), average((3, 3), one, one, True)),
            Case("padding not counted", (x(2, 2, 5, 5),), average((3, 3), one, one, False)),
            Case("stride 2, odd", (x(1, 3, 7, 5),), average((3, 3), (2, 2), one, False)),
            Case("1×1 image", (x(2, 3, 1, 1),), average((3, 3), one, one, False)),
            Case("70 channels", (x(1, 70, 3, 3),), average((3, 3), one, one, True)),
            Case(
                "non-contiguous", (transposed(2, 2, 5, 4),), average((2, 3), (2, 1), (1, 0), True)
            ),
        ],
    }
