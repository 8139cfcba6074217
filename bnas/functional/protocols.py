"""What NumPy's own functions do with a Tensor: `array + x`, `np.exp(x)`, `np.stack([x, y])`.

A ufunc that is an operation here, such as np.add or np.exp, gives a Tensor and is recorded. Everything else
computes with the values and gives arrays. As that would lose a gradient without a word, a Tensor that
requires one is then refused, unless the answer is a yes or no.
"""

import numpy as np

from bnas.autodiff import Tensor
from bnas.functional import arithmetic, elementwise
from bnas.functional.activations import tanh
from bnas.functional.linear import matmul

_OPERATIONS = {
    np.add: arithmetic.add,
    np.subtract: arithmetic.sub,
    np.multiply: arithmetic.mul,
    np.true_divide: arithmetic.div,
    np.minimum: arithmetic.minimum,
    np.maximum: arithmetic.maximum,
    np.matmul: matmul,
    np.power: elementwise.pow,
    np.negative: elementwise.neg,
    np.absolute: elementwise.abs,
    np.sqrt: elementwise.sqrt,
    np.exp: elementwise.exp,
    np.log: elementwise.log,
    np.sin: elementwise.sin,
    np.cos: elementwise.cos,
    np.tanh: tanh,
}
_QUESTIONS = {
    *(np.less, np.less_equal, np.greater, np.greater_equal, np.equal, np.not_equal),
    *(np.isnan, np.isinf, np.isfinite, np.signbit),
}


def array_ufunc(self, ufunc, method, *inputs, **options):
    """Tensor.__array_ufunc__."""
    operation = _OPERATIONS.get(ufunc)
    if operation is not None and method == "__call__" and not options:
        return operation(*inputs)
    name = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
    asked = ufunc in _QUESTIONS
    if asked:  # a number takes the dtype of the Tensor, as in arithmetic
        number = self.dtype.type
        inputs = tuple(i if isinstance(i, Tensor) or np.ndim(i) else number(i) for i in inputs)
    inputs = _values(inputs, name, asked)
    return getattr(ufunc, method)(*inputs, **_values(options, name, asked))


def array_function(self, function, types, arguments, options):
    """Tensor.__array_function__."""
    name = function.__name__
    return function(*_values(arguments, name), **_values(options, name))


def _values(argument, name, asked=False):
    """`argument` with an array for every Tensor in it, however deep in lists, tuples and dicts.

    Raises:
        TypeError: a Tensor requires a gradient, and what is `asked` for is no yes or no.
    """
    if isinstance(argument, Tensor):
        if argument.requires_grad and not asked:
            raise TypeError(
                f"np.{name} would lose the gradient that a Tensor here requires; use an operation of "
                "bnas.functional to keep it, or x.numpy() for the values alone"
            )
        return argument.data
    if type(argument) in (list, tuple):
        return type(argument)(_values(part, name, asked) for part in argument)
    if type(argument) is dict:
        return {key: _values(part, name, asked) for key, part in argument.items()}
    return argument
