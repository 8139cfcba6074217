"""The cases on which the backward of every operation in lanes is verified; see `bnas.gradcheck`."""

from bnas.functional import Call, Edge, Norm, Stage
from bnas.gradcheck import Case
from bnas.kernels import moments, pool_lanes, to_lanes


def gradient_cases(draw):
    """{operation: [Case, ...]} of the operations in lanes: 8 images of float64 stand side by side."""
    x, positive = draw.normal, draw.positive

    def images(batch, *shape):
        return to_lanes(x(batch, *shape))

    def norm(training, affine=False):
        return Norm(x(2), positive(2), momentum=0.1, eps=0.1, training=training, affine=affine)

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
                    weights.append(0.5 * x(channels, 1, *kernel))
                weights.append(0.5 * x(2 // len(own), channels, 1, 1))
            channels = 2
            stages.append(Stage(own, norm(training, affine)))
            weights += [x(2), 0.3 * x(2)] if affine else []
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
            Case("a full block", (x(8, 2, 2, 3),)),
            Case("three images", (x(3, 2, 3, 2),)),
            Case("two blocks, the last not full", (x(10, 1, 2, 2),)),
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
