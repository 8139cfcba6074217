"""A compiled network computes what the plain one does: logits, all gradients, running statistics.

Over random sizes, batches, search spaces and genotypes, in float64 to rounding. 1-bit networks need no special
care: where an integer is the mean of its channel (a tie), both give the same sign.
"""

import importlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bnas.functional as F
from bnas import fused, nn
from bnas.autodiff import Tensor, no_grad
from bnas.fused.chains import REAL as REAL_UNITS
from bnas.fused.chains import Stage, fused_chain
from bnas.space import (
    BINARY,
    OPERATIONS,
    PRIMITIVES,
    PUBLISHED,
    REAL,
    Genotype,
    Network,
    Operation,
    Precision,
    Supernet,
    register_operation,
)
from bnas.space.network import FixedCell
from bnas.space.operations import Pool, Separable
from bnas.space.supernet import MixedCell

compiler = importlib.import_module("bnas.fused.compile")  # bnas.fused.compile is the function
few = settings(max_examples=12, deadline=None)
seeds = st.integers(0, 2**32 - 1)
PRECISIONS = {
    "real": REAL,
    "clip": BINARY,
    "polynomial": Precision(True, "polynomial"),
    "identity": Precision(True, "identity"),
    "tanh": Precision(True, "tanh"),
    "learned": Precision(True, beta="learned"),
}


def normal(seed, *shape, dtype=np.float64):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


class SwishConv(Operation):
    """An operation that nobody but this test knows."""

    def __init__(self, channels, stride, precision, affine, rng):
        self.conv = precision.conv(channels, channels, 3, stride=stride, padding=1, rng=rng)
        self.bn = nn.BatchNorm2d(channels, affine=affine)

    def forward(self, x):
        return F.tanh(self.bn(self.conv(x)))


@pytest.fixture(autouse=True, scope="module")
def own_operation():
    register_operation("swish_conv", SwishConv)
    yield
    del OPERATIONS["swish_conv"]


def passes(net, model, x, labels, alpha=None):
    """Logits, gradients and statistics of one pass of `model`, forward and backward."""
    logits = model(x) if alpha is None else model(x, alpha)
    F.cross_entropy(logits, labels).backward()
    gradients = {name: p.grad for name, p in net.named_parameters() if p.grad is not None}
    if alpha is not None:
        gradients["alpha of each sample"] = alpha.grad
    state = {f"state {name}": array for name, array in net.state_dict().items()}
    return {"logits": logits.data, **gradients, **state}


def assert_same(ours, theirs, least):
    """Close relative to the largest entry, or to `least` where all are smaller.

    Rounding errors go back through the network as gradients do: `least` is in units of the largest
    gradient, where that is above 1.
    """
    assert ours.keys() == theirs.keys()
    least *= max(1.0, *(np.abs(a).max() for n, a in theirs.items() if not n.startswith("state")))
    for name, expected in theirs.items():
        limit = 1e-8 * max(np.abs(expected).max(), least)
        np.testing.assert_allclose(ours[name], expected, rtol=0, atol=limit, err_msg=name)


search_spaces = st.one_of(
    st.just(PRIMITIVES),
    st.lists(
        st.sampled_from([*OPERATIONS, "swish_conv"]), min_size=1, max_size=5, unique=True
    ).filter(lambda names: names != ["none"]),
)


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS.values(), ids=PRECISIONS)
@few
@given(
    search_spaces,
    st.integers(2, 19),
    st.integers(4, 8),
    st.integers(2, 4),
    st.integers(1, 3),
    st.integers(2, 4),
    st.booleans(),
    st.booleans(),
    seeds,
)
def test_a_compiled_supernet_is_the_plain_one(
    precision, operations, batch, size, channels, nodes, layers, training, per_sample, seed
):
    x, labels = (
        normal(seed, batch, 1, size, size),
        np.random.default_rng(seed).integers(0, 3, batch),
    )
    results = []
    for make in (lambda net: net, fused.compile):
        rng = np.random.default_rng(seed)
        net = Supernet(1, 3, channels, layers, nodes, precision, rng, operations)
        model = make(net.astype(np.float64))
        alpha = None
        if per_sample:
            alpha = Tensor(normal(seed, batch, *net.alpha.shape), requires_grad=True)
        with no_grad():
            model(x)  # moves the running statistics
        results.append(passes(net, model.train(training), x, labels, alpha))
    assert_same(results[1], results[0], 1e-6)


@st.composite
def genotypes(draw):
    """Random genotypes of 1 or 2 nodes, of all operations but one of the poolings.

    1-bit operations give few values: means of the same ones in another order differ by rounding, and which
    of them is the maximum would be left to chance.
    """
    left_out = "none", draw(st.sampled_from(["max_pool_3x3", "avg_pool_3x3"]))
    names = [name for name in [*OPERATIONS, "swish_conv"] if name not in left_out]
    nodes = draw(st.integers(1, 2))

    def cell():
        return tuple(
            (draw(st.sampled_from(names)), predecessor)
            for node in range(nodes)
            for predecessor in draw(st.permutations(range(node + 2)))[:2]
        )

    concat = tuple(range(2, nodes + 2))
    return Genotype(cell(), concat, cell(), concat)


@pytest.mark.slow
@pytest.mark.parametrize("binary_weights", [True, False])
@pytest.mark.parametrize("precision", PRECISIONS.values(), ids=PRECISIONS)
@settings(max_examples=6, deadline=None)
@given(
    genotypes(),
    st.integers(2, 19),
    st.integers(4, 8),
    st.integers(1, 4),
    st.integers(1, 4),
    st.sampled_from([0, 0.3]),
    seeds,
)
def test_a_compiled_network_is_the_plain_one(
    precision, binary_weights, genotype, batch, size, channels, layers, drop_path, seed
):
    """With any γ and β."""
    x, labels = (
        normal(seed, batch, 1, size, size),
        np.random.default_rng(seed).integers(0, 3, batch),
    )
    results = []
    for make in (lambda net: net, fused.compile):
        rng = np.random.default_rng(seed)
        net = Network(genotype, 1, 3, 2 * channels, layers, precision, rng, drop_path)
        net.astype(np.float64)
        net.binarise_weights(binary_weights)
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.data, module.bias.data = rng.standard_normal(
                    (2, len(module.bias.data))
                )
        results.append(passes(net, make(net), x, labels))
    assert_same(results[1], results[0], 1e-3)  # two values a channel leave rounding errors alone


# ------------------------------------------------------------------------------------- what is fused


@pytest.fixture
def crossings(monkeypatch):
    """{"in": times images went into lanes, "out": times a part had them out again} of a forward pass."""
    counts = {"in": 0, "out": 0}

    def counted(way, function):
        def call(*arguments):
            counts[way] += 1
            return function(*arguments)

        return call

    monkeypatch.setattr(compiler, "to_lanes", counted("in", compiler.to_lanes))
    monkeypatch.setattr(compiler, "from_lanes", counted("out", compiler.from_lanes))
    return counts


IMAGES = normal(0, 4, 1, 8, 8, dtype=np.float32)


def found(name, precision=BINARY):
    return Network(PUBLISHED[name], 1, 3, 4, 3, precision, np.random.default_rng(0))


def supernet(precision=BINARY, operations=PRIMITIVES):
    return Supernet(1, 3, 2, 3, 2, precision, np.random.default_rng(0), operations)


def test_only_what_is_not_known_is_computed_in_NCHW(crossings):
    """Else a change of a type's name would make all training slow, and no result would show it."""

    def outside(net):
        crossings.update({"in": 0, "out": 0})
        fused.compile(net)(IMAGES)
        assert crossings["in"] >= 1
        return crossings["out"]

    for precision in (REAL, BINARY, Precision(True, "polynomial"), Precision(True, "identity")):
        assert outside(supernet(precision)) == 0
        assert outside(found("DARTS_V2", precision)) == 0
    assert outside(found("AmoebaNet", BINARY)) == 2  # its 7×1, in each of two reductions
    for precision in (Precision(True, "tanh"), Precision(True, beta="learned")):
        net = supernet(precision, ["sep_conv_3x3", "max_pool_3x3", "none"])
        assert outside(net) == sum(
            2 + (cell.nodes > 1) for cell in net.cells
        )  # once for each state


def test_a_network_is_evaluated_as_it_is(crossings):
    """A packed network repeats the bits of an evaluation, which in lanes come in another order."""
    net = found("DARTS_V2").eval()
    np.testing.assert_array_equal(fused.compile(net)(IMAGES).data, net(IMAGES).data)
    assert crossings == {"in": 0, "out": 0}


def patch(part):
    """Let a part, called by itself, give twice as much."""
    forward = part.forward
    part.forward = lambda x: forward(x) * 2.0


class Doubled(Separable):
    def forward(self, x):
        return super().forward(x) * 2.0


CHANGES = {
    "operation": lambda operation: patch(operation),
    "convolution": lambda operation: patch(operation.depthwise),
    "norm": lambda operation: patch(operation.bn),
    "class": lambda operation: setattr(operation, "__class__", Doubled),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_part_that_was_given_another_forward_is_heeded(change):
    net = found("DARTS_V2", REAL).astype(np.float64)
    images = IMAGES.astype(np.float64)
    before = net(images).data
    change(next(m for m in net.modules() if isinstance(m, Separable)))
    expected = net(images).data
    assert not np.allclose(expected, before)
    np.testing.assert_allclose(fused.compile(net)(images).data, expected, rtol=1e-8, atol=1e-10)


def test_weights_of_which_some_are_1_bit_and_others_real():
    net = found("DARTS_V2").astype(np.float64)
    layers = [m for m in net.modules() if isinstance(m, nn.XnorConv2d)]
    model = fused.compile(net)
    for layer in layers[::2]:
        layer.binary_weights = False  # after compiling
    images = IMAGES.astype(np.float64)
    np.testing.assert_allclose(model(images).data, net(images).data, rtol=1e-8, atol=1e-10)


def test_a_compiled_model_is_its_model():
    net = supernet()
    model = fused.compile(net)
    assert model.alpha is net.alpha and model.parameters() == net.parameters()
    assert model.state_dict().keys() == net.state_dict().keys()
    with nn.evaluating(model):
        assert not net.training and not net.cells[0].edges[0][2].bn.training
    assert net.training
    net.eval()
    with nn.evaluating(model):
        pass
    assert not net.training
    state = supernet().state_dict()
    state["alpha"] += 1
    model.load_state_dict(state)
    np.testing.assert_array_equal(net.alpha.data, state["alpha"])
    with pytest.raises(AttributeError, match="nonsense"):
        model.nonsense


def test_any_other_module_is_returned_as_it_is():
    class Own(Supernet):
        def forward(self, x, alpha=None):
            return super().forward(x, alpha) * 2.0

    own = Own(1, 3, 2, 3, 1, REAL, np.random.default_rng(0))
    layer = nn.Linear(2, 3, rng=np.random.default_rng(0))
    assert fused.compile(layer) is layer and fused.compile(own) is own


def test_a_cell_of_another_class_is_computed_by_itself(crossings):
    class Doubled(MixedCell):
        def forward(self, older, newer, weights):
            return super().forward(older, newer, weights) * 2.0

    net = supernet(REAL).astype(np.float64)
    net.cells[1].__class__ = Doubled
    images = IMAGES.astype(np.float64)
    expected = net(images).data
    np.testing.assert_allclose(fused.compile(net)(images).data, expected, rtol=1e-10, atol=1e-12)
    assert crossings["out"] == 2


def test_an_operation_with_gamma_and_beta_has_a_place_in_a_supernet():
    def affine(channels, stride, precision, affine, rng):
        return Separable(channels, stride, precision, True, rng, 3)

    def pooling(channels, stride, precision, affine, rng):
        return Pool(channels, stride, precision, True, rng, "max")

    for name, build in (("affine_conv", affine), ("affine_pool", pooling)):
        register_operation(name, build)
    try:
        net = supernet(REAL, ["affine_conv", "affine_pool", "skip_connect"]).astype(np.float64)
    finally:
        del OPERATIONS["affine_conv"], OPERATIONS["affine_pool"]
    labels, images = np.array([0, 1, 2, 0]), IMAGES.astype(np.float64)
    results = []
    for model in (net, fused.compile(net)):
        net.zero_grad()
        results.append(passes(net, model, images, labels))
    running = [
        name for name in results[0] if "running" in name
    ]  # moved once more by the second pass
    assert_same(*({k: v for k, v in r.items() if k not in running} for r in results), 1e-6)


@pytest.mark.parametrize("prepare", [lambda net: net, fused.compile], ids=["plain", "fused"])
def test_one_value_per_channel_has_no_variance(prepare):
    model = prepare(Supernet(1, 3, 2, 3, 1, REAL, np.random.default_rng(0)))
    with pytest.raises(ValueError, match="1 value per channel has no variance"):
        model(normal(0, 1, 1, 4, 4, dtype=np.float32))


def test_chains_refuse_what_does_not_fit():
    x = compiler.to_lanes(Tensor(normal(0, 3, 2, 4, 4)))
    bn = nn.BatchNorm2d(2).astype(np.float64)
    stage = Stage((), bn)
    weights, real = [bn.weight, bn.bias], REAL_UNITS
    with pytest.raises(ValueError, match="1 weights for stages that take 2"):
        fused_chain(x, weights[:1], real, 3, (stage,))
    smaller = compiler.to_lanes(Tensor(normal(0, 3, 2, 2, 2)))
    with pytest.raises(ValueError, match="is added to"):
        fused_chain(x, weights, real, 3, (stage,), base=smaller)
    with pytest.raises(ValueError, match="the only one"):
        fused_chain(x, weights * 2, real, 3, (stage, stage))


class TwiceFixed(FixedCell):
    def forward(self, older, newer, drop_path):
        return super().forward(older, newer, drop_path) * 2.0


def test_a_cell_of_another_class_in_a_found_network():
    results = []
    for prepare in (lambda net: net, fused.compile):
        net = found("DARTS_V2", REAL).astype(np.float64)
        net.drop_path, net.path_rng = 0.3, np.random.default_rng(1)
        net.cells[1].__class__ = TwiceFixed
        results.append(prepare(net)(IMAGES.astype(np.float64)).data)
    np.testing.assert_allclose(results[1], results[0], rtol=1e-8, atol=1e-10)


REPLACED = {  # parts that kernels for depthwise and 1×1 convolutions would read beyond their ends
    "depthwise": ("depthwise", {"kernel_size": 3, "padding": 1}),
    "pointwise": ("pointwise", {"kernel_size": 3, "padding": 1}),
    "groups": ("pointwise", {"kernel_size": 1, "groups": 2}),
}


@pytest.mark.parametrize("name, window", REPLACED.values(), ids=REPLACED)
def test_a_part_with_another_window_is_computed_by_itself(name, window):
    net = found("DARTS_V2", REAL).astype(np.float64)
    operation = next(m for m in net.modules() if isinstance(m, Separable))
    channels, rng = len(operation.pointwise.weight.data), np.random.default_rng(2)
    part = nn.Conv2d(channels, channels, bias=False, rng=rng, **window).astype(np.float64)
    part.window = part.window._replace(stride=getattr(operation, name).window.stride)
    setattr(operation, name, part)
    images = IMAGES.astype(np.float64)
    np.testing.assert_allclose(
        fused.compile(net)(images).data, net(images).data, rtol=1e-8, atol=1e-10
    )


def test_what_is_set_on_a_compiled_model_is_set_on_its_model():
    net = found("DARTS_V2")
    model = fused.compile(net)
    model.drop_path = 0.5
    model.training = False
    assert net.drop_path == 0.5 and not net.training and not model.training


def test_one_norm_of_several_on_a_pooling_is_frozen():
    net = supernet(REAL, ["max_pool_3x3"]).astype(np.float64)
    images = IMAGES.astype(np.float64)
    net.cells[0].edges[0][0].bn.training = False
    np.testing.assert_allclose(
        fused.compile(net)(images).data, net(images).data, rtol=1e-8, atol=1e-10
    )


@pytest.mark.parametrize("prepare", [lambda net: net, fused.compile], ids=["plain", "fused"])
@pytest.mark.parametrize("shape", [(2, 5, 9), (1, 2, 5, 8)])
def test_an_alpha_of_another_shape_is_refused(shape, prepare):
    with pytest.raises(ValueError, match="weights must have shape"):
        prepare(supernet())(IMAGES, Tensor(np.zeros(shape, np.float32)))


@pytest.mark.parametrize("prepare", [lambda net: net, fused.compile], ids=["plain", "fused"])
def test_no_images_in_evaluation_give_no_logits(prepare):
    assert prepare(supernet().eval())(IMAGES[:0]).shape == (0, 3)


@pytest.mark.parametrize("prepare", [lambda net: net, fused.compile], ids=["plain", "fused"])
def test_a_norm_of_other_channels_is_refused(prepare):
    """Fused kernels would read beyond its arrays."""
    net = found("DARTS_V2", REAL)
    next(m for m in net.modules() if isinstance(m, Separable)).bn = nn.BatchNorm2d(1)
    with pytest.raises(ValueError, match="must have shape"):
        prepare(net)(IMAGES)
