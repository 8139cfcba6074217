"""Kernels on images in lanes against their NumPy twins; whole networks in lanes against operations
one by one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from helpers.arrays import normal, seeds
from helpers.twins import assert_twins, dtypes, some, tolerance

import bnas.functional as F
from bnas import kernels, nn, reference
from bnas.autodiff import Tensor, no_grad
from bnas.candidates import BINARY, REAL, Precision, norm_of, stage_of
from bnas.genotypes import OPERATIONS, PUBLISHED, Genotype
from bnas.network import Network
from bnas.supernet import Supernet

few = settings(max_examples=12, deadline=None)


@st.composite
def images_in_lanes(draw):
    """(x (blocks, C, H, W, L), batch): any size, the last block full or not."""
    dtype, batch = draw(dtypes), draw(st.integers(1, 20))
    channels = draw(st.integers(1, 6))
    size = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    x = normal(draw(seeds), batch, channels, *size, dtype=dtype)
    return reference.to_lanes(x), batch


def like(x, seed, *shape):
    return normal(seed, *(shape or x.shape), dtype=x.dtype)


def assert_close(ours, theirs, dtype):
    """Close relative to the largest entry."""
    assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
    limit = 10 * tolerance(dtype) * max(np.abs(theirs).max(initial=0), 1e-3)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=limit)


@some
@given(seeds, dtypes, st.integers(0, 40), st.integers(1, 4), st.integers(1, 4))
def test_into_lanes_and_back(seed, dtype, batch, channels, size):
    x = normal(seed, batch, channels, size, size + 1, dtype=dtype)
    lanes = assert_twins("to_lanes", x)
    np.testing.assert_array_equal(assert_twins("from_lanes", lanes, batch), x)
    if batch:
        image = batch - 1
        block, lane = divmod(image, kernels.lanes_of(dtype))
        np.testing.assert_array_equal(lanes[block, ..., lane], x[image])


@some
@given(images_in_lanes(), st.integers(1, 4), seeds, st.booleans())
def test_weighted_sums_lane_sums_and_scaling(case, terms, seed, with_base):
    x, _ = case
    blocks, channels, *_, lanes = x.shape
    xs = tuple(like(x, seed + m) for m in range(terms))
    means, factors = like(x, seed, terms, channels), like(x, seed, terms, blocks, channels, lanes)
    loose = 20 * tolerance(x.dtype)
    base, offset = x if with_base else None, like(x, seed + 9, blocks, channels, lanes)
    assert_twins("weighted_sum", base, xs, means, factors, offset, tolerance=loose)
    assert_twins("lane_sums", x, xs, means, tolerance=loose)
    assert_twins("scale_lanes", x, factors[0])
    a, e, f = (like(x, seed + i, blocks, channels, lanes) for i in range(3))
    assert_twins("norm_gradient", x, xs[0], means[0], a, e, f, tolerance=loose)


@some
@given(images_in_lanes(), seeds, st.booleans(), st.sampled_from([0.0, 0.1]))
def test_statistics_of_a_batch(case, seed, scaled, momentum):
    x, batch = case
    channels, pixels = x.shape[1], x.shape[2] * x.shape[3]
    if batch * pixels < 2:
        return
    sums, squares = assert_twins("moments", x, tolerance=20 * tolerance(x.dtype))
    scale = abs(like(x, seed, channels)) if scaled else np.empty(0, x.dtype)
    results = []
    for module in (kernels, reference):
        running = np.zeros(channels, x.dtype), np.ones(channels, x.dtype)
        found = module.batch_statistics(sums, squares, batch, pixels, scale, 1e-5, *running, momentum)
        results.append((*found, *running))
    for ours, theirs in zip(*results):
        assert_close(ours, theirs, x.dtype)
    z = reference.from_lanes(x, batch).astype(np.float64) * (scale[:, None, None] if scaled else 1)
    np.testing.assert_allclose(results[0][0], z.mean(axis=(0, 2, 3)), atol=1e-5)
    expected = 1 / np.sqrt(z.var(axis=(0, 2, 3)) + 1e-5)
    np.testing.assert_allclose(results[0][1], expected, rtol=1e-3)
    moved = z.var(axis=(0, 2, 3), ddof=1)
    np.testing.assert_allclose(results[0][3], 1 + momentum * (moved - 1), rtol=1e-4)


@pytest.mark.parametrize("offset", [1e3, 1e4])
def test_moments_of_data_far_from_zero(offset):
    """E[z²] - m² in float32 would leave nothing of a variance of 1 at a mean of 10,000."""
    x = normal(0, 32, 3, 8, 8) + offset
    sums, squares = kernels.moments(reference.to_lanes(x.astype(np.float32)))
    running = np.zeros(3, np.float32), np.ones(3, np.float32)
    nothing = np.empty(0, np.float32)
    _, inverse = kernels.batch_statistics(sums, squares, 32, 64, nothing, 0.0, *running, 0.1)
    exact = x.astype(np.float32).astype(np.float64)
    np.testing.assert_allclose(inverse, 1 / exact.std(axis=(0, 2, 3)), rtol=1e-4)


def test_the_mean_of_integers_is_subtracted_exactly():
    """Else the next sign of a 1-bit unit would depend on the order of summation."""
    dot = np.random.default_rng(0).integers(-9, 10, (24, 2, 3, 3)).astype(np.float32)
    dot[:, 1] -= dot[:, 1].mean()
    dot = np.concatenate([dot, -dot]) + np.float32([0, 3])[:, None, None]  # means 0 and 3
    dot = np.round(dot)
    assert dot.mean(axis=(0, 2, 3), dtype=float).tolist() == [0, 3]
    scale = np.float32([0.1, 0.3])
    sums, squares = kernels.moments(kernels.to_lanes(dot))
    running = np.zeros(2, np.float32), np.ones(2, np.float32)
    mean, _ = kernels.batch_statistics(sums, squares, 48, 9, scale, 1e-5, *running, 0.1)
    centred = dot * scale[:, None, None] - mean[:, None, None]
    ties = dot == np.float32([0, 3])[:, None, None]
    assert ties.any() and not centred[ties].any()


@some
@given(images_in_lanes(), seeds, st.booleans())
def test_slopes_of_a_norm(case, seed, training):
    x, batch = case
    blocks, channels, height, width, lanes = x.shape
    sums = [like(x, seed + i, blocks, channels, lanes) for i in range(2)]
    factor, inverse = like(x, seed, blocks, lanes), abs(like(x, seed, channels))
    count = batch * height * width if training else 0
    loose = 20 * tolerance(x.dtype)
    a, e, f = assert_twins("norm_slopes", *sums, factor, inverse, count, batch, tolerance=loose)
    for part in (a, e, f):
        assert not part.transpose(0, 2, 1).reshape(blocks * lanes, -1)[batch:].any()
    assert e.any() == training


@some
@given(images_in_lanes(), seeds, st.booleans(), st.sampled_from([(3, 1, 1), (3, 2, 1), (2, 1, 1)]))
def test_pooling_in_lanes(case, seed, largest, window):
    x, _ = case
    x = np.round(x, 1)  # so that there are ties
    y = assert_twins("pool_lanes", x, largest, *window, tolerance=tolerance(x.dtype))
    dy = like(y, seed)
    loose = 5 * tolerance(x.dtype)
    assert_twins("pool_lanes_dx", dy, y, x, largest, *window, tolerance=loose)


@st.composite
def unit_windows(draw):
    kind = draw(st.sampled_from(["depthwise", "pointwise", "shifted"]))
    if kind == "depthwise":
        k, dilation = draw(st.sampled_from([(3, 1), (3, 2), (5, 1), (5, 2), (2, 1)]))
        shape = k, draw(st.sampled_from([k, 3]))
        padding = tuple(dilation * (n - 1) // 2 for n in shape)
        return shape, draw(st.integers(1, 3)), padding, dilation, None
    return (1, 1), 1 if kind == "pointwise" else 2, (0, 0), 1, None


@few
@given(
    images_in_lanes(), unit_windows(), st.integers(1, 9), seeds,
    st.sampled_from(["real", "real, of 1-bit inputs", "1-bit"]), st.data(),
)  # fmt: skip
def test_units_and_their_gradients(case, window, outputs, seed, weights, data):
    x, batch = case
    blocks, channels, height, width, lanes = x.shape
    kernel, stride, padding, dilation, out_size = window
    if min(height, width) == 1 and kernel[0] == 2:  # does not fit
        kernel, padding = (3, 3), (dilation, dilation)
    if stride == 2 and kernel == (1, 1) and data.draw(st.booleans(), "second half"):
        padding, out_size = (-1, -1), (-(-height // 2), -(-width // 2))
    window = kernel, stride, padding, dilation, out_size
    depthwise = None if kernel == (1, 1) else like(x, seed + 1, channels, 1, *kernel)
    pointwise = like(x, seed + 2, outputs, channels, 1, 1)
    binary = weights != "real"
    if binary:
        arguments = depthwise, pointwise, weights == "1-bit"
        unit, other = (m.binary_unit(*arguments) for m in (kernels, reference))
    else:
        unit, other = (m.real_unit(depthwise, pointwise) for m in (kernels, reference))
    for mine, twin in zip(unit, other):
        np.testing.assert_allclose(mine, twin, rtol=1e-6)
    norm = tuple(like(x, seed + i, channels) for i in (3, 4, 11))
    arguments = x, norm, other, window
    ours, theirs = kernels.separable(*arguments), reference.separable(*arguments)
    for mine, twin in zip(ours, theirs):
        assert_close(mine, twin, x.dtype)
    if weights == "1-bit":
        np.testing.assert_array_equal(ours[0], theirs[0])

    z, dy = theirs[0], np.repeat(like(theirs[0], seed + 5), 2, axis=1)[:, ::2]  # not contiguous
    after = like(x, seed + 6, outputs), *(like(x, seed + i, blocks, outputs, lanes) for i in (7, 8, 9))
    slope = data.draw(st.sampled_from(["clip", "identity", "polynomial"] if binary else ["relu"]))
    learns, given = data.draw(st.booleans(), "learns"), data.draw(st.booleans(), "given dx")
    results = []
    for module in (kernels, reference):
        dx = like(x, seed + 10) if given else None
        results.append(module.separable_gradients(dy, z, after, *arguments, slope, learns, dx))
        assert not given or results[-1][0] is dx
    assert learns == (results[0][1] is not None)
    for mine, twin in zip(*results):
        if twin is not None:
            assert_close(mine, twin, x.dtype)


# ------------------------------------------------------------------------ whole networks


def ties_to_zero(net):
    """Let 1-bit convolutions that are computed one by one read 0 for a rounding error, as lanes do."""

    def patched(forward):
        def forward_without_ties(x):
            x.data[abs(x.data) <= 1e-12] = 0
            return forward(x)

        return forward_without_ties

    for module in net.modules():
        if isinstance(module, nn.XnorConv2d):
            module.forward = patched(module.forward)


def passes(net, x, labels, alpha=None):
    """Logits, gradients and statistics of one pass, forward and backward."""
    logits = net(x) if alpha is None else net(x, alpha)
    F.cross_entropy(logits, labels).backward()
    gradients = {name: p.grad for name, p in net.named_parameters() if p.grad is not None}
    if alpha is not None:
        gradients["alpha of each sample"] = alpha.grad
    return {"logits": logits.data, **gradients, **{f"state {n}": a for n, a in net.state_dict().items()}}


@few
@given(
    st.sampled_from([REAL, BINARY, Precision(True, "polynomial"), Precision(True, "identity")]),
    st.integers(2, 19), st.integers(4, 8), st.integers(2, 4), st.integers(1, 3), st.integers(2, 4),
    st.booleans(), st.booleans(), seeds,
)  # fmt: skip
def test_a_supernet_in_lanes_is_the_sum_of_its_candidates(
    precision, batch, size, channels, nodes, layers, training, per_sample, seed
):
    """Logits, all gradients, running statistics."""
    x, labels = normal(seed, batch, 1, size, size), np.random.default_rng(seed).integers(0, 3, batch)
    results = []
    for lanes in (False, True):
        net = Supernet(1, 3, channels, layers, nodes, precision, np.random.default_rng(seed))
        net.astype(np.float64).lanes = lanes
        ties_to_zero(net)
        alpha = None
        if per_sample:
            alpha = Tensor(normal(seed, batch, *net.alpha.shape), requires_grad=True)
        with no_grad():
            net(x)  # moves the running statistics
        results.append(passes(net.train(training), x, labels, alpha))
    ours, theirs = results[1], results[0]
    assert ours.keys() == theirs.keys()
    for name, expected in theirs.items():
        limit = 1e-8 * max(np.abs(expected).max(), 1e-6)
        np.testing.assert_allclose(ours[name], expected, rtol=0, atol=limit, err_msg=name)


@st.composite
def genotypes(draw):
    """Random genotypes of 1 or 2 nodes, of all operations that run in lanes but one of the poolings.

    1-bit operations give few values: means of the same ones in another order differ by rounding, and which
    of them is the maximum would be left to chance.
    """
    left_out = "none", "conv_7x1_1x7", draw(st.sampled_from(["max_pool_3x3", "avg_pool_3x3"]))
    names = [name for name in OPERATIONS if name not in left_out]
    nodes = draw(st.integers(1, 2))

    def cell():
        return tuple(
            (draw(st.sampled_from(names)), predecessor)
            for node in range(nodes)
            for predecessor in draw(st.permutations(range(node + 2)))[:2]
        )

    concat = tuple(range(2, nodes + 2))
    return Genotype(cell(), concat, cell(), concat)


@pytest.mark.parametrize("binary_weights", [True, False])
@pytest.mark.parametrize("surrogate", [None, "clip", "polynomial", "identity"])
@settings(max_examples=6, deadline=None)
@given(
    genotypes(), st.integers(2, 19), st.integers(4, 8), st.integers(1, 4), st.integers(1, 4),
    st.sampled_from([0, 0.3]), seeds,
)  # fmt: skip
def test_a_network_in_lanes_is_its_operations_one_by_one(
    surrogate, binary_weights, genotype, batch, size, channels, layers, drop_path, seed
):
    """Logits, all gradients, running statistics, with any γ and β."""
    x, labels = normal(seed, batch, 1, size, size), np.random.default_rng(seed).integers(0, 3, batch)
    precision = REAL if surrogate is None else Precision(True, surrogate)
    results = []
    for lanes in (False, True):
        rng = np.random.default_rng(seed)
        net = Network(genotype, 1, 3, 2 * channels, layers, precision, rng, drop_path)
        net.astype(np.float64)
        net.lanes = lanes
        net.binarise_weights(binary_weights)
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.data, module.bias.data = rng.standard_normal((2, len(module.bias.data)))
        ties_to_zero(net)
        results.append(passes(net, x, labels))
    ours, theirs = results[1], results[0]
    assert ours.keys() == theirs.keys()
    for name, expected in theirs.items():
        limit = 1e-8 * max(np.abs(expected).max(), 1e-3)  # two values a channel leave rounding errors alone
        np.testing.assert_allclose(ours[name], expected, rtol=0, atol=limit, err_msg=name)


@pytest.fixture
def went_into_lanes(monkeypatch):
    """A list that grows with every network that is computed in lanes."""
    calls, to_lanes = [], F.to_lanes
    monkeypatch.setattr(F, "to_lanes", lambda x: calls.append(x) or to_lanes(x))
    return calls


def test_which_networks_run_in_lanes(went_into_lanes):
    """A packed network repeats the bits of an evaluation, which in lanes come in another order."""
    x, rng = normal(0, 3, 1, 8, 8, dtype=np.float32), np.random.default_rng(0)

    def lanes_of(net):
        went_into_lanes.clear()
        net(x)
        return bool(went_into_lanes)

    nets = {name: Network(PUBLISHED[name], 1, 3, 4, 3, BINARY, rng) for name in ("DARTS_V2", "AmoebaNet")}
    assert {name: lanes_of(net) for name, net in nets.items()} == {"DARTS_V2": True, "AmoebaNet": False}
    net = nets["DARTS_V2"]
    assert not lanes_of(net.eval())
    layers = [m for m in net.train().modules() if isinstance(m, nn.XnorConv2d)]
    layers[0].binary_weights = False  # one for all is what lanes can do
    assert not lanes_of(net)
    net.binarise_weights(False)
    assert lanes_of(net)
    net.lanes = False
    assert not lanes_of(net)


def test_what_lanes_cannot_compute_is_refused():
    x = normal(0, 2, 1, 4, 4, dtype=np.float32)
    for precision in (Precision(True, beta="learned"), Precision(True, "tanh")):
        net = Supernet(1, 3, 2, 3, 1, precision, np.random.default_rng(0))
        net(x)
        net.lanes = True
        with pytest.raises(ValueError, match="set lanes = False"):
            net(x)
        found = Network(PUBLISHED["DARTS_V2"], 1, 3, 2, 3, precision, np.random.default_rng(0))
        found(x)
        found.lanes = True
        with pytest.raises(ValueError, match="set lanes = False"):
            found(x)
    found = Network(PUBLISHED["AmoebaNet"], 1, 3, 2, 3, REAL, np.random.default_rng(0))
    found.lanes = True
    with pytest.raises(NotImplementedError, match="no lanes for Factorized7; set lanes = False"):
        found(x)


def test_operations_in_lanes_refuse_what_does_not_fit():
    x = F.to_lanes(normal(0, 3, 2, 4, 4))
    bn = nn.BatchNorm2d(2).astype(np.float64)
    stages, weights = stage_of((), (), bn)
    call = F.Call(3, False, None)
    with pytest.raises(ValueError, match="1 weights for stages that take 2"):
        F.chain_norm(x, weights[:1], call, stages)
    with pytest.raises(ValueError, match="is added to"):
        F.chain_norm(x, weights, call, stages, base=F.to_lanes(normal(0, 3, 2, 2, 2)))
    with pytest.raises(ValueError, match="the only one"):
        F.chain_norm(x, weights * 2, call, stages * 2)
    edge = F.Edge((), (), (), (norm_of(bn), norm_of(bn)))
    with pytest.raises(ValueError, match="affine=False"):
        F.mixed_edge(Tensor(np.ones(3)), None, x, F.pools_in_lanes(x, 1), [], call, edge)


@pytest.mark.parametrize("lanes", [False, True])
def test_one_value_per_channel_has_no_variance(lanes):
    net = Supernet(1, 3, 2, 3, 1, REAL, np.random.default_rng(0))
    net.lanes = lanes
    with pytest.raises(ValueError, match="1 value per channel has no variance"):
        net(normal(0, 1, 1, 4, 4, dtype=np.float32))
