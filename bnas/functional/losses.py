"""Softmax and the losses on top of it."""

import numpy as np

from bnas.autodiff import Function, Tensor
from bnas.functional.arguments import as_tensor, numpy_names, single_axis
from bnas.functional.arithmetic import where
from bnas.functional.elementwise import masked_product
from bnas.gradcheck import Case
from bnas.kernels.sums import accurate_sum

REDUCTIONS = ("none", "mean", "sum", "batchmean")


class Softmax(Function):
    """y_i = exp x_i / Σ_j exp x_j along `axis`. Backward: dx = y (dy - Σ_j dy_j y_j). gradient: exact.

    An entry whose y is 0 (x_i = -∞, or far below the largest) takes no part in the backward, whatever its dy.
    """

    @staticmethod
    def forward(ctx, x, axis):
        ctx.axis = axis
        ctx.y = np.exp(log_softmax_array(x, axis))
        return ctx.y

    @staticmethod
    def backward(ctx, dy):
        total = accurate_sum(masked_product(ctx.y, dy), ctx.axis, keepdims=True)
        return (masked_product(ctx.y, dy - total),)


class LogSoftmax(Function):
    """y = x - ln Σ_j exp x_j along `axis`. Backward: dx = dy - exp(y) Σ_j dy_j. gradient: exact."""

    @staticmethod
    def forward(ctx, x, axis):
        ctx.axis = axis
        ctx.y = log_softmax_array(x, axis)
        return ctx.y

    @staticmethod
    def backward(ctx, dy):
        return (dy - np.exp(ctx.y) * accurate_sum(dy, ctx.axis, keepdims=True),)


class CrossEntropy(Function):
    """L_b = -Σ_n q_bn ln softmax(x_b)_n, times the weight of b's class (Eq. 4.21).

    q_b puts 1 - s on the label and s/N on every class, s the label smoothing.
    Where c_bn, which is q_bn times the weight of n, is 0 it chooses: an ignored sample, or a class of weight
    0, adds exactly 0 whatever its logits.
    Backward: dx_b = dL_b (softmax(x_b) Σ_n c_bn - c_bn).
    Shapes: x (B, N), labels int (B,) -> (B,). gradient: exact.
    """

    @staticmethod
    def forward(ctx, x, labels, weight, ignore_index, label_smoothing):
        batch, classes = x.shape
        kept = labels != ignore_index
        ctx.coefficients = np.full(x.shape, label_smoothing / classes, x.dtype)
        ctx.coefficients[np.arange(batch)[kept], labels[kept]] += 1 - label_smoothing
        ctx.coefficients *= weight
        ctx.coefficients[~kept] = 0
        ctx.log_p = log_softmax_array(x, 1)
        return -masked_product(ctx.coefficients, ctx.log_p).sum(axis=1)

    @staticmethod
    def backward(ctx, dy):
        total = ctx.coefficients.sum(axis=1, keepdims=True)
        slope = masked_product(total, np.exp(ctx.log_p)) - ctx.coefficients
        return (masked_product(slope, dy[:, None]),)


class KLDiv(Function):
    """L = p (ln p - x), x being ln p̂; 0 where p = 0. Backward: dx = -dy p, dp = dy (ln p + 1 - x).

    Shapes: x and p alike. Kinks: p = 0. gradient: exact.
    """

    @staticmethod
    def forward(ctx, x, p):
        ctx.x, ctx.p = x, p
        return masked_product(p, _log_or_zero(p) - x)

    @staticmethod
    def backward(ctx, dy):
        need_x, need_p = ctx.needs
        dp = dy * (_log_or_zero(ctx.p) + 1 - ctx.x) if need_p else None
        return masked_product(-ctx.p, dy) if need_x else None, dp


def log_softmax_array(x, axis):
    """ln softmax of an array, safe for large entries; NaN throughout where the largest is infinite."""
    with np.errstate(invalid="ignore"):
        shifted = x - x.max(axis=axis, keepdims=True)
    return shifted - np.log(accurate_sum(np.exp(shifted), axis, keepdims=True))


def _log_or_zero(p):
    return np.log(np.where(p > 0, p, 1))


def _reduce(losses, reduction, operation, allowed=REDUCTIONS):
    if reduction not in allowed:
        raise ValueError(f"{operation}: reduction must be one of {allowed}, got {reduction!r}")
    if reduction != "none" and losses.size == 0:
        raise ValueError(f"{operation}: the batch is empty; expected at least one sample")
    if reduction == "sum":
        return losses.sum()
    if reduction == "batchmean":
        return losses.sum() / losses.shape[0]
    return losses.mean() if reduction == "mean" else losses


@numpy_names
def softmax(x, axis):
    """Softmax along `axis`."""
    x = as_tensor(x, "softmax")
    return Softmax.apply(x, axis=_class_axis(x, axis, "softmax"))


@numpy_names
def log_softmax(x, axis):
    """Logarithm of the softmax along `axis`."""
    x = as_tensor(x, "log_softmax")
    return LogSoftmax.apply(x, axis=_class_axis(x, axis, "log_softmax"))


def _class_axis(x, axis, operation):
    axis = single_axis(axis, x.ndim, operation)
    if x.shape[axis] == 0:
        raise ValueError(f"{operation}: nothing to normalise along axis {axis} of shape {x.shape}")
    return axis


def cross_entropy(
    x, target, weight=None, *, ignore_index=-100, reduction="mean", label_smoothing=0.0
):
    """Cross-entropy of logits and class indices (Eq. 4.21), as in torch.nn.functional.

    Shapes: x (B, N) logits, target (B,) integer labels in [0, N), weight (N,) per class.
    `reduction` is "none" (B,), "sum" or "mean" (weighted, over samples that are not `ignore_index`);
    `label_smoothing` in [0, 1] spreads that share of a label over all classes.

    Raises:
        ValueError: wrong shapes; a label or an option out of range; an empty batch.
        TypeError: labels that are not integers.
    """
    x = as_tensor(x, "cross_entropy")
    if not 0 <= label_smoothing <= 1:
        raise ValueError(
            f"cross_entropy: label_smoothing must lie in [0, 1], got {label_smoothing}"
        )
    labels, weight = _classes(x, target, weight, ignore_index, "cross_entropy")
    losses = CrossEntropy.apply(
        x,
        labels=labels,
        weight=weight,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
    )
    kept = labels[labels != ignore_index]
    return _reduce_weighted(losses, weight[kept], reduction, "cross_entropy")


def nll_loss(x, target, weight=None, *, ignore_index=-100, reduction="mean"):
    """-x at the label of each sample, x log-probabilities, as in torch.nn.functional.

    Arguments and errors are those of `cross_entropy`, which is nll_loss(log_softmax(x, 1), target).
    """
    x = as_tensor(x, "nll_loss")
    labels, weight = _classes(x, target, weight, ignore_index, "nll_loss")
    kept = labels != ignore_index
    own = np.where(kept, labels, 0)
    factors = np.where(kept, weight[own], 0).astype(x.dtype)
    picked = where(factors != 0, x[np.arange(len(labels)), own], 0.0)
    return _reduce_weighted(-picked * Tensor(factors), weight[own[kept]], reduction, "nll_loss")


def _classes(x, target, weight, ignore_index, operation):
    """(labels, weight of each class), checked against x (B, N)."""
    labels = np.asarray(target)
    if x.ndim != 2 or x.shape[1] == 0 or labels.shape != x.shape[:1]:
        raise ValueError(
            f"{operation}: expected logits (B, N), N at least 1, and labels (B,), got {x.shape} and "
            f"{labels.shape}"
        )
    if labels.dtype.kind not in "iu":
        raise TypeError(f"{operation}: labels must be integers, got {labels.dtype}")
    classes = x.shape[1]
    wrong = np.flatnonzero((labels != ignore_index) & ((labels < 0) | (labels >= classes)))
    if wrong.size:
        raise ValueError(
            f"{operation}: label {labels[wrong[0]]} of sample {wrong[0]} is out of range; "
            f"expected 0 to {classes - 1}"
        )
    weight = np.ones(classes, x.dtype) if weight is None else np.asarray(weight, x.dtype)
    if weight.shape != (classes,):
        raise ValueError(f"{operation}: weight must have shape ({classes},), got {weight.shape}")
    return labels, weight


def _reduce_weighted(losses, weights, reduction, operation):
    """`_reduce`, where the mean is over the `weights` of the samples that count."""
    if reduction != "mean":
        return _reduce(losses, reduction, operation, REDUCTIONS[:3])
    total = weights.sum()
    if not total > 0:
        raise ValueError(
            f"{operation}: nothing to average; the batch is empty or all of it is ignored"
        )
    return losses.sum() / float(total)


def mse_loss(x, target, *, reduction="mean"):
    """(x - target)², element by element, as in torch.nn.functional, but for Tensors of one shape only.

    `reduction`: "mean" over all elements, "sum" or "none".
    """
    x, target = as_tensor(x, "mse_loss"), as_tensor(target, "mse_loss")
    if x.shape != target.shape:
        raise ValueError(f"mse_loss: x {x.shape} and target {target.shape} must have one shape")
    difference = x - target
    losses = difference * difference
    return _reduce(losses, reduction, "mse_loss", REDUCTIONS[:3])


def one_hot(labels, classes=-1):
    """Integer labels (...) as integers (..., classes): 1 at the label, 0 elsewhere, an array.

    classes: how many there are; -1: one more than the largest label.

    Raises:
        TypeError: labels that are not integers.
        ValueError: a label outside 0 to classes - 1; no labels to tell the number of classes from.
    """
    labels = np.asarray(labels)
    if labels.dtype.kind not in "iu":
        raise TypeError(f"one_hot: labels must be integers, got {labels.dtype}")
    if classes == -1:
        if not labels.size:
            raise ValueError("one_hot: no labels to count the classes of; give classes=")
        classes = int(labels.max()) + 1
    if labels.size and not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(
            f"one_hot: labels go from {labels.min()} to {labels.max()}, expected 0 to {classes - 1}"
        )
    return (labels[..., None] == np.arange(classes)).astype(np.int64)


def kl_div(x, target, *, reduction="mean"):
    """KL(target ‖ exp x) element by element (Eq. 4.30): x holds log-probabilities, target probabilities.

    `reduction`: "batchmean" is the KL divergence averaged over the batch; "mean" divides by the number
    of elements, as torch.nn.functional.kl_div does by default; "sum"; "none".
    Shapes: x and target (B, N).
    """
    x, target = as_tensor(x, "kl_div"), as_tensor(target, "kl_div")
    if x.shape != target.shape:
        raise ValueError(f"kl_div: x {x.shape} and target {target.shape} must have one shape")
    return _reduce(KLDiv.apply(x, target), reduction, "kl_div")


def gradient_cases(draw):
    """{name: [Case, ...]} of the operations of this file, see `bnas.gradcheck`."""
    x, probabilities = draw.normal, draw.probabilities
    along_axis = [
        Case("last axis", (x(3, 5),), {"axis": 1}),
        Case("first axis", (x(3, 5),), {"axis": 0}),
        Case("large logits", (x(2, 4) + 1000,), {"axis": 1}),
        Case("batch of one", (x(1, 4),), {"axis": 1}),
        Case("non-contiguous", (draw.transposed(4, 3),), {"axis": 1}),
    ]

    def classified(name, weight, ignore_index=-100, label_smoothing=0.0):
        options = {"ignore_index": ignore_index, "label_smoothing": label_smoothing}
        return Case(
            name, (x(4, 5),), {"labels": np.array([0, 4, 2, 2]), "weight": weight, **options}
        )

    return {
        "Softmax": along_axis,
        "LogSoftmax": along_axis,
        "CrossEntropy": [
            classified("plain", np.ones(5)),
            classified("class weights, one class ignored", draw.positive(5), ignore_index=2),
            classified("label smoothing and weights", draw.positive(5), label_smoothing=0.1),
        ],
        "KLDiv": [
            Case("probabilities", (np.log(probabilities(3, 4)), probabilities(3, 4))),
            Case("batch of one", (np.log(probabilities(1, 6)), probabilities(1, 6))),
        ],
    }
