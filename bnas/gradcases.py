"""The cases on which every operation's backward is verified; `bnas gradcheck` runs them.

A case is (what is special about it, inputs, parameters). Every Function of `bnas.functional` must have
some: a test fails for one that has none.
"""

import zlib
from typing import NamedTuple

import numpy as np

from bnas.errors import InputError
from bnas.functional import operations
from bnas.gradcheck import Report, check_gradients
from bnas.kernels.windows import Window


class Case(NamedTuple):
    """One call of an operation: its input arrays (or None) and keyword parameters."""

    name: str
    inputs: tuple
    params: dict = {}


def cases(seed=0):
    """{operation: [Case, ...]} for every operation; the inputs are float64 and random.

    The last case of each is its first once more, on views with gaps between the elements.
    """
    return {
        name: [
            *own,
            own[0]._replace(name="views with gaps", inputs=tuple(map(_gaps, own[0].inputs))),
        ]
        for name, own in _written_cases(seed).items()
    }


def _gaps(array):
    """The same values as a non-contiguous view."""
    if array is None or array.ndim == 0:
        return array
    return np.repeat(array, 2, axis=-1)[..., ::2]


def _written_cases(seed):
    rng = np.random.default_rng((seed, zlib.crc32(b"gradcases")))
    x = rng.standard_normal

    def positive(*shape):
        return rng.uniform(0.5, 2.0, shape)

    def probabilities(*shape):
        p = positive(*shape)
        return p / p.sum(axis=-1, keepdims=True)

    def transposed(*shape):
        """A non-contiguous view of that shape."""
        return x(shape[::-1]).T

    def window(kernel, *rest, groups=1):
        return {"window": Window(kernel, *rest), "groups": groups}

    def pool(kernel, stride, padding, **more):
        return {"kernel": kernel, "stride": stride, "padding": padding, **more}

    one = (1, 1)
    binary = [
        Case("equal shapes", (x((3, 4)), positive(3, 4))),
        Case("a row and a column", (x((1, 4)), positive(3, 1))),
        Case("a scalar", (x((2, 3)), positive())),
        Case("more axes on the right", (x((3,)), positive(2, 2, 3))),
        Case("non-contiguous", (transposed(3, 5), positive(3, 5))),
    ]
    unary = [
        Case("plain", (x((3, 4)),)),
        Case("one element", (x((1,)),)),
        Case("non-contiguous", (transposed(4, 3),)),
    ]
    reductions = [
        Case("all axes", (x((3, 4)),), {"axis": (0, 1), "keepdims": False}),
        Case("middle axis kept", (x((2, 3, 4)),), {"axis": (1,), "keepdims": True}),
        Case("two axes", (x((2, 3, 4)),), {"axis": (0, 2), "keepdims": False}),
        Case("non-contiguous", (transposed(3, 4),), {"axis": (0,), "keepdims": False}),
        Case("batch of one", (x((1, 3)),), {"axis": (0,), "keepdims": False}),
    ]
    along_axis = [
        Case("last axis", (x((3, 5)),), {"axis": 1}),
        Case("first axis", (x((3, 5)),), {"axis": 0}),
        Case("large logits", (x((2, 4)) + 1000,), {"axis": 1}),
        Case("batch of one", (x((1, 4)),), {"axis": 1}),
        Case("non-contiguous", (transposed(4, 3),), {"axis": 1}),
    ]
    convolutions = [
        Case("3×3", (x((2, 3, 5, 5)), x((4, 3, 3, 3)), x((4,))), window()),
        Case("padded, stride 2, odd size", (x((1, 2, 7, 5)), x((3, 2, 3, 3)), None), window((2, 2), one)),
        Case("pairs that differ", (x((2, 2, 6, 7)), x((2, 2, 3, 2)), x((2,))), window((2, 1), (1, 2), (1, 2))),
        Case("dilation 2", (x((2, 2, 7, 7)), x((2, 2, 3, 3)), None), window(padding=(2, 2), dilation=(2, 2))),
        Case("1×1", (x((2, 5, 3, 3)), x((4, 5, 1, 1)), None), window()),
        Case("1×1, stride 2", (x((2, 3, 5, 5)), x((2, 3, 1, 1)), None), window((2, 2))),
        Case("two groups", (x((2, 4, 4, 4)), x((6, 2, 3, 3)), x((6,))), window(padding=one, groups=2)),
        Case("depthwise 3×3", (x((2, 3, 5, 5)), x((3, 1, 3, 3)), x((3,))), window(padding=one, groups=3)),
        Case("depthwise 5×5, stride 2", (x((2, 2, 7, 7)), x((2, 1, 5, 5)), None), window((2, 2), (2, 2), one, 2)),
        Case("depthwise, dilation 2", (x((1, 2, 6, 6)), x((2, 1, 3, 3)), None), window(one, (2, 2), (2, 2), 2)),
        Case("depthwise, two outputs each", (x((2, 2, 4, 4)), x((4, 1, 3, 3)), None), window(padding=one, groups=2)),
        Case("one channel", (x((2, 1, 4, 4)), x((1, 1, 3, 3)), None), window(padding=one)),
        Case("70 channels", (x((1, 70, 3, 3)), x((2, 70, 3, 3)), None), window(padding=one)),
        Case("non-contiguous", (transposed(2, 2, 5, 5), transposed(3, 2, 3, 3), None), window()),
    ]  # fmt: skip
    bits = [
        Case(
            case.name, (case.inputs[0], case.inputs[1], positive(len(case.inputs[1]))), case.params
        )
        for case in convolutions
    ]
    return {
        "Add": binary,
        "Sub": binary,
        "Mul": binary,
        "Div": binary,
        "Neg": unary,
        "Exp": unary,
        "Tanh": unary,
        "ReLU": unary,
        "Log": [Case(case.name, (np.abs(case.inputs[0]) + 0.5,)) for case in unary],
        "Pow": [
            Case("cube", (x((3, 4)),), {"exponent": 3.0}),
            Case("square root", (positive(3, 4),), {"exponent": 0.5}),
            Case("reciprocal, non-contiguous", (positive(4, 3).T,), {"exponent": -1.0}),
        ],
        "PReLU": [
            Case("slope of each channel", (x((2, 3, 4)), x((3,)))),
            Case("one slope", (x((2, 3, 2, 2)), x((1,)))),
            Case("one channel, batch of one", (-positive(1, 1, 3), x((1,)))),
            Case("non-contiguous", (transposed(4, 3), x((3,)))),
        ],
        "Clip": [
            Case("both bounds", (x((5, 5)),), {"low": -0.5, "high": 0.7}),
            Case("lower bound only", (x((5, 5)),), {"low": 0.0, "high": np.inf}),
        ],
        "Sum": reductions,
        "Mean": reductions,
        "Max": reductions,
        "Reshape": [
            Case("to a matrix", (x((2, 3, 4)),), {"shape": (6, 4)}),
            Case("non-contiguous", (transposed(4, 3),), {"shape": (2, 6)}),
        ],
        "Transpose": [
            Case("a cycle", (x((2, 3, 4)),), {"order": (1, 2, 0)}),
            Case("a swap", (x((2, 3, 4)),), {"order": (0, 2, 1)}),
        ],
        "Concat": [
            Case("channels", (x((2, 1, 2)), x((2, 3, 2)), x((2, 2, 2))), {"axis": 1}),
            Case("non-contiguous", (transposed(2, 3), x((2, 3))), {"axis": 0}),
        ],
        "Slice": [
            Case("steps", (x((4, 5)),), {"index": (slice(1, None, 2), slice(None, None, 2))}),
            Case("an int and an ellipsis", (x((3, 4, 2)),), {"index": (1, ..., 0)}),
            Case("an index twice", (x((4, 2)),), {"index": np.array([0, 2, 2])}),
            Case("a mask", (x((5,)),), {"index": np.array([True, False, True, True, False])}),
        ],
        "Pad": [
            Case("batch of one", (x((1, 2, 2)),), {"widths": ((0, 0), (1, 0), (2, 1)), "value": 0.0}),
            Case("uneven", (x((2, 3, 3)),), {"widths": ((0, 0), (1, 2), (0, 1)), "value": 0.5}),
        ],
        "MatMul": [
            Case("matrices", (x((3, 4)), x((4, 2)))),
            Case("a batch by one matrix", (x((2, 3, 4)), x((4, 2)))),
            Case("broadcast batches", (x((2, 1, 2, 3)), x((3, 3, 2)))),
            Case("one row", (x((1, 4)), x((4, 2)))),
            Case("non-contiguous", (transposed(3, 4), transposed(4, 3))),
        ],
        "Linear": [
            Case("with bias", (x((3, 4)), x((2, 4)), x((2,)))),
            Case("leading axes", (x((2, 3, 4)), x((2, 4)), None)),
            Case("batch of one", (x((1, 4)), x((1, 4)), x((1,)))),
        ],
        "Conv2d": convolutions,
        "XnorConv2d": bits,
        "MaxPool2d": [
            Case("3×3, padded", (x((2, 2, 5, 5)),), pool((3, 3), one, one, dilation=one)),
            Case("stride 2, odd", (x((1, 3, 7, 5)),), pool((3, 3), (2, 2), one, dilation=one)),
            Case("dilation 2", (x((1, 1, 6, 6)),), pool((2, 2), one, (0, 0), dilation=(2, 2))),
            Case("1×1 image", (x((2, 3, 1, 1)),), pool((3, 3), one, one, dilation=one)),
            Case("70 channels", (x((1, 70, 3, 3)),), pool((3, 3), one, one, dilation=one)),
            Case("non-contiguous", (transposed(2, 2, 5, 4),), pool((2, 3), (2, 1), (1, 0), dilation=one)),
        ],
        "AvgPool2d": [
            Case("3×3, padding counted", (x((2, 2, 5, 5)),), pool((3, 3), one, one, count_include_pad=True)),
            Case("padding not counted", (x((2, 2, 5, 5)),), pool((3, 3), one, one, count_include_pad=False)),
            Case("stride 2, odd", (x((1, 3, 7, 5)),), pool((3, 3), (2, 2), one, count_include_pad=False)),
            Case("1×1 image", (x((2, 3, 1, 1)),), pool((3, 3), one, one, count_include_pad=False)),
            Case("70 channels", (x((1, 70, 3, 3)),), pool((3, 3), one, one, count_include_pad=True)),
            Case("non-contiguous", (transposed(2, 2, 5, 4),), pool((2, 3), (2, 1), (1, 0), count_include_pad=True)),
        ],
        "BatchNorm": [
            Case("affine", (x((4, 3, 2, 2)), x((3,)), x((3,))), {"eps": 1e-5}),
            Case("plain", (x((3, 2, 3, 3)), None, None), {"eps": 1e-5}),
            Case("one channel", (x((3, 1, 2, 3)), x((1,)), x((1,))), {"eps": 1e-5}),
            Case("large mean", (x((4, 2, 3, 3)) + 1000, x((2,)), x((2,))), {"eps": 1e-5}),
            Case("batch of one", (x((1, 2, 3, 3)), x((2,)), x((2,))), {"eps": 1e-3}),
            Case("70 channels", (x((2, 70, 2, 2)), x((70,)), x((70,))), {"eps": 1e-2}),
            Case("non-contiguous", (transposed(3, 2, 3, 2), x((2,)), x((2,))), {"eps": 1e-5}),
        ],
        "BatchNormEvaluation": [
            Case("affine", (x((2, 3, 2, 2)), x((3,)), x((3,))), {"mean": x((3,)), "var": positive(3), "eps": 1e-5}),
            Case("plain", (x((1, 2, 3, 3)), None, None), {"mean": x((2,)), "var": positive(2), "eps": 1e-5}),
        ],
        "Dropout": [
            Case("elements", (x((3, 4)),), {"mask": 2.0 * rng.integers(0, 2, (3, 4))}),
            Case("samples", (x((4, 2, 2)),), {"mask": np.array([2.0, 0, 2, 2]).reshape(4, 1, 1)}),
        ],
        "Softmax": along_axis,
        "LogSoftmax": along_axis,
        "CrossEntropy": [
            Case(name, (x((4, 5)),), {
                "labels": np.array([0, 4, 2, 2]), "weight": weight, "ignore_index": ignored,
                "label_smoothing": smoothing,
            })
            for name, weight, ignored, smoothing in (
                ("plain", np.ones(5), -100, 0.0),
                ("class weights, one class ignored", positive(5), 2, 0.0),
                ("label smoothing and weights", positive(5), -100, 0.1),
            )
        ],
        "KLDiv": [
            Case("probabilities", (np.log(probabilities(3, 4)), probabilities(3, 4))),
            Case("batch of one", (np.log(probabilities(1, 6)), probabilities(1, 6))),
        ],
        "SignSTE": [
            Case(surrogate, (x((6, 7)),), {"surrogate": surrogate, "temperature": 2.5})
            for surrogate in ("clip", "identity", "polynomial", "tanh")
        ],
        "ReconstructionLoss": [
            Case("closed form", (x((3, 2, 3, 3)), None)),
            Case("learned scale", (x((3, 2, 3, 3)), positive(3))),
            Case("70 channels, 1×1", (x((2, 70, 1, 1)), positive(2))),
            Case("one output channel", (x((1, 3, 2, 2)), positive(1))),
            Case("three layers", (x((3, 2, 3, 3)), None, x((2, 5, 1, 1)), positive(2), transposed(2, 4), None)),
            Case("three learned scales", (x((2, 3)), positive(2), x((1, 1)), positive(1), x((3, 2)), positive(3))),
        ],
        "MixedSum": [
            Case("shared weights", (probabilities(3), x((2, 2, 3)), x((2, 2, 3)), x((2, 2, 3)))),
            Case("weights of each sample", (probabilities(4, 2), x((4, 3)), x((4, 3)))),
            Case("batch of one, 4 axes", (probabilities(1, 2), x((1, 2, 2, 2)), x((1, 2, 2, 2)))),
            Case("non-contiguous", (probabilities(2), transposed(3, 4), transposed(3, 4))),
        ],
    }  # fmt: skip


def check_case(function, case, seed=0):
    """Verify the backward of the Function `function` on one case; returns a Report, raises GradientError."""
    inputs = function.off_kinks(*case.inputs, **case.params)
    surrogate = None
    if function.surrogate is not None:
        surrogate = function.surrogate(*inputs, **case.params)

    def apply(*tensors):
        return function.apply(*tensors, **case.params)

    return check_gradients(apply, inputs, np.random.default_rng(seed), surrogate)


def check_all(only=None, seed=0, quick=False):
    """Check every operation, or the one called `only`; with `quick`, its first case alone.

    Returns:
        (table, failures): text with a row an operation, and the number of failed cases.
    """
    functions = operations()
    if only is not None and only not in functions:
        raise InputError(f"no operation {only!r}; expected one of {', '.join(sorted(functions))}")
    names = sorted(functions) if only is None else [only]
    chosen = {name: cases(seed)[name][: 1 if quick else None] for name in names}
    lines = [f"{'operation':<20}{'cases':>6}  {'gradient':<10}{'worst error':>12}"]
    failures, worst = [], Report(0.0, 0.0, 0.0)
    for name in names:
        reports = []
        for case in chosen[name]:
            try:
                reports.append(check_case(functions[name], case, seed))
            except Exception as error:  # a backward may be wrong in any way; the table goes on
                failures.append(f"{name}, {case.name}: {type(error).__name__}: {error}")
        kind = "exact" if functions[name].surrogate is None else "surrogate"
        passed = len(reports) == len(chosen[name])
        largest = max(reports, default=worst)
        worst = max(worst, largest)
        shown = f"{largest.error:.1e}" if passed else "FAILED"
        lines.append(f"{name:<20}{len(chosen[name]):>6}  {kind:<10}{shown:>12}")
    total = sum(len(chosen[name]) for name in names)
    lines.append(f"{len(names)} operations, {total} cases, {len(failures)} failed")
    lines.append(f"worst relative error of those that passed: {worst.error:.1e}")
    return "\n".join(lines + failures), len(failures)
