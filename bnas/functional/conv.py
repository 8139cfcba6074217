"""Two-dimensional convolution: forward and depthwise through our kernels, other gradients through BLAS.

The array functions `correlate`, `correlate_dx` and `correlate_dw` are a convolution and its two gradients;
`F.conv2d` and the backward of the 1-bit `F.xnor_conv2d` both stand on them.
"""

import numpy as np

from bnas.autodiff import Function
from bnas.backend import kernels
from bnas.functional.arguments import as_images, as_tensor, fitting_window
from bnas.gradcheck import Case
from bnas.kernels.sums import accurate_sum
from bnas.kernels.windows import POINT, Window


class Conv2d(Function):
    """y[n,o] = Σ_c w[o,c] ⊗ x[n,c] + bias[o], the c of o's group (Eq. 4.19).

    Backward: dx = dy ⊗ᵀ w, dw = dy ⊗ x summed over n, dbias = Σ dy.
    Shapes: x (N, Cin, H, W), w (Cout, Cin/groups, Kh, Kw), bias (Cout,), y (N, Cout, Ho, Wo).
    gradient: exact.
    """

    @staticmethod
    def forward(ctx, x, w, bias, window, groups):
        ctx.x, ctx.w, ctx.window, ctx.groups = x, w, window, groups
        y = correlate(x, w, window, groups)
        return y if bias is None else y + bias[:, None, None]

    @staticmethod
    def backward(ctx, dy):
        need_x, need_w, need_bias = ctx.needs
        window, groups = ctx.window, ctx.groups
        dx = correlate_dx(dy, ctx.w, ctx.x.shape, window, groups) if need_x else None
        dw = correlate_dw(dy, ctx.x, ctx.w.shape, window, groups) if need_w else None
        return dx, dw, accurate_sum(dy, (0, 2, 3)) if need_bias else None


def correlate(x, w, window, groups):
    """The convolution itself, as deep learning defines it: the kernel is not flipped."""
    if is_depthwise(w.shape, groups):
        return kernels().depthwise_conv2d(x, w, window.stride, window.padding, window.dilation)
    return kernels().conv2d(x, w, None, window.stride, window.padding, window.dilation, groups)


def correlate_dx(dy, w, x_shape, window, groups):
    """Gradient for x: every output gives its share back to the taps that it read."""
    if is_depthwise(w.shape, groups):
        return kernels().depthwise_conv2d_dx(
            dy, w, x_shape, window.stride, window.padding, window.dilation
        )
    per_group = w.reshape(groups, w.shape[0] // groups, -1)
    columns = per_group.swapaxes(-1, -2) @ _outputs_by_group(dy, groups)
    return col2im(columns, x_shape, dy.shape[2:], window)


def correlate_dw(dy, x, w_shape, window, groups):
    """Gradient for w: every tap gathers output gradient times the input that it saw."""
    if is_depthwise(w_shape, groups):
        return kernels().depthwise_conv2d_dw(
            dy, x, w_shape, window.stride, window.padding, window.dilation
        )
    columns = im2col(x, dy.shape[2:], window, groups)
    per_image = _outputs_by_group(dy, groups) @ columns.swapaxes(-1, -2)
    return accurate_sum(per_image, 0).reshape(w_shape)


def is_depthwise(w_shape, groups):
    """Whether every group holds a single input channel."""
    return w_shape[1] == 1 and groups > 1


def im2col(x, size, window, groups):
    """The patches that the kernel sees, as columns (N, groups, Cin/groups·Kh·Kw, Ho·Wo).

    size: (Ho, Wo). For a 1×1 kernel that is the image itself: nothing is copied.
    """
    batch, channels, height, width = x.shape
    if window == POINT:
        return x.reshape(batch, groups, channels // groups, height * width)
    (top, left) = window.padding
    padded = np.zeros((batch, channels, height + 2 * top, width + 2 * left), x.dtype)
    padded[:, :, top : top + height, left : left + width] = x
    columns = np.empty((batch, channels, *window.kernel, *size), x.dtype)
    for row, column, rows, cols in _taps(size, window):
        columns[:, :, row, column] = padded[:, :, rows, cols]
    patch = channels // groups * window.kernel[0] * window.kernel[1]
    return columns.reshape(batch, groups, patch, size[0] * size[1])


def col2im(columns, x_shape, size, window):
    """The adjoint of `im2col`: every column entry is added back to the pixel it came from."""
    batch, channels, height, width = x_shape
    if window == POINT:
        return columns.reshape(x_shape)
    (top, left) = window.padding
    columns = columns.reshape(batch, channels, *window.kernel, *size)
    padded = np.zeros((batch, channels, height + 2 * top, width + 2 * left), columns.dtype)
    for row, column, rows, cols in _taps(size, window):
        padded[:, :, rows, cols] += columns[:, :, row, column]
    return np.ascontiguousarray(padded[:, :, top : top + height, left : left + width])


def _taps(size, window):
    """For every tap of the kernel, the slices of the padded image that it sees."""
    (stride_h, stride_w), (dilation_h, dilation_w) = window.stride, window.dilation
    for row in range(window.kernel[0]):
        for column in range(window.kernel[1]):
            top, left = row * dilation_h, column * dilation_w
            rows = slice(top, top + stride_h * (size[0] - 1) + 1, stride_h)
            cols = slice(left, left + stride_w * (size[1] - 1) + 1, stride_w)
            yield row, column, rows, cols


def _outputs_by_group(dy, groups):
    batch, channels, height, width = dy.shape
    return dy.reshape(batch, groups, channels // groups, height * width)


def conv_arguments(x, w, stride, padding, dilation, groups, operation):
    """Check the arguments of a convolution; returns (x, w, Window, groups)."""
    x, w = as_images(x, operation), as_tensor(w, operation)
    if w.ndim != 4:
        raise ValueError(
            f"{operation}: w must have 4 axes (Cout, Cin/groups, Kh, Kw), got shape {w.shape}"
        )
    if 0 in w.shape:
        raise ValueError(f"{operation}: the kernel is empty, its shape {w.shape}")
    if not isinstance(groups, (int, np.integer)) or groups < 1:
        raise ValueError(f"{operation}: groups must be a positive int, got {groups!r}")
    if w.shape[1] * groups != x.shape[1] or w.shape[0] % groups:
        raise ValueError(
            f"{operation}: x has {x.shape[1]} channels and w {w.shape} with groups={groups}; expected "
            f"w of shape (Cout, Cin/groups, Kh, Kw) with groups dividing Cin and Cout"
        )
    window = fitting_window(x, w.shape[2:], stride, padding, dilation, operation)
    return x, w, window, int(groups)


def conv2d(x, w, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """2-D convolution, arguments as in torch.nn.functional.conv2d.

    Shapes: x (N, Cin, H, W), w (Cout, Cin/groups, Kh, Kw), bias (Cout,) -> (N, Cout, Ho, Wo).
    stride, padding and dilation are ints or pairs (height, width); padding is with zeros.
    """
    x, w, window, groups = conv_arguments(x, w, stride, padding, dilation, groups, "conv2d")
    if bias is not None:
        bias = as_tensor(bias, "conv2d")
        if bias.shape != (w.shape[0],):
            raise ValueError(f"conv2d: bias must have shape ({w.shape[0]},), got {bias.shape}")
    return Conv2d.apply(x, w, bias, window=window, groups=groups)


def convolution_cases(draw):
    """Cases of a convolution of x with w and a bias, or without: kernels of all kinds and sizes."""
    x, transposed, one = draw.normal, draw.transposed, (1, 1)

    def case(name, x, w, bias=None, stride=one, padding=(0, 0), dilation=one, groups=1):
        window = Window(w.shape[2:], stride, padding, dilation)
        return Case(name, (x, w, bias), {"window": window, "groups": groups})

    return [
        case("3×3", x(2, 3, 5, 5), x(4, 3, 3, 3), x(4)),
        case("padded, stride 2, odd size", x(1, 2, 7, 5), x(3, 2, 3, 3), None, (2, 2), one),
        case("pairs that differ", x(2, 2, 6, 7), x(2, 2, 3, 2), x(2), (2, 1), (1, 2), (1, 2)),
        case("dilation 2", x(2, 2, 7, 7), x(2, 2, 3, 3), padding=(2, 2), dilation=(2, 2)),
        case("1×1", x(2, 5, 3, 3), x(4, 5, 1, 1)),
        case("1×1, stride 2", x(2, 3, 5, 5), x(2, 3, 1, 1), None, (2, 2)),
        case("two groups", x(2, 4, 4, 4), x(6, 2, 3, 3), x(6), padding=one, groups=2),
        case("depthwise 3×3", x(2, 3, 5, 5), x(3, 1, 3, 3), x(3), padding=one, groups=3),
        case("depthwise 5×5, stride 2", x(2, 2, 7, 7), x(2, 1, 5, 5), None, (2, 2), (2, 2), one, 2),
        case("depthwise, dilation 2", x(1, 2, 6, 6), x(2, 1, 3, 3), None, one, (2, 2), (2, 2), 2),
        case("depthwise, two outputs", x(2, 2, 4, 4), x(4, 1, 3, 3), padding=one, groups=2),
        case("one channel", x(2, 1, 4, 4), x(1, 1, 3, 3), padding=one),
        case("70 channels", x(1, 70, 3, 3), x(2, 70, 3, 3), padding=one),
        case("non-contiguous", transposed(2, 2, 5, 5), transposed(3, 2, 3, 3)),
    ]


def gradient_cases(draw):
    """{name: [Case, ...]} of the operations of this file, see `bnas.gradcheck`."""
    return {"Conv2d": convolution_cases(draw)}
