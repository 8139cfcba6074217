"""The cases on which the backward of every fused operation is verified: 8 images of float64 stand side by side."""

from bnas import nn
from bnas.autodiff import Function
from bnas.fused import kernels
from bnas.fused.chains import REAL, Arithmetic, Stage
from bnas.fused.edges import ChainPart, GivenPart
from bnas.gradcheck import Case
from bnas.kernels.windows import POINT, Window


def square(k, stride=1, dilation=1):
    """The window of a depthwise k×k convolution that keeps the size, but for the stride."""
    return Window((k, k), (stride,) * 2, (dilation * (k // 2),) * 2, (dilation,) * 2)


# The windows of a factorised reduction: every second pixel, from the first on and from the second on.
HALVES = Window((1, 1), (2, 2)), Window((1, 1), (2, 2), (1, 1), skip=1)


def operations():
    """Every Function of `bnas.fused`: {name: the Function}."""
    ours = [f for f in Function.__subclasses__() if f.__module__.startswith("bnas.fused.")]
    return {function.__name__: function for function in ours}


def gradient_cases(draw):
    """{operation: [Case, ...]} for all Functions of `bnas.fused`; draw: a Draw of `bnas.gradcheck`."""
    return {**_layout_cases(draw), **_chain_cases(draw), **_edge_cases(draw)}


def _images(draw, batch, *shape):
    return kernels.to_lanes(draw.normal(batch, *shape))


def _layout_cases(draw):
    def pooling(largest, stride, batch, height, width):
        name = f"{'max' if largest else 'avg'}, stride {stride}, {height}×{width}"
        settings = {"largest": largest, "kernel": 3, "stride": stride, "padding": 1}
        return Case(name, (_images(draw, batch, 1, height, width),), settings)

    return {
        "ToLanes": [
            Case("a full block", (draw.normal(8, 2, 2, 3),)),
            Case("three images", (draw.normal(3, 2, 3, 2),)),
            Case("two blocks, the last not full", (draw.normal(10, 1, 2, 2),)),
        ],
        "FromLanes": [
            Case("a full block", (_images(draw, 8, 2, 2, 3),), {"batch": 8}),
            Case("three images", (_images(draw, 3, 2, 3, 2),), {"batch": 3}),
            Case("two blocks, the last not full", (_images(draw, 10, 1, 2, 2),), {"batch": 10}),
        ],
        "MeanOfLanes": [
            Case("a full block", (_images(draw, 8, 2, 2, 3),), {"batch": 8}),
            Case("three images", (_images(draw, 3, 2, 3, 3),), {"batch": 3}),
            Case("two blocks, the last not full", (_images(draw, 10, 2, 2, 1),), {"batch": 10}),
        ],
        "PoolLanes": [
            pooling(largest, *rest)
            for largest in (True, False)
            for rest in ((1, 8, 3, 5), (2, 3, 5, 3), (2, 9, 4, 4), (1, 2, 1, 1))
        ],
    }


def _norm(draw, training, affine=False):
    norm = nn.BatchNorm2d(2, eps=0.1, affine=affine)
    # Near zero, or in evaluation a ReLU after it could be closed to all pixels.
    norm.running_mean, norm.running_var = 0.1 * draw.normal(2), draw.positive(2)
    norm.training = training
    return norm


def _stages(draw, windows, channels=2, training=True, affine=False):
    """(stages, their weights); every stage has 2 channels, shared among its windows."""
    stages, weights = [], []
    for own in windows:
        for window in own:
            if window.kernel != (1, 1):
                weights.append(0.5 * draw.normal(channels, 1, *window.kernel))
            weights.append(0.5 * draw.normal(2 // len(own), channels, 1, 1))
        channels = 2
        stages.append(Stage(own, _norm(draw, training, affine)))
        weights += [draw.normal(2), 0.3 * draw.normal(2)] if affine else []
    return tuple(stages), weights


def _chain_cases(draw):
    def chain(name, batch, size, *windows, surrogate=None, bits=True, base=None, keep=None, **more):
        """A case of FusedChain; with a surrogate its units are 1-bit, without bits in the inputs alone.

        base: the size of the images to add to; keep: whether each sample has a factor.
        """
        stages, weights = _stages(draw, windows, **more)
        base = None if base is None else _images(draw, batch, 2, base, base)
        inputs = _images(draw, batch, more.get("channels", 2), size, size), base, *weights
        arithmetic = REAL if surrogate is None else Arithmetic(True, surrogate, bits)
        keep = draw.positive(batch) if keep else None
        settings = {"arithmetic": arithmetic, "batch": batch, "stages": stages, "keep": keep}
        return Case(name, inputs, settings)

    one, two = (POINT,), (square(3),)
    return {
        "FusedChain": [
            chain("1×1", 8, 3, one, channels=3),
            chain("two stages, ragged", 5, 3, two, two),
            chain("halves side by side", 6, 5, HALVES, channels=3),
            chain("halves, two blocks", 9, 4, HALVES),
            chain("stride 2, 5×5", 8, 5, (square(5, 2),), two),
            chain("evaluation", 3, 3, (square(3, dilation=2),), one, training=False),
            chain("clip", 8, 3, two, two, channels=3, surrogate="clip"),
            chain("polynomial, two blocks", 10, 3, two, one, surrogate="polynomial"),
            chain("identity, stride 2", 5, 5, (square(3, 2),), (square(5),), surrogate="identity"),
            chain("1-bit halves", 6, 5, HALVES, channels=3, surrogate="clip"),
            chain("a norm alone", 5, 3, (), affine=True, base=3, keep=True),
            chain("a norm alone, 1-bit", 9, 3, (), affine=True, surrogate="clip"),
            chain("a norm alone in evaluation", 5, 3, (), affine=True, training=False, keep=True),
            chain("γ and β, added to", 5, 3, two, two, affine=True, base=3, keep=True),
            chain("γ and β in evaluation", 5, 5, two, one, affine=True, training=False),
            chain(
                "1-bit, γ and β",
                9,
                5,
                (square(3, 2),),
                two,
                affine=True,
                base=3,
                keep=True,
                surrogate="clip",
            ),
            chain("1-bit inputs", 6, 3, two, two, affine=True, surrogate="clip", bits=False),
            chain("1-bit inputs, halves", 6, 5, HALVES, surrogate="polynomial", bits=False),
            chain("1-bit evaluation", 3, 3, two, one, training=False, surrogate="clip"),
        ]
    }


def _edge_cases(draw):
    def edge(
        name,
        batch,
        size,
        stride=1,
        *,
        by_sample=False,
        base=True,
        training=True,
        surrogate=None,
        kinds=("none", "skip", "dilated", "max", "avg", "separable", "given"),
    ):
        """A case of FusedEdge with such candidates; with a surrogate its units are 1-bit."""
        arithmetic = REAL if surrogate is None else Arithmetic(True, surrogate)
        out_size = -(-size // stride)
        windows = {
            "skip": [] if stride == 1 else [HALVES],
            "dilated": [(square(3, stride, dilation=2),)],
            "separable": [(square(3, stride),), (square(3),)],
        }
        parts, arrays = [], []
        for kind in kinds:
            if kind == "none":
                parts.append(None)
            elif kind in windows:
                stages, weights = _stages(draw, windows[kind], training=training)
                parts.append(ChainPart(arithmetic, stages, len(weights)))
                arrays += weights
            elif kind == "given":
                parts.append(GivenPart())
                arrays.append(_images(draw, batch, 2, out_size, out_size))
            else:
                images = _images(draw, batch, 2, size, size)
                pooled = kernels.pool_lanes(images, kind == "max", 3, stride, 1)
                moments = kernels.moments(pooled) if training else None
                parts.append(GivenPart(_norm(draw, training), moments))
                arrays.append(pooled)
        shape = (batch, len(parts)) if by_sample else (len(parts),)
        weights = draw.positive(*shape)
        base = _images(draw, batch, 2, out_size, out_size) if base else None
        inputs = weights, base, _images(draw, batch, 2, size, size), *arrays
        return Case(name, inputs, {"batch": batch, "parts": tuple(parts)})

    few = "separable", "given", "skip", "none"
    return {
        "FusedEdge": [  # real ones are small: the ReLUs inside have kinks, which 1-bit units do not
            edge(
                "clip, stride 2, weights of each sample", 5, 12, 2, by_sample=True, surrogate="clip"
            ),
            edge("polynomial, two blocks", 10, 9, surrogate="polynomial"),
            edge("identity, no base", 8, 9, base=False, surrogate="identity"),
            edge("1-bit evaluation", 3, 9, by_sample=True, training=False, surrogate="clip"),
            edge("another order, 1-bit", 5, 6, by_sample=True, surrogate="clip", kinds=few),
            edge("real, shared weights", 5, 3),
            edge("real, weights of each sample, no base", 8, 2, by_sample=True, base=False),
            edge("real, stride 2", 6, 3, 2),
            edge("real, stride 2, weights of each sample, two blocks", 9, 3, 2, by_sample=True),
            edge("real evaluation", 5, 3, by_sample=True, training=False),
            edge("real, another order", 5, 3, kinds=few),
            edge("nothing but what is given", 5, 3, kinds=("given", "max", "skip")),
        ]
    }
