"""Max and average pooling of images in lanes, and their gradients (see `lanes`).

Nothing is stored for the backward of max pooling: the maximum is looked for again.
"""

from bnas.kernels.buffers import empty, zeros
from bnas.kernels.jit import jit
from bnas.kernels.planes import ready
from bnas.kernels.threads import run_tasks
from bnas.kernels.vectors import broadcast, lane_count, load, maximum, ravel, select_equal, store
from bnas.kernels.windows import output_size


@jit(forceinline=True)
def _span(output, kernel, stride, padding, size):
    """The pixels that a window sees along one axis: from the first to before the last."""
    start = output * stride - padding
    return max(start, 0), min(start + kernel, size)


@jit(allocates=False)
def _largest(x, at, size, kernel, stride, padding, out_size, y, target):
    lanes = lane_count(x)
    for i in range(out_size[0]):
        top, bottom = _span(i, kernel, stride, padding, size[0])
        for j in range(out_size[1]):
            left, right = _span(j, kernel, stride, padding, size[1])
            most = load(x, at + (top * size[1] + left) * lanes)
            for row in range(top, bottom):
                for column in range(left, right):
                    most = maximum(most, load(x, at + (row * size[1] + column) * lanes))
            store(y, target, most)
            target += lanes


@jit(allocates=False)
def _average(x, at, size, kernel, stride, padding, out_size, y, target):
    lanes = lane_count(x)
    for i in range(out_size[0]):
        top, bottom = _span(i, kernel, stride, padding, size[0])
        for j in range(out_size[1]):
            left, right = _span(j, kernel, stride, padding, size[1])
            total = broadcast(x.dtype.type(0))
            for row in range(top, bottom):
                for column in range(left, right):
                    total = total + load(x, at + (row * size[1] + column) * lanes)
            store(y, target, total / broadcast(x.dtype.type((bottom - top) * (right - left))))
            target += lanes


@jit(allocates=False)
def _average_back(dy, source, size, kernel, stride, padding, out_size, dx, at):
    lanes = lane_count(dy)
    for i in range(out_size[0]):
        top, bottom = _span(i, kernel, stride, padding, size[0])
        for j in range(out_size[1]):
            left, right = _span(j, kernel, stride, padding, size[1])
            part = load(dy, source) / broadcast(dy.dtype.type((bottom - top) * (right - left)))
            for row in range(top, bottom):
                for column in range(left, right):
                    here = at + (row * size[1] + column) * lanes
                    store(dx, here, load(dx, here) + part)
            source += lanes


@jit(allocates=False)
def _largest_back(dy, y, source, x, size, kernel, stride, padding, out_size, dx, at):
    """What is left of dy goes to the first pixel that equals the maximum, in row order."""
    lanes = lane_count(dy)
    zero = broadcast(dy.dtype.type(0))
    for i in range(out_size[0]):
        top, bottom = _span(i, kernel, stride, padding, size[0])
        for j in range(out_size[1]):
            left, right = _span(j, kernel, stride, padding, size[1])
            rest, most = load(dy, source), load(y, source)
            for row in range(top, bottom):
                for column in range(left, right):
                    here = at + (row * size[1] + column) * lanes
                    value = load(x, here)
                    store(dx, here, load(dx, here) + select_equal(value, most, rest, zero))
                    rest = select_equal(value, most, zero, rest)
            source += lanes


@jit(allocates=False)
def _pool(x, kernel, stride, padding, largest, y, first, end):
    size, out_size, lanes = x.shape[2:4], y.shape[2:4], lane_count(x)
    image, out = size[0] * size[1] * lanes, out_size[0] * out_size[1] * lanes
    source, target = ravel(x), ravel(y)
    for p in range(first, end):
        if largest:
            _largest(source, p * image, size, kernel, stride, padding, out_size, target, p * out)
        else:
            _average(source, p * image, size, kernel, stride, padding, out_size, target, p * out)


@jit(allocates=False)
def _pool_back(dy, y, x, kernel, stride, padding, largest, dx, first, end):
    size, out_size, lanes = x.shape[2:4], dy.shape[2:4], lane_count(x)
    image, out = size[0] * size[1] * lanes, out_size[0] * out_size[1] * lanes
    given, most = ravel(dy), ravel(y)
    source, target = ravel(x), ravel(dx)
    for p in range(first, end):
        if largest:
            _largest_back(
                given,
                most,
                p * out,
                source,
                size,
                kernel,
                stride,
                padding,
                out_size,
                target,
                p * image,
            )
        else:
            _average_back(
                given, p * out, size, kernel, stride, padding, out_size, target, p * image
            )


def pool_lanes(x, largest, kernel, stride, padding):
    """Pooling of x (blocks, C, H, W, L) -> (blocks, C, Ho, Wo, L).

    largest: whether the largest pixel of each window, not the mean of those inside the image. kernel, stride
    and padding are one number for both axes; every window sees a pixel. NaN is larger than all.
    """
    out_size = (output_size(n, kernel, stride, padding, 1) for n in x.shape[2:4])
    y = empty((*x.shape[:2], *out_size, x.shape[-1]), x.dtype)
    run_tasks(
        _pool,
        y.size * kernel * kernel,
        len(x) * x.shape[1],
        ready(x),
        kernel,
        stride,
        padding,
        largest,
        y,
    )
    return y


def pool_lanes_dx(dy, y, x, largest, kernel, stride, padding):
    """Gradient of `pool_lanes` for x; of equal pixels the first in row order counts.

    A maximum that is NaN equals no pixel: its gradient is dropped.
    """
    dx = zeros(x.shape, x.dtype)
    run_tasks(
        _pool_back,
        dy.size * kernel * kernel,
        len(x) * x.shape[1],
        ready(dy),
        ready(y),
        ready(x),
        kernel,
        stride,
        padding,
        largest,
        dx,
    )
    return dx
