"""Operations on two operands that broadcast: arithmetic, minimum and maximum, a choice, comparisons."""

from numbers import Real

import numpy as np

from bnas.autodiff import Function, Tensor
from bnas.functional.arguments import as_tensor
from bnas.functional.elementwise import chosen, masked_product
from bnas.functional.shape import spread_apart
from bnas.gradcheck import Case


class Add(Function):
    """y = a + b. Backward: da = dy, db = dy. Shapes: broadcast. gradient: exact."""

    broadcasts = True

    @staticmethod
    def forward(ctx, a, b):
        return a + b

    @staticmethod
    def backward(ctx, dy):
        return dy, dy


class Sub(Function):
    """y = a - b. Backward: da = dy, db = -dy. Shapes: broadcast. gradient: exact."""

    broadcasts = True

    @staticmethod
    def forward(ctx, a, b):
        return a - b

    @staticmethod
    def backward(ctx, dy):
        return dy, -dy


class Mul(Function):
    """y = a b. Backward: da = dy b, db = dy a. Shapes: broadcast. gradient: exact."""

    broadcasts = True

    @staticmethod
    def forward(ctx, a, b):
        ctx.a, ctx.b = a, b
        return a * b

    @staticmethod
    def backward(ctx, dy):
        need_a, need_b = ctx.needs
        return dy * ctx.b if need_a else None, dy * ctx.a if need_b else None


class Div(Function):
    """y = a / b. Backward: da = dy / b, db = -dy a / b². Shapes: broadcast. gradient: exact."""

    broadcasts = True

    @staticmethod
    def forward(ctx, a, b):
        ctx.a, ctx.b = a, b
        return a / b

    @staticmethod
    def backward(ctx, dy):
        need_a, need_b = ctx.needs
        da = dy / ctx.b
        return da if need_a else None, -da * ctx.a / ctx.b if need_b else None


class Minimum(Function):
    """y = min(a, b). Backward: dy to the smaller one, half of it to each where a = b.

    Shapes: broadcast. Kinks: a = b. gradient: exact.
    """

    broadcasts = True

    @staticmethod
    def forward(ctx, a, b):
        ctx.share = _share(a < b, a == b, a.dtype)
        return np.minimum(a, b)

    @staticmethod
    def backward(ctx, dy):
        return masked_product(ctx.share, dy), masked_product(1 - ctx.share, dy)

    @staticmethod
    def off_kinks(a, b):
        return _off_ties(a, b)


class Maximum(Function):
    """y = max(a, b). Backward: dy to the larger one, half of it to each where a = b.

    Shapes: broadcast. Kinks: a = b. gradient: exact.
    """

    broadcasts = True

    @staticmethod
    def forward(ctx, a, b):
        ctx.share = _share(a > b, a == b, a.dtype)
        return np.maximum(a, b)

    @staticmethod
    def backward(ctx, dy):
        return masked_product(ctx.share, dy), masked_product(1 - ctx.share, dy)

    @staticmethod
    def off_kinks(a, b):
        return _off_ties(a, b)


def _share(chosen, tied, dtype):
    """The share of dy that goes to the first operand: 1 where it is `chosen`, a half where `tied`."""
    return np.where(tied, 0.5, chosen).astype(dtype)


def _off_ties(a, b):
    """Both operands with all their values distinct, in the same order."""
    apart = spread_apart(np.concatenate([a.ravel(), b.ravel()]))
    return apart[: a.size].reshape(a.shape), apart[a.size :].reshape(b.shape)


class Where(Function):
    """y = a where the condition holds, else b. Backward: dy to the one chosen, exactly 0 to the other.

    Shapes: condition (bool), a and b broadcast. gradient: exact.
    """

    broadcasts = True

    @staticmethod
    def forward(ctx, a, b, condition):
        ctx.condition = condition
        return np.where(condition, a, b)

    @staticmethod
    def backward(ctx, dy):
        need_a, need_b = ctx.needs
        da = chosen(ctx.condition, dy) if need_a else None
        return da, chosen(~ctx.condition, dy) if need_b else None


def _binary(function, operation):
    def apply(a, b):
        a = as_tensor(a, operation, like=b if isinstance(b, (Tensor, np.ndarray)) else None)
        return function.apply(a, as_tensor(b, operation, like=a))

    apply.__name__ = apply.__qualname__ = operation
    apply.__doc__ = function.__doc__
    return apply


add = _binary(Add, "add")
sub = _binary(Sub, "sub")
mul = _binary(Mul, "mul")
div = _binary(Div, "div")
minimum = _binary(Minimum, "minimum")
maximum = _binary(Maximum, "maximum")


def where(condition, a, b):
    """a where `condition` holds, else b, element by element; all three broadcast.

    Args:
        condition: bool array, such as `x > 0`.
        a, b: Tensors or arrays of one dtype; one of them may be a number.

    NaN and infinity in what is not chosen reach neither the value nor the gradients for a and b. They
    still arise farther up, as in PyTorch: where(x > 0, x.sqrt(), 0) has at x = 0 the gradient 0 · ∞ = NaN;
    where(x > 0, x, 1).sqrt() has none.

    Raises:
        TypeError: `condition` is no bool array; a and b have two dtypes, or are both numbers.
        ValueError: the shapes do not broadcast.
    """
    if (
        not isinstance(condition, (np.ndarray, np.bool_, bool))
        or np.asarray(condition).dtype != bool
    ):
        got = getattr(condition, "dtype", type(condition).__name__)
        raise TypeError(f"where: the condition must be a bool array, such as x > 0, got {got}")
    a = as_tensor(a, "where", like=b if isinstance(b, (Tensor, np.ndarray)) else None)
    return Where.apply(a, as_tensor(b, "where", like=a), condition=np.asarray(condition))


def comparison(ufunc):
    """`ufunc`, such as np.less, as a method of Tensor that gives a bool array.

    The other operand is a Tensor, an array or a number. Anything else is left to Python: == then asks
    whether both are one object, < raises TypeError.
    """

    def compare(self, other):
        if isinstance(other, Tensor):
            other = other.data
        elif isinstance(other, Real):
            other = self.dtype.type(other)  # as in arithmetic
        elif not isinstance(other, np.ndarray):
            return NotImplemented
        return ufunc(self.data, other)

    return compare


def gradient_cases(draw):
    """{name: [Case, ...]} of the operations of this file, see `bnas.gradcheck`."""
    x, positive = draw.normal, draw.positive
    binary = [
        Case("equal shapes", (x(3, 4), positive(3, 4))),
        Case("a row and a column", (x(1, 4), positive(3, 1))),
        Case("a scalar", (x(2, 3), positive())),
        Case("more axes on the right", (x(3), positive(2, 2, 3))),
        Case("non-contiguous", (draw.transposed(3, 5), positive(3, 5))),
    ]

    def far(*shape):
        """Far from 0, on both sides in turns: either operand is chosen somewhere."""
        values = positive(*shape)
        return np.where(np.arange(values.size).reshape(shape) % 2, values, -values)

    def near(*shape):
        return 0.05 * x(*shape)

    extremes = [
        Case("equal shapes", (far(3, 4), near(3, 4))),
        Case("a row and a column", (far(1, 4), near(3, 1))),
        Case("a scalar", (far(2, 3), np.zeros(()))),
        Case("more axes on the right", (near(3), far(2, 2, 3))),
        Case("non-contiguous", (far(5, 3).T, near(3, 5))),
    ]
    thirds = np.arange(12).reshape(3, 4) % 3 == 0
    return {
        "Add": binary,
        "Sub": binary,
        "Mul": binary,
        "Div": binary,
        "Minimum": extremes,
        "Maximum": extremes,
        "Where": [
            Case("equal shapes", (x(3, 4), x(3, 4)), {"condition": thirds}),
            Case("a row and a column", (x(1, 4), x(3, 1)), {"condition": thirds}),
            Case("a scalar", (x(3, 4), x()), {"condition": thirds}),
            Case(
                "a condition that is stretched",
                (x(2, 3), x(3)),
                {"condition": thirds[:, 0, None, None]},
            ),
            Case("non-contiguous", (draw.transposed(3, 4), x(3, 4)), {"condition": thirds}),
        ],
    }
