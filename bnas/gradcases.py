"""The cases on which every operation's backward is verified; `bnas gradcheck` runs them.

A case is (what is special about it, inputs, parameters). Every Function of `bnas.functional` must have
some: a test fails for one that has none.
"""

import zlib
from typing import NamedTuple

import numpy as np

from bnas.errors import InputError
from bnas.functional import Call, Edge, Norm, Stage, operations
from bnas.functional.conv import Window
from bnas.gradcheck import Report, check_gradients
from bnas.kernels import moments, pool_lanes, to_lanes


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

    def window(stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1):
        return {"window": Window(stride, padding, dilation, groups)}

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
        **_lane_cases(x, positive),
    }  # fmt: skip


def _lane_cases(x, positive):
    """Cases of the operations in lanes: 8 images of float64 stand side by side."""

    def images(batch, *shape):
        return to_lanes(x((batch, *shape)))

    def norm(training, affine=False):
        return Norm(x((2,)), positive(2), momentum=0.1, eps=0.1, training=training, affine=affine)

    point = ((1, 1), 1, (0, 0), 1, None)

    def square(k, stride=1, dilation=1):
        """The window of a depthwise k×k convolution that keeps the size, but for the stride."""
        return ((k, k), stride, (dilation * (k // 2),) * 2, dilation, None)

    def halves(size):
        """The windows of FactorizedReduce on images of size × size."""
        return tuple(((1, 1), 2, (-i, -i), 1, ((size + 1) // 2,) * 2) for i in (0, 1))

    def stages_of(*windows, channels=2, training=True, affine=False):
        """(stages, their weights); every stage has 2 channels, shared among its windows."""
        stages, weights = [], []
        for own in windows:
            for kernel, *_ in own:
                if kernel != (1, 1):
                    weights.append(0.5 * x((channels, 1, *kernel)))
                weights.append(0.5 * x((2 // len(own), channels, 1, 1)))
            channels = 2
            stages.append(Stage(own, norm(training, affine)))
            weights += [x((2,)), 0.3 * x((2,))] if affine else []
        return tuple(stages), weights

    def chain(name, batch, size, *windows, surrogate=None, bits=True, base=None, keep=None, **more):
        """A case of ChainNorm; with a surrogate its units are 1-bit, without bits in the inputs alone.

        base: the size of the images to add to; keep: whether each sample has a factor.
        """
        stages, weights = stages_of(*windows, **more)
        call = Call(batch, surrogate is not None, surrogate, bits)
        base = None if base is None else images(batch, 2, base, base)
        keep = positive(batch) if keep else None
        inputs = images(batch, more.get("channels", 2), size, size), base, *weights
        return Case(name, inputs, {"call": call, "stages": stages, "keep": keep})

    def edge(name, batch, size, stride=1, *, by_sample=False, base=True, training=True, surrogate=None):
        """A case of MixedEdge with a candidate of each kind; with a surrogate its units are 1-bit."""

        def candidate(*windows):
            return stages_of(*windows, training=training)

        skip = candidate(halves(size)) if stride == 2 else ((), [])
        dilated = candidate((square(3, stride, dilation=2),))
        separable = candidate((square(3, stride),), (square(3),))
        stages, weights = zip(skip, dilated, separable)
        norms = norm(training), norm(training)
        state = images(batch, 2, size, size)
        pools = [pool_lanes(images(batch, 2, size, size), largest, 3, stride, 1) for largest in (True, False)]
        inputs = (
            positive(*(batch, 5)[not by_sample :]), images(batch, *pools[0].shape[1:4]) if base else None,
            state, *pools, *(w for own in weights for w in own),
        )  # fmt: skip
        return Case(name, inputs, {
            "call": Call(batch, surrogate is not None, surrogate),
            "edge": Edge(stages[0], stages[1:2], stages[2:], norms),
            "pool_moments": tuple(map(moments, pools)),
        })  # fmt: skip

    return {
        "ToLanes": [
            Case("a full block", (x((8, 2, 2, 3)),)),
            Case("three images", (x((3, 2, 3, 2)),)),
            Case("two blocks, the last not full", (x((10, 1, 2, 2)),)),
        ],
        "MeanOfLanes": [
            Case("a full block", (images(8, 2, 2, 3),), {"batch": 8}),
            Case("three images", (images(3, 2, 3, 3),), {"batch": 3}),
            Case("two blocks, the last not full", (images(10, 2, 2, 1),), {"batch": 10}),
        ],
        "PoolLanes": [
            Case(
                f"{'max' if largest else 'avg'}, stride {stride}, {height}×{width}",
                (images(batch, 1, height, width),), {"largest": largest, "stride": stride},
            )
            for largest in (True, False)
            for stride, batch, height, width in ((1, 8, 3, 5), (2, 3, 5, 3), (2, 9, 4, 4), (1, 2, 1, 1))
        ],
        "ChainNorm": [
            chain("1×1", 8, 3, (point,), channels=3),
            chain("two stages, ragged", 5, 3, (square(3),), (square(3),)),
            chain("halves side by side", 6, 5, halves(5), channels=3),
            chain("halves, two blocks", 9, 4, halves(4)),
            chain("stride 2, 5×5", 8, 5, (square(5, 2),), (square(3),)),
            chain("evaluation", 3, 3, (square(3, dilation=2),), (point,), training=False),
            chain("clip", 8, 3, (square(3),), (square(3),), channels=3, surrogate="clip"),
            chain("polynomial, two blocks", 10, 3, (square(3),), (point,), surrogate="polynomial"),
            chain("identity, stride 2", 5, 5, (square(3, 2),), (square(5),), surrogate="identity"),
            chain("1-bit halves", 6, 5, halves(5), channels=3, surrogate="clip"),
            chain("a norm alone", 5, 3, (), affine=True, base=3, keep=True),
            chain("a norm alone, 1-bit call", 9, 3, (), affine=True, surrogate="clip"),
            chain("a norm alone in evaluation", 5, 3, (), affine=True, training=False, keep=True),
            chain("γ and β, added to", 5, 3, (square(3),), (square(3),), affine=True, base=3, keep=True),
            chain("γ and β in evaluation", 3, 3, (square(3),), (point,), affine=True, training=False),
            chain("1-bit, γ and β", 9, 5, (square(3, 2),), (square(3),), affine=True, base=3, keep=True,
                  surrogate="clip"),
            chain("1-bit inputs", 6, 3, (square(3),), (square(3),), affine=True,
                  surrogate="clip", bits=False),
            chain("1-bit inputs, halves", 6, 5, halves(5), surrogate="polynomial", bits=False),
            chain("1-bit evaluation", 3, 3, (square(3),), (point,), training=False, surrogate="clip"),
        ],
        "MixedEdge": [  # real ones are small: the ReLUs inside have kinks, which 1-bit units do not
            edge("clip, stride 2, weights of each sample", 5, 12, 2, by_sample=True, surrogate="clip"),
            edge("polynomial, two blocks", 10, 9, surrogate="polynomial"),
            edge("identity, no base", 8, 9, base=False, surrogate="identity"),
            edge("1-bit evaluation", 3, 9, by_sample=True, training=False, surrogate="clip"),
            edge("real, shared weights", 5, 3),
            edge("real, weights of each sample, no base", 8, 2, by_sample=True, base=False),
            edge("real, stride 2", 6, 3, 2),
            edge("real, stride 2, weights of each sample, two blocks", 9, 3, 2, by_sample=True),
            edge("real evaluation", 5, 3, by_sample=True, training=False),
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
