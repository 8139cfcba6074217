"""Operations on Tensors, with the names and meanings of torch.nn.functional where it has them.

One file per family, each forward beside its backward. `import bnas.functional as F` gives all of
them; importing this package also gives Tensor its operators and methods (`a + b`, `x.sum()`).
"""

import numpy as np

from bnas.autodiff import Function, Tensor, in_place_error, is_grad_enabled
from bnas.functional import (
    activations,
    arithmetic,
    binarise,
    conv,
    elementwise,
    losses,
    mixed,
    norm,
    pooling,
    protocols,
    reductions,
    regularise,
    shape,
)
from bnas.functional import linear as products
from bnas.functional.activations import prelu, relu, sigmoid, tanh
from bnas.functional.arithmetic import add, comparison, div, maximum, minimum, mul, sub, where
from bnas.functional.binarise import (
    channel_scale,
    reconstruction_loss,
    sign_ste,
    xnor_conv2d,
)
from bnas.functional.conv import conv2d
from bnas.functional.elementwise import abs, astype, clip, clone, cos, exp, log, neg, pow, sin, sqrt
from bnas.functional.linear import linear, matmul
from bnas.functional.losses import (
    cross_entropy,
    kl_div,
    log_softmax,
    mse_loss,
    nll_loss,
    one_hot,
    softmax,
)
from bnas.functional.mixed import mixed_sum
from bnas.functional.norm import batch_norm
from bnas.functional.pooling import (
    adaptive_avg_pool2d,
    avg_pool2d,
    global_avg_pool2d,
    max_pool2d,
)
from bnas.functional.reductions import argmax, max, mean, std, sum, var
from bnas.functional.regularise import drop_path, dropout
from bnas.functional.shape import (
    cat,
    concat,
    flatten,
    getitem,
    pad,
    permute,
    reshape,
    squeeze,
    stack,
    transpose,
    unsqueeze,
)
from bnas.gradcheck import gather_cases

__all__ = [
    "abs",
    "adaptive_avg_pool2d",
    "add",
    "argmax",
    "astype",
    "avg_pool2d",
    "batch_norm",
    "cat",
    "channel_scale",
    "clip",
    "clone",
    "concat",
    "conv2d",
    "cos",
    "cross_entropy",
    "div",
    "drop_path",
    "dropout",
    "exp",
    "flatten",
    "getitem",
    "global_avg_pool2d",
    "gradient_cases",
    "kl_div",
    "linear",
    "log",
    "log_softmax",
    "matmul",
    "max",
    "max_pool2d",
    "maximum",
    "mean",
    "minimum",
    "mixed_sum",
    "mse_loss",
    "mul",
    "neg",
    "nll_loss",
    "one_hot",
    "operations",
    "pad",
    "permute",
    "pow",
    "prelu",
    "reconstruction_loss",
    "relu",
    "reshape",
    "sigmoid",
    "sign_ste",
    "sin",
    "softmax",
    "sqrt",
    "squeeze",
    "stack",
    "std",
    "sub",
    "sum",
    "tanh",
    "transpose",
    "unsqueeze",
    "var",
    "where",
    "xnor_conv2d",
]

_FAMILIES = (
    arithmetic,
    elementwise,
    activations,
    reductions,
    shape,
    products,
    conv,
    binarise,
    pooling,
    norm,
    regularise,
    losses,
    mixed,
)


def __dir__():
    return sorted(__all__)


def operations():
    """Every differentiable operation of the library: {name: its Function}."""
    ours = [f for f in Function.__subclasses__() if f.__module__.startswith(__name__)]
    return {function.__name__: function for function in ours}


def gradient_cases(seed=0):
    """The cases on which `bnas gradcheck` verifies the operations: {name: [gradcheck.Case, ...]}."""
    return gather_cases([family.gradient_cases for family in _FAMILIES], seed)


def _shape_arguments(arguments):
    """x.reshape(2, 3) and x.reshape((2, 3)) alike."""
    return arguments[0] if len(arguments) == 1 and isinstance(arguments[0], tuple) else arguments


Tensor.__array_ufunc__ = protocols.array_ufunc
Tensor.__array_function__ = protocols.array_function


def _in_place(sign, operation):
    """The method of Tensor for `x += y` and the like.

    While recording it makes a new Tensor, as x = x + y does, and refuses a leaf that requires a gradient, which
    would no longer be one. Under `no_grad` the leaf itself gets a new array.
    """

    def update(self, other):
        if is_grad_enabled():
            if self.requires_grad and self.node is None:
                raise in_place_error(f"x {sign}= y", f"z = x {sign} y")
            return operation(self, other)
        data = operation(self, other).data
        if data.shape != self.shape:
            raise ValueError(
                f"x {sign}= y would change the shape of x, {self.shape}, to {data.shape}"
            )
        self.data = data
        return self

    return update


Tensor.__add__ = add
Tensor.__radd__ = lambda self, other: add(other, self)
Tensor.__sub__ = sub
Tensor.__rsub__ = lambda self, other: sub(other, self)
Tensor.__mul__ = mul
Tensor.__rmul__ = lambda self, other: mul(other, self)
Tensor.__truediv__ = div
Tensor.__rtruediv__ = lambda self, other: div(other, self)
Tensor.__iadd__ = _in_place("+", add)
Tensor.__isub__ = _in_place("-", sub)
Tensor.__imul__ = _in_place("*", mul)
Tensor.__itruediv__ = _in_place("/", div)
Tensor.__ipow__ = _in_place("**", pow)
Tensor.__imatmul__ = _in_place("@", matmul)
Tensor.__neg__ = neg
Tensor.__abs__ = abs
Tensor.__pow__ = pow
Tensor.__matmul__ = matmul
Tensor.__rmatmul__ = lambda self, other: matmul(other, self)
Tensor.__lt__ = comparison(np.less)
Tensor.__le__ = comparison(np.less_equal)
Tensor.__gt__ = comparison(np.greater)
Tensor.__ge__ = comparison(np.greater_equal)
Tensor.__eq__ = comparison(np.equal)
Tensor.__ne__ = comparison(np.not_equal)
Tensor.__getitem__ = getitem
Tensor.sum = sum
Tensor.mean = mean
Tensor.max = max
Tensor.var = var
Tensor.std = std
Tensor.argmax = argmax
Tensor.abs = abs
Tensor.sqrt = sqrt
Tensor.exp = exp
Tensor.log = log
Tensor.sin = sin
Tensor.cos = cos
Tensor.pow = pow
Tensor.relu = relu
Tensor.sigmoid = sigmoid
Tensor.tanh = tanh
Tensor.softmax = softmax
Tensor.log_softmax = log_softmax
Tensor.clip = clip
Tensor.clone = clone
Tensor.astype = astype
Tensor.minimum = minimum
Tensor.maximum = maximum
Tensor.where = lambda self, condition, other: where(condition, self, other)
Tensor.matmul = matmul
Tensor.squeeze = squeeze
Tensor.unsqueeze = unsqueeze
Tensor.flatten = flatten
Tensor.reshape = lambda self, *shape: reshape(self, _shape_arguments(shape))
Tensor.transpose = transpose
Tensor.permute = lambda self, *order: permute(self, _shape_arguments(order))
Tensor.T = property(transpose)
