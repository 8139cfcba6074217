"""What α says at a temperature and under a mask, and a supernet of which only some candidates take part."""

import numpy as np
import pytest
from helpers.arrays import images, normal, rng, seeds
from helpers.jobs import DIGITS
from hypothesis import given, settings
from hypothesis import strategies as st

import bnas.functional as F
from bnas import fused
from bnas.autodiff import Tensor, grad
from bnas.config import SearchConfig
from bnas.search.bnas import DirectSearch
from bnas.search.phases import SupervisedPhase
from bnas.space import (
    BINARY,
    PRIMITIVES,
    REAL,
    Genotype,
    Network,
    Supernet,
    discretise,
    random_genotype,
)
from bnas.space.alpha import (
    DECIDED,
    decided_edges,
    edge_entropies,
    genotype_mask,
    mask_genotype,
    mixing_weights,
)
from bnas.space.genotype import edges

few = settings(max_examples=25, deadline=None)
spaces = st.lists(st.sampled_from(PRIMITIVES), min_size=1, unique=True).filter(
    lambda names: names != ["none"]
)
ENGINES = {"plain": lambda net: net, "fused": fused.compile}


def random_mask(generator, nodes, operations):
    """Any candidates, on edges of any kind: empty, of `none` alone, and others; every node is fed."""
    pairs = edges(nodes)
    mask = generator.random((2, len(pairs), len(operations))) < generator.uniform(0.1, 0.9)
    mask[generator.random(mask.shape[:2]) < 0.3] = False
    for kind in range(2):
        for j in range(2, nodes + 2):
            into = [e for e, pair in enumerate(pairs) if pair[1] == j]
            if not mask[kind, into].any():
                mask[kind, generator.choice(into), generator.integers(len(operations))] = True
    return mask


def supernet(seed, nodes=2, operations=PRIMITIVES, precision=REAL, dtype=np.float64, layers=3):
    """A Supernet with α of size 1."""
    net = Supernet(1, 3, 2, layers, nodes, precision, rng(seed), operations).astype(dtype)
    net.alpha.data = normal(seed, *net.alpha.shape, dtype=dtype)
    return net


# Genotypes and masks


@few
@given(st.integers(1, 7), spaces, seeds)
def test_a_genotype_is_its_mask(nodes, operations, seed):
    genotype = random_genotype(nodes, rng(seed), operations)
    mask = genotype_mask(genotype, operations)
    assert mask.shape == (2, len(edges(nodes)), len(operations)) and mask.dtype == bool
    assert mask_genotype(mask, operations) == genotype
    again = genotype_mask(mask_genotype(mask, operations), operations)
    np.testing.assert_array_equal(again, mask)
    for cell, chosen in zip(mask, (genotype.normal, genotype.reduce)):
        found = [(operations[m], *edges(nodes)[e]) for e, m in np.argwhere(cell)]
        assert found == [(name, i, k // 2 + 2) for k, (name, i) in enumerate(chosen)]


TWO = (("skip_connect", 0), ("max_pool_3x3", 1))


@pytest.mark.parametrize(
    "normal_cell, reduce_cell, says",
    [
        ((("skip_connect", 0), ("max_pool_3x3", 0)), TWO, r"two operations on the edge \(0, 2\)"),
        (TWO, (("max_pool_3x3", 1),) * 2, r"two operations on the edge \(1, 2\)"),
        (TWO, (*TWO, *TWO), "different numbers of nodes"),
        (TWO, (("conv_7x1_1x7", 0), TWO[1]), "'conv_7x1_1x7' is none of the operations"),
    ],
)
def test_a_genotype_that_no_supernet_holds_has_no_mask(normal_cell, reduce_cell, says):
    with pytest.raises(ValueError, match=f"genotype_mask: .*{says}"):
        genotype_mask(Genotype(normal_cell, (2,), reduce_cell, (2,)))


def test_a_mask_of_no_genotype_is_refused():
    good = genotype_mask(random_genotype(3, rng(0)))
    for kind in range(2):
        kept, empty = np.flatnonzero(good[kind].any(axis=1)), ~good[kind].any(axis=1)
        more, less, none = good.copy(), good.copy(), good.copy()
        two = good.copy()
        more[kind, np.flatnonzero(empty)[0], 1] = True
        less[kind, kept[0]] = False
        two[kind, kept[0]] = np.arange(8) // 2 == 1
        two[kind, kept[1]] = False
        none[kind, kept[-1]] = np.arange(8) == PRIMITIVES.index("none")
        for mask in (more, less, two, none):
            with pytest.raises(ValueError, match="mask_genotype: "):
                mask_genotype(mask)
    with pytest.raises(ValueError, match="edges"):
        mask_genotype(good[:, :4])


# What α weighs


@few
@given(st.integers(1, 4), st.integers(1, 8), st.floats(0.05, 20), st.booleans(), seeds)
def test_weights_are_the_softmax_of_what_takes_part(nodes, count, temperature, single, seed):
    alpha = 3 * normal(seed, 2, len(edges(nodes)), count)
    alpha = alpha.astype(np.float32) if single else alpha
    mask = random_mask(rng(seed), nodes, range(count))
    powers = np.exp(np.float64(alpha) / temperature)
    for given_mask, kept in ((None, powers), (mask, powers * mask)):
        sums = kept.sum(axis=-1, keepdims=True)
        weights = mixing_weights(alpha, temperature, given_mask)
        np.testing.assert_allclose(weights, kept / np.where(sums > 0, sums, 1), rtol=1e-9)
        assert weights.dtype == np.float64
        with np.errstate(divide="ignore", invalid="ignore"):
            expected = -np.nansum(weights * np.log(weights), axis=-1)
        np.testing.assert_allclose(edge_entropies(weights), expected, atol=1e-12)
    assert (mixing_weights(alpha, temperature, mask)[~mask] == 0).all()
    assert (edge_entropies(mixing_weights(alpha, temperature, mask))[~mask.any(axis=-1)] == 0).all()


def test_entropies_at_their_ends():
    uniform = edge_entropies(mixing_weights(np.zeros((2, 2, 8))))
    np.testing.assert_allclose(uniform, np.log(8), rtol=1e-14)
    alpha = np.zeros((2, 2, 8), np.float32)
    alpha[..., 3] = 1000
    with np.errstate(all="raise", under="ignore"):
        assert (edge_entropies(mixing_weights(alpha)) == 0).all()


def test_an_edge_is_decided_from_the_weight_on():
    alpha = np.zeros((2, 2, 3))
    alpha[0, 1, 2] = np.log(2 * DECIDED / (1 - DECIDED)) + 1e-9
    alpha[1, 0, 1] = np.log(2 * DECIDED / (1 - DECIDED)) - 1e-9
    assert decided_edges(alpha) == {(0, 1, 2)}
    assert decided_edges(alpha, temperature=0.999) == {(0, 1, 2), (1, 0, 1)}
    assert decided_edges(alpha, temperature=1.001) == set()
    mask = np.ones(alpha.shape, bool)
    mask[1, 0, 0] = False  # a rival less
    assert decided_edges(alpha, 1, mask) == {(0, 1, 2), (1, 0, 1)}
    mask[1, 0, 2] = False  # no rival at all
    assert decided_edges(alpha, 1, mask) == {(0, 1, 2)}
    mask[0, 1] = False
    assert decided_edges(alpha, 1, mask) == set()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_logits_a_thousand_apart_are_decided(dtype):
    alpha = np.zeros((2, 2, 3), dtype)
    alpha[0, 0] = -1000, 0, 0  # the two others are equals
    alpha[0, 1] = 0, 1000, -1000
    alpha[1] = -1000, -2000, -3000
    with np.errstate(all="raise", under="ignore"):
        assert decided_edges(alpha) == {(0, 1, 1), (1, 0, 0), (1, 1, 0)}
    assert (
        decided_edges(np.zeros((2, 2, 1))) == set()
    )  # a search space of one operation decides nothing


# Temperature


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("temperature", [0.25, 3.0])
def test_a_temperature_divides_alpha(engine, temperature):
    net, x = supernet(1), images(3, 1, 8, 8, dtype=np.float64)
    model, labels = ENGINES[engine](net), np.array([0, 1, 2])
    model.temperature = temperature
    logits = model(x)
    (gradient,) = grad(F.cross_entropy(logits, labels), [net.alpha])
    model.temperature = 1.0
    net.alpha.data = net.alpha.data / temperature
    at_one = model(x)
    (expected,) = grad(F.cross_entropy(at_one, labels), [net.alpha])
    np.testing.assert_allclose(logits.data, at_one.data, rtol=1e-9)
    np.testing.assert_allclose(gradient, expected / temperature, rtol=1e-7, atol=1e-12)


def test_a_genotype_keeps_the_edges_that_weigh_most_at_the_temperature():
    config = SearchConfig(
        strategy="bnas",
        limit=96,
        channels=2,
        nodes=2,
        operations="skip_connect, max_pool_3x3, avg_pool_3x3",
    )
    search = DirectSearch(config, DIGITS)
    alpha = search.supernet.alpha.data
    alpha[:] = 0
    alpha[:, 2:, 0] = 3  # of node 3
    alpha[:, 2, 1:] = 1.9, -9  # one strong rival: heavy at T = 1, and at 0.1 even more so
    alpha[:, 3, 1:] = 1.0, 1.0  # two weak ones
    alpha[:, 4, 1:] = 1.4, 1.4
    found = {}
    for temperature in (1.0, 0.1, 5.0):
        search.supernet.temperature = temperature
        found[temperature] = search.genotype()
        expected = discretise(np.float64(alpha) / temperature, config.operation_names)
        assert found[temperature] == expected
    assert found[1.0] != found[0.1]


# Masks


@pytest.mark.parametrize("precision", [REAL, BINARY], ids=["real", "binary"])
@settings(max_examples=10, deadline=None)
@given(st.integers(1, 3), st.integers(1, 4), st.booleans(), seeds)
def test_a_supernet_restricted_to_a_genotype_is_its_network(
    precision, nodes, layers, training, seed
):
    """To the bit, in float32: single candidates weigh 1, and γ and β of the network begin at 1 and 0."""
    net = supernet(seed, nodes, precision=precision, dtype=np.float32, layers=layers)
    genotype = random_genotype(nodes, rng(seed))
    mask = genotype_mask(genotype)
    network = Network(genotype, 1, 3, 2, layers, precision, rng(seed + 1))
    names = {}  # of a part of the network: the same part of the supernet
    for c, cell in enumerate(network.cells):
        chosen = [(e, m) for e, m in np.argwhere(mask[int(cell.reduction)])]
        for k, (e, m) in enumerate(chosen):
            names[f"cells.{c}.operations.{k}."] = f"cells.{c}.edges.{e}.{m}."
    state, own = network.state_dict(), net.state_dict()
    for name in state:
        *prefix, rest = name.split(".", 4)
        prefix = ".".join(prefix) + "."
        theirs = names[prefix] + rest if prefix in names else name
        if theirs in own:
            state[name] = own[theirs]
        else:  # γ and β of a batch norm
            assert name.endswith(("bn.weight", "bn.bias"))
    network.load_state_dict(state)
    x = images(5, 1, 7, 7, seed=seed % 1000)
    net.train(training), network.train(training)
    net.restrict(mask)
    np.testing.assert_array_equal(net(x).data, network(x).data)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 3), st.sampled_from([1.0, 0.3]), st.booleans(), st.booleans(), seeds)
def test_what_is_left_out_weighs_nothing(nodes, temperature, per_sample, training, seed):
    """A masked supernet is the whole one with weights that are made by hand, 0 for what is left out."""
    net, x = supernet(seed, nodes), images(4, 1, 6, 6, dtype=np.float64)
    net.train(training)
    net.temperature = temperature
    mask = random_mask(rng(seed), nodes, PRIMITIVES)
    alpha = normal(seed, *((4,) if per_sample else ()), *net.alpha.shape)
    by_hand = Tensor(mixing_weights(alpha, temperature, np.broadcast_to(mask, alpha.shape)))
    with net.restricted(mask):
        logits = net(x, Tensor(alpha)).data
        assert np.isfinite(net.mixing_weights(Tensor(alpha)).data).all()
    net.mixing_weights = lambda alpha: by_hand
    np.testing.assert_allclose(logits, net(x).data, rtol=1e-8, atol=1e-10)


def of_a_pass(net, model, x, labels, alpha):
    """Logits, all gradients and the state after a pass forward and backward; a gradient of 0 may be missing."""
    logits = model(x) if alpha is None else model(x, alpha)
    F.cross_entropy(logits, labels).backward()
    learned = {**dict(net.named_parameters()), "alpha of each sample": alpha}
    gradients = {n: p.grad for n, p in learned.items() if p is not None and p.grad is not None}
    return {
        "logits": logits.data,
        **gradients,
        **{f"state {n}": a for n, a in net.state_dict().items()},
    }


@pytest.mark.slow
@pytest.mark.parametrize("precision", [REAL, BINARY], ids=["real", "binary"])
@few
@given(
    spaces,
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(2, 9),
    st.sampled_from([1.0, 0.5]),
    st.booleans(),
    st.booleans(),
    seeds,
)
def test_both_engines_leave_the_same_out(
    precision, operations, nodes, layers, batch, temperature, training, per_sample, seed
):
    mask = random_mask(rng(seed), nodes, operations)
    x, labels = normal(seed, batch, 1, 6, 6), rng(seed).integers(0, 3, batch)
    results = []
    for make in ENGINES.values():
        net = supernet(seed, nodes, operations, precision, layers=layers).train(training)
        model, alpha = make(net), None
        before = net.state_dict()
        model.restrict(mask)
        model.temperature = temperature
        if per_sample:
            alpha = Tensor(normal(seed, batch, *net.alpha.shape), requires_grad=True)
        results.append(of_a_pass(net, model, x, labels, alpha))
        for name in dropped(net, mask):
            assert name not in results[-1], name
            if name in before:
                np.testing.assert_array_equal(results[-1][f"state {name}"], before[name])
    assert all(np.isfinite(array).all() for result in results for array in result.values())
    largest = max(1, *(np.abs(a).max() for n, a in results[0].items() if n[:6] != "state "))
    for name in results[0].keys() | results[1].keys():
        zeros = np.zeros_like(next(result[name] for result in results if name in result))
        ours, theirs = (result.get(name, zeros) for result in results)
        np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-8 * largest, err_msg=name)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("per_sample", [False, True], ids=["shared", "of each sample"])
def test_of_none_alone_alpha_learns_nothing(engine, per_sample):
    """Its gradient is 0, not missing: a search that ends up there goes on."""
    net, labels = supernet(0, dtype=np.float32), np.array([0, 1, 2])
    model, mask = ENGINES[engine](net), np.zeros(net.alpha.shape, bool)
    mask[..., PRIMITIVES.index("none")] = True
    mask[:, 1] = False  # and one without any
    alpha = net.alpha
    if per_sample:
        alpha = Tensor(normal(1, 3, *alpha.shape, dtype=np.float32), requires_grad=True)
    with model.restricted(mask):
        logits = model(images(3, 1, 6, 6), alpha)
    np.testing.assert_array_equal(logits.data, np.tile(net.classifier.bias.data, (3, 1)))
    gradient, bias = grad(F.cross_entropy(logits, labels), [alpha, net.classifier.bias])
    assert gradient.dtype == np.float32 and (gradient == 0).all() and bias.any()


def dropped(net, mask):
    """Names in the state of what belongs to candidates that do not take part, running statistics too."""
    parts = [
        f"cells.{c}.edges.{e}.{m}."
        for c, cell in enumerate(net.cells)
        for e, m in np.argwhere(~mask[int(cell.reduction)])
    ]
    return [name for name in net.state_dict() if name.startswith(tuple(parts))]


@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_left_out_does_not_learn(engine):
    config = SearchConfig(strategy="bnas", limit=96, channels=2, layers=2, nodes=2, engine=engine)
    net = DirectSearch(config, DIGITS).supernet
    mask = rng(3).random(net.alpha.shape) < 0.5
    mask[..., 0], mask[..., 3], mask[:, 3] = (
        True,
        True,
        False,
    )  # after zeros alone nothing would move
    phase = SupervisedPhase(net, config, 2)
    progress = type("Quiet", (), {"step": lambda *_: None})()
    phase.run_epoch(0, DIGITS, None, rng(0), "", progress)  # all have momentum now
    before = net.state_dict()
    names = set(before)
    net.restrict(mask)
    assert set(net.state_dict()) == names  # a restriction is no part of the state
    phase.run_epoch(1, DIGITS, None, rng(1), "", progress)
    after, still = net.state_dict(), set(dropped(net, mask))
    assert still
    for name in names - {"alpha"}:
        if name in still or not name.endswith(
            "mean"
        ):  # the mean of what batch norms made may stay 0
            assert np.array_equal(before[name], after[name]) == (name in still), name
    assert (before["alpha"] != after["alpha"])[1][mask[1]].all()  # of 2 layers none is normal


def test_a_node_that_nothing_leads_into_is_refused():
    net = supernet(0, nodes=3)
    for kind in range(2):
        for node, edges_into in zip((2, 3, 4), ((0, 1), (2, 3, 4), (5, 6, 7, 8))):
            mask = np.ones(net.alpha.shape, bool)
            mask[kind, edges_into] = False
            with pytest.raises(
                ValueError, match=f"no candidate leads into node {node} of cell kind {kind}"
            ):
                net.restrict(mask)
            mask[kind, edges_into[-1], 0] = True  # none, but an edge
            net.restrict(mask)
    for shape in ((2, 9, 7), (9, 8), (1, 9, 8)):
        with pytest.raises(ValueError, match="restrict: mask has shape"):
            net.restrict(np.ones(shape, bool))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_restriction_ends_with_its_context(engine):
    model = ENGINES[engine](supernet(0))
    x, masks = (
        images(2, 1, 6, 6, dtype=np.float64),
        [random_mask(rng(s), 2, PRIMITIVES) for s in (0, 1)],
    )

    def logits():
        return model.eval()(x).data

    whole = logits()
    model.restrict(masks[0])
    first = logits()
    with pytest.raises(KeyError), model.restricted(masks[1]):
        assert not np.array_equal(logits(), first)
        raise KeyError
    np.testing.assert_array_equal(logits(), first)
    with model.restricted(None):
        np.testing.assert_array_equal(logits(), whole)
    with pytest.raises(ValueError), model.restricted(np.zeros(model.alpha.shape, bool)):
        pass
    np.testing.assert_array_equal(logits(), first)
    masks[0][:] = True  # the caller's array is the caller's
    np.testing.assert_array_equal(logits(), first)
    model.restrict(None)
    np.testing.assert_array_equal(logits(), whole)
    assert not np.array_equal(whole, first)
