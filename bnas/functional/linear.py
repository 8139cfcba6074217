"""Matrix products."""

import math

from bnas.autodiff import Function
from bnas.functional.arguments import as_tensor
from bnas.functional.shape import reshape
from bnas.gradcheck import Case
from bnas.kernels.sums import accurate_sum


class MatMul(Function):
    """y = a b. Backward: da = dy bᵀ, db = aᵀ dy. Shapes: (..., n, k), (..., k, m); leading axes
    broadcast. gradient: exact.
    """

    broadcasts = True

    @staticmethod
    def forward(ctx, a, b):
        ctx.a, ctx.b = a, b
        return a @ b

    @staticmethod
    def backward(ctx, dy):
        need_a, need_b = ctx.needs
        da = dy @ ctx.b.swapaxes(-1, -2) if need_a else None
        db = ctx.a.swapaxes(-1, -2) @ dy if need_b else None
        return da, db


class Linear(Function):
    """y = x wᵀ + bias. Backward: dx = dy w, dw = dyᵀ x, dbias = Σ dy.

    Shapes: x (..., in), w (out, in), bias (out,). gradient: exact.
    """

    @staticmethod
    def forward(ctx, x, w, bias):
        ctx.x, ctx.w = x, w
        y = x @ w.T
        return y if bias is None else y + bias

    @staticmethod
    def backward(ctx, dy):
        need_x, need_w, need_bias = ctx.needs
        (outputs, inputs), count = ctx.w.shape, math.prod(dy.shape[:-1])
        rows = dy.reshape(count, outputs)
        dx = dy @ ctx.w if need_x else None
        dw = rows.T @ ctx.x.reshape(count, inputs) if need_w else None
        return dx, dw, accurate_sum(rows, 0) if need_bias else None


def matmul(a, b):
    """Matrix product with NumPy's rules: 1-D operands are vectors, leading axes broadcast."""
    a, b = as_tensor(a, "matmul"), as_tensor(b, "matmul")
    if a.ndim == 0 or b.ndim == 0 or a.shape[-1] != b.shape[0 if b.ndim == 1 else -2]:
        raise ValueError(f"matmul: shapes {a.shape} and {b.shape} do not match")
    left = reshape(a, (1, -1)) if a.ndim == 1 else a
    right = reshape(b, (-1, 1)) if b.ndim == 1 else b
    y = MatMul.apply(left, right)
    shape = y.shape
    if b.ndim == 1:
        shape = shape[:-1]
    if a.ndim == 1:
        shape = shape[:-1] if b.ndim == 1 else (*shape[:-2], shape[-1])
    return y if shape == y.shape else reshape(y, shape)


def linear(x, w, bias=None):
    """x wᵀ + bias. Shapes: x (..., in), w (out, in), bias (out,) -> (..., out)."""
    x, w = as_tensor(x, "linear"), as_tensor(w, "linear")
    if w.ndim != 2 or x.ndim < 1 or x.shape[-1] != w.shape[1]:
        raise ValueError(
            f"linear: x {x.shape} does not match w {w.shape}; expected (..., in), (out, in)"
        )
    if bias is not None:
        bias = as_tensor(bias, "linear")
        if bias.shape != (w.shape[0],):
            raise ValueError(f"linear: bias must have shape ({w.shape[0]},), got {bias.shape}")
    return Linear.apply(x, w, bias)


def gradient_cases(draw):
    """{name: [Case, ...]} of the operations of this file, see `bnas.gradcheck`."""
    x, transposed = draw.normal, draw.transposed
    return {
        "MatMul": [
            Case("matrices", (x(3, 4), x(4, 2))),
            Case("a batch by one matrix", (x(2, 3, 4), x(4, 2))),
            Case("broadcast batches", (x(2, 1, 2, 3), x(3, 3, 2))),
            Case("one row", (x(1, 4), x(4, 2))),
            Case("non-contiguous", (transposed(3, 4), transposed(4, 3))),
        ],
        "Linear": [
            Case("with bias", (x(3, 4), x(2, 4), x(2))),
            Case("leading axes", (x(2, 3, 4), x(2, 4), None)),
            Case("batch of one", (x(1, 4), x(1, 4), x(1))),
        ],
    }
