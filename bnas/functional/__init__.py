"""Operations on Tensors, with the names and meanings of torch.nn.functional where it has them.

One file per family, each forward beside its backward. `import bnas.functional as F` gives all of
them; importing this package also gives Tensor its operators and methods (`a + b`, `x.sum()`).
"""

from bnas.autodiff import Function, Tensor
from bnas.functional.binarise import (
    channel_scale,
    reconstruction_loss,
    sign_ste,
    xnor_conv2d,
)
from bnas.functional.conv import conv2d
from bnas.functional.elementwise import (
    add,
    clip,
    div,
    exp,
    log,
    mul,
    neg,
    pow,
    prelu,
    relu,
    sub,
    tanh,
)
from bnas.functional.linear import linear, matmul
from bnas.functional.losses import cross_entropy, kl_div, log_softmax, softmax
from bnas.functional.mixed import mixed_sum
from bnas.functional.norm import batch_norm
from bnas.functional.pooling import avg_pool2d, global_avg_pool2d, max_pool2d
from bnas.functional.regularise import drop_path, dropout
from bnas.functional.shape import concat, getitem, max, mean, pad, reshape, sum, transpose

__all__ = [
    "add", "avg_pool2d", "batch_norm", "channel_scale",
    "clip", "concat", "conv2d", "cross_entropy", "div", "drop_path", "dropout", "exp", "getitem",
    "global_avg_pool2d", "kl_div", "linear", "log", "log_softmax", "matmul", "max", "max_pool2d", "mean",
    "mixed_sum", "mul", "neg", "operations", "pad", 
    "pow", "prelu", "reconstruction_loss", "relu", "reshape", "sign_ste",
    "softmax", "sub", "sum", "tanh", "transpose", "xnor_conv2d",
]  # fmt: skip


def operations():
    """Every differentiable operation of the library: {name: its Function}."""
    ours = [f for f in Function.__subclasses__() if f.__module__.startswith(__name__)]
    return {function.__name__: function for function in ours}


def _shape_arguments(arguments):
    """x.reshape(2, 3) and x.reshape((2, 3)) alike."""
    return arguments[0] if len(arguments) == 1 and isinstance(arguments[0], tuple) else arguments


Tensor.__add__ = add
Tensor.__radd__ = lambda self, other: add(other, self)
Tensor.__sub__ = sub
Tensor.__rsub__ = lambda self, other: sub(other, self)
Tensor.__mul__ = mul
Tensor.__rmul__ = lambda self, other: mul(other, self)
Tensor.__truediv__ = div
Tensor.__rtruediv__ = lambda self, other: div(other, self)
Tensor.__neg__ = neg
Tensor.__pow__ = pow
Tensor.__matmul__ = matmul
Tensor.__rmatmul__ = lambda self, other: matmul(other, self)
Tensor.__getitem__ = getitem
Tensor.sum = sum
Tensor.mean = mean
Tensor.max = max
Tensor.exp = exp
Tensor.log = log
Tensor.relu = relu
Tensor.tanh = tanh
Tensor.clip = clip
Tensor.reshape = lambda self, *shape: reshape(self, _shape_arguments(shape))
Tensor.transpose = lambda self, *order: transpose(self, _shape_arguments(order) or None)
Tensor.T = property(transpose)
