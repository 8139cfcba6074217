"""Packed networks against the networks they come from: every bit, every logit, in any order."""

import copy
import os
import pickle
import random
import signal
import sys
import time
import tracemalloc
from concurrent import futures

import numba
import numpy as np
import pytest
from helpers.arrays import images, rng, seeds
from helpers.genotypes import wirings
from helpers.networks import CLASSES, LEARNED, MIXED, Case, case, scramble
from helpers.processes import run_python
from hypothesis import given, settings
from hypothesis import strategies as st
from numba.core.runtime import _nrt_python, rtsys

from bnas import nn
from bnas.autodiff import Tensor
from bnas.config import SURROGATES
from bnas.errors import InputError
from bnas.evaluation import predict
from bnas.packed import PackedNetwork
from bnas.packed.fold import fold
from bnas.packed.layers import BitConv, Threshold
from bnas.packed.plan import Plan
from bnas.space import OPERATIONS, PUBLISHED, Genotype
from bnas.space.network import Network
from bnas.space.operations import BINARY, REAL, Pool, Precision, Separable
from bnas.space.supernet import Supernet

SIZES = [(1, 1), (1, 6), (2, 2), (3, 5), (7, 7), (8, 8), (9, 4), (17, 2), (11, 13)]


# ------------------------------------------------------------------------------- random networks


@st.composite
def cases(draw):
    genotype = Genotype(*draw(wirings(3)), *draw(wirings(3)))
    wide = draw(st.integers(0, 4)) == 0  # more than a word of channels, on small images
    channels = draw(st.sampled_from([33, 65] if wide else [1, 2, 3, 5, 6]))
    cells = draw(st.integers(1, 2 if wide else 5))
    shape = draw(st.integers(1, 4)), *draw(st.sampled_from(SIZES[:4] if wide else SIZES))
    precision = Precision(
        True, draw(st.sampled_from(SURROGATES)), draw(st.sampled_from(["learned", "closed"]))
    )
    absent = draw(st.sets(st.integers(0, 5), max_size=3))
    return case(genotype, channels, cells, shape, precision, draw(seeds), absent)


def pack(case):
    channels = case.shape[0]
    return PackedNetwork.pack(case.network, case.shape, np.zeros(channels), np.ones(channels))


def unpacked(network, x):
    """(logits, {name: input bits of a 1-bit convolution}) of the network itself."""
    names = {module: name for name, module in network.named_modules()}
    forward, bits = nn.XnorConv2d.forward, {}

    def recorded(module, x):
        bits[names[module]] = x.data > 0
        return forward(module, x)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.XnorConv2d, "forward", recorded)
        return predict(network, x), bits


def assert_same(case, count, seed=1):
    """The packed network predicts what the network does, from the same bits everywhere."""
    packed, x = pack(case), images(count, *case.shape, seed=seed)
    logits, bits = unpacked(case.network, x)
    found = packed.activations(x)
    assert found.keys() == bits.keys()
    for name in bits:
        assert found[name].dtype == np.bool_
        np.testing.assert_array_equal(found[name], bits[name], err_msg=name)
    ours = packed(x)
    assert (ours.shape, ours.dtype) == (logits.shape, np.float32)
    assert np.abs(ours - logits).max() <= 1e-5 * np.abs(logits).max()
    np.testing.assert_array_equal(ours.argmax(axis=1), logits.argmax(axis=1))
    np.testing.assert_array_equal(packed.predict(x), logits.argmax(axis=1))


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(cases(), st.integers(1, 11), seeds)
def test_packed_networks_are_the_networks(case, count, seed):
    assert_same(case, count, seed)


@pytest.mark.slow
@pytest.mark.parametrize("channels, shape", [(5, (3, 7, 9)), (70, (1, 3, 2))])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_in_normal_and_reduction_cells(operation, channels, shape):
    """On both inputs and behind a node; three cells, of which the last two are reductions."""
    name, absent = (operation, ()) if operation != "none" else ("skip_connect", (0, 3))
    pairs = ((name, 0), ("skip_connect", 1), (name, 1), (name, 2))
    assert_same(case(Genotype(pairs, (3,), pairs, (3, 2)), channels, 3, shape, absent=absent), 3)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_architectures(name):
    assert_same(case(PUBLISHED[name], 4, 4, (3, 10, 7), LEARNED), 2)


def test_poolings_of_one_state_that_several_edges_read():
    """Some are the same but for their batch norms; others differ in kind, or in a reduction in stride."""
    edges = (("max_pool_3x3", 0), ("max_pool_3x3", 0), ("avg_pool_3x3", 0), ("max_pool_3x3", 2))
    edges += ("max_pool_3x3", 1), ("avg_pool_3x3", 0), ("max_pool_3x3", 2), ("max_pool_3x3", 1)
    assert_same(case(Genotype(edges, (3, 4, 5), edges, (2, 3, 5)), 5, 4, (2, 9, 7), LEARNED), 3)


def test_an_image_of_many_panels():
    """Every row is longer than a panel of 32 pixels, and so is what a reduction leaves."""
    assert_same(case(PUBLISHED["AmoebaNet"], 3, 3, (2, 5, 71), LEARNED), 2)


def test_the_cases_reach_every_kind_of_channel():
    """The networks above have thresholds at both ends, of both directions, and in between."""
    dots, seen = 0, set()
    for record in _convolutions(
        fold(case(PUBLISHED["DARTS_V2"], 20, 3, (1, 4, 4), LEARNED).network)
    ):
        if isinstance(record.finish, Threshold):
            bits = output_bits(record)
            dots = len(bits)
            always, never = bits.all(axis=0), ~bits.any(axis=0)
            seen |= {"always"} if always.any() else set()
            seen |= {"never"} if never.any() else set()
            changing = ~always & ~never
            seen |= {"rising"} if (changing & bits[-1]).any() else set()
            seen |= {"falling"} if (changing & bits[0]).any() else set()
    assert dots and seen == {"always", "never", "rising", "falling"}


# ---------------------------------------------------------------------------------- call by call


def mixed(channels=5, shape=(3, 7, 9), cells=4):
    return case(MIXED, channels, cells, shape, LEARNED)


@settings(max_examples=15, deadline=None)
@given(cases(), st.lists(st.integers(1, 20), min_size=2, max_size=4))
def test_nothing_is_left_from_one_call_to_the_next(case, counts):
    packed = pack(case)
    batches = [images(count, *case.shape, seed=i) for i, count in enumerate(counts)]
    first = [packed(x) for x in batches]
    for x, logits in zip(batches, first):
        np.testing.assert_array_equal(packed(x), logits)
        np.testing.assert_array_equal(pack(case)(x), logits)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])
def test_a_copy_of_a_network_that_has_run_runs_by_itself(copied):
    packed, first, second = pack(mixed()), images(1, 3, 7, 9), images(1, 3, 7, 9, seed=2)
    wanted, before = packed(second), packed(first)
    other = copied(packed)
    np.testing.assert_array_equal(other(second), wanted)
    np.testing.assert_array_equal(packed(first), before)


def test_results_are_the_callers_own():
    packed, x = pack(mixed()), images(2, 3, 7, 9)
    first, before = packed(x), x.copy()
    kept = first.copy()
    second = packed(-x)
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(x, before)
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("count", [1, 8, 9, 21, 64])
def test_threads_do_not_change_a_bit(threads, count, monkeypatch):
    packed, x = pack(mixed()), images(count, 3, 7, 9)
    monkeypatch.setattr(numba, "get_num_threads", lambda: 1)
    alone = packed(x)
    monkeypatch.setattr(numba, "get_num_threads", lambda: threads)
    for _ in range(3):
        np.testing.assert_array_equal(packed(x), alone)
    monkeypatch.setattr(numba, "get_num_threads", lambda: 1)
    np.testing.assert_array_equal(packed(x), alone)


@pytest.mark.parametrize("count", [1, 5, 40])
@pytest.mark.parametrize("threads", [1, 2])
def test_several_threads_call_one_network(threads, count, monkeypatch):
    """Each has its own images, and gets what it would get alone."""
    monkeypatch.setattr(numba, "get_num_threads", lambda: threads)
    packed = pack(mixed(6, (2, 7, 9)))
    batches = [images(count, *packed.shape, seed=seed) for seed in range(4)]
    alone = [packed(x) for x in batches]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # so that threads take turns within a call
    try:
        with futures.ThreadPoolExecutor(4) as callers:
            calls = [callers.submit(packed, batches[i % 4]) for i in range(80)]
    finally:
        sys.setswitchinterval(interval)
    assert all(np.array_equal(call.result(), alone[i % 4]) for i, call in enumerate(calls))


@pytest.mark.slow
def test_after_an_interrupt_the_next_call_is_right(monkeypatch, ctrl_c):
    """Threads that still compute for the interrupted call do not write into what the next one uses."""
    monkeypatch.setattr(numba, "get_num_threads", lambda: 2)
    packed = pack(mixed(6, (2, 7, 9)))
    first, second = (images(24, *packed.shape, seed=seed) for seed in (1, 2))
    alone, draw, left, run = packed(second), random.Random(1), 0, Plan.run

    def slow(plan):
        nonlocal left
        pause = draw.choice([0, 1e-3])  # so that threads overtake each other
        for number in range(len(plan.calls)):
            run(plan, range(number, number + 1))
            time.sleep(pause)
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Plan, "run", slow)
    for calls in range(1, 40, 4):
        left = calls
        with pytest.raises(KeyboardInterrupt):
            packed(first)
            time.sleep(1)  # it may arrive late
        np.testing.assert_array_equal(packed(second), alone)


def test_after_an_error_the_next_call_is_right(monkeypatch):
    monkeypatch.setattr(numba, "get_num_threads", lambda: 2)
    packed = pack(mixed(6, (2, 7, 9)))
    x = images(40, *packed.shape)
    alone, run, calls = packed(x), Plan.run, []

    def fail_once(plan):
        calls.append(plan)
        if len(calls) == 2:
            raise MemoryError
        run(plan)

    monkeypatch.setattr(Plan, "run", fail_once)
    with pytest.raises(MemoryError):
        packed(x)
    np.testing.assert_array_equal(packed(x), alone)


@pytest.mark.parametrize("channels, cells", [(1, 1), (5, 3), (33, 2)])
def test_an_image_is_predicted_alike_in_any_company(channels, cells):
    packed, x = pack(mixed(channels, (3, 5, 4), cells)), images(21, 3, 5, 4)
    together = packed(x)
    for count in (1, 2, 7, 8, 9):
        parts = [packed(x[i : i + count]) for i in range(0, len(x), count)]
        np.testing.assert_array_equal(np.concatenate(parts), together, err_msg=str(count))
    np.testing.assert_array_equal(packed(x[::-1])[::-1], together)


def test_activations_of_many_images_are_those_of_each():
    packed, x = pack(mixed()), images(11, 3, 7, 9)
    together = packed.activations(x)
    for i in range(len(x)):
        for name, bits in packed.activations(x[i : i + 1]).items():
            np.testing.assert_array_equal(bits[0], together[name][i], err_msg=name)


def _allocations(call):
    """How many times Numba allocates memory during a call."""
    _nrt_python.memsys_enable_stats()
    try:
        before = rtsys.get_allocation_stats().alloc
        call()
        return rtsys.get_allocation_stats().alloc - before
    finally:
        _nrt_python.memsys_disable_stats()


@numba.njit
def _allocate():
    return np.empty(3).size


def test_a_run_allocates_nothing():
    plan = Plan(pack(mixed(70)).model, (3, 7, 9))
    plan.run()
    assert _allocations(plan.run) == 0
    assert _allocate() == 3 and _allocations(_allocate) == 1  # it would have been seen


@pytest.mark.slow
def test_a_run_asks_numpy_for_no_memory():
    """What a layer of this network makes takes more than the peak allowed."""
    plan = Plan(pack(mixed(70)).model, (3, 16, 16))
    plan.run()
    plan.run()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        plan.run()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before < 4000 < 70 * 4 * 4 * np.float32().nbytes


def test_nothing_grows_over_many_calls(monkeypatch):
    """On one thread: others make their plans whenever they first get work."""
    monkeypatch.setattr(numba, "get_num_threads", lambda: 1)
    packed, batches = pack(mixed()), [images(n, 3, 7, 9) for n in (1, 3, 8, 13)]
    for x in batches * 2:
        packed(x)
    tracemalloc.start()
    try:
        for x in batches * 2:
            packed(x)
        before, _ = tracemalloc.get_traced_memory()
        for x in batches * 50:
            packed(x)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 2000  # ten bytes a call


# --------------------------------------------------------------------------------------- folding


def _convolutions(value):
    """Every BitConv below a record."""
    if isinstance(value, BitConv):
        yield value
    elif isinstance(value, tuple):
        for part in value:
            yield from _convolutions(part)


def output_bits(conv):
    """bool (dots, C): what a folded convolution says to every dot product from -most to most."""
    most = conv.w[0].size
    dots = np.arange(-most, most + 1)[:, None]
    return (dots >= conv.finish.least) ^ ~conv.finish.rising


def folded(betas, norms, eps=1e-5):
    """The folded pointwise convolution of a sep_conv whose channels have these numbers.

    norms: (γ, shift, mean, variance) of each channel.
    """
    pairs = (("sep_conv_3x3", 0), ("skip_connect", 1))
    channels = len(betas)
    network = Network(
        Genotype(pairs, (2,), pairs, (2,)), 1, CLASSES, channels, 3, LEARNED, rng()
    ).eval()
    separable = network.cells[0].operations[0].first
    separable.pointwise.beta.data = np.array(betas, np.float32)
    bn = separable.bn
    gamma, shift, bn.running_mean, bn.running_var = np.array(norms, np.float32).T.copy()
    bn.weight.data, bn.bias.data, bn.eps = gamma.copy(), shift.copy(), eps
    names = {conv.name: conv for conv in _convolutions(fold(network))}
    return names["cells.0.operations.0.first.pointwise"], bn


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(1, 70))
def test_thresholds_say_what_batch_norm_and_sign_say_to_every_dot(data, channels):
    few = st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5, 3.0, -1e-8, 1e-30, 1e6, -7.3])
    beta = data.draw(st.lists(few, min_size=channels, max_size=channels))
    variance = st.sampled_from([0.0, 1e-12, 0.3, 1.0, 4.0, 1e8])
    norm = st.tuples(few, few, few, variance)
    conv, bn = folded(beta, data.draw(st.lists(norm, min_size=channels, max_size=channels)))
    dots = np.arange(-channels, channels + 1, dtype=np.float32)
    scaled = dots[:, None, None, None] * np.float32(beta)[:, None, None]
    np.testing.assert_array_equal(output_bits(conv), (bn(Tensor(scaled)).data > 0)[..., 0, 0])


EVERY, NEVER = list(range(-8, 9)), []
BY_HAND = {  # (β, γ, shift, mean): the dots that fire
    (1, 1, 0, 0): list(range(1, 9)),  # sign 0 is -1
    (1, -1, 0, 0): list(range(-8, 0)),
    (-1, 1, 0, 0): list(range(-8, 0)),
    (-1, -1, 0, 0): list(range(1, 9)),
    (0.5, 1, 0, 2): list(range(5, 9)),
    (0.5, -2, 0, 2): list(range(-8, 4)),
    (0, 1, 1, 0): EVERY,  # β = 0: the shift alone decides
    (0, 1, 0, 0): NEVER,
    (1, 0, 3, 1): EVERY,  # γ = 0: so it does
    (1, 0, -3, 1): NEVER,
    (1, 0, 0, 1): NEVER,
    (2, 1, -15, 0): [8],
    (2, 1, -16, 0): NEVER,
    (2, 1, 16, 0): list(range(-7, 9)),
    (2, 1, 17, 0): EVERY,
    (2, -1, 17, 0): EVERY,
}


@pytest.mark.parametrize("part", [0, 8])
def test_thresholds_by_hand(part):
    """With ε = 0 and variance 1: γ (β dot - mean) + shift > 0, dots from -8 to 8."""
    rows = list(BY_HAND.items())[part : part + 8]
    norms = [(gamma, shift, mean, 1) for (_, gamma, shift, mean), _ in rows]
    conv, _ = folded([numbers[0] for numbers, _ in rows], norms, eps=0)
    for channel, (numbers, fires) in enumerate(rows):
        found = np.flatnonzero(output_bits(conv)[:, channel]) - 8
        assert found.tolist() == fires, numbers


def test_a_packed_network_is_a_copy():
    """Further training does not reach it, not even before its first call."""
    network, shape = mixed()
    packed, x = pack(Case(network, shape)), images(3, *shape)
    before = pack(Case(network, shape))(x)
    for parameter in network.parameters():
        parameter.data *= -2
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean += 1
    np.testing.assert_array_equal(packed(x), before)


def test_packing_leaves_the_network_alone():
    network, shape = mixed()
    network.train()
    before = network.state_dict()
    pack(Case(network, shape))
    assert all(module.training for module in network.modules())
    for name, array in network.state_dict().items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)


def test_only_1_bit_networks_are_packed():
    real = Network(MIXED, 1, CLASSES, 2, 2, REAL, rng())
    with pytest.raises(InputError, match='real network.*precision="binary"'):
        pack(Case(real, (1, 4, 4)))
    staged = Network(MIXED, 1, CLASSES, 2, 2, BINARY, rng())
    staged.binarise_weights(False)
    with pytest.raises(InputError, match="first stage.*finish the training"):
        pack(Case(staged, (1, 4, 4)))
    supernet = Supernet(1, CLASSES, 2, 2, 1, BINARY, rng())
    with pytest.raises(InputError, match="not a Supernet.*bnas train"):
        pack(Case(supernet, (1, 4, 4)))


def test_a_network_without_1_bit_layers_can_be_packed():
    pairs = (("max_pool_3x3", 0), ("avg_pool_3x3", 1))
    assert_same(case(Genotype(pairs, (2,), pairs, (2,)), 3, 3, (2, 6, 5)), 3)


NUMBERS = [
    "stem.0.weight",
    "stem.1.running_var",
    "cells.0.input0.bn.running_mean",
    "cells.0.operations.0.first.depthwise.weight",
    "cells.0.operations.0.first.pointwise.beta",
    "cells.0.operations.0.first.bn.weight",
    "cells.0.operations.0.second.bn.bias",
    "cells.0.operations.1.bn.bias",
    "classifier.weight",
    "classifier.bias",
]


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_networks_with_nan_or_infinity_are_refused(name, value):
    network, shape = mixed(cells=4)
    state = network.state_dict()
    state[name].flat[-1] = value
    network.load_state_dict(state)
    with pytest.raises(InputError, match="NaN or infinity"):
        pack(Case(network, shape))


# ----------------------------------------------------------------------------------------- input


@pytest.mark.parametrize(
    "shape", [(3, 7, 9), (2, 1, 7, 9), (2, 3, 9, 7), (2, 3, 7, 9, 1), (), (0,), (2, 3, 63)]
)
def test_images_of_another_shape_are_refused(shape):
    packed = pack(mixed())
    for call in (packed, packed.predict, packed.activations):
        with pytest.raises(InputError, match=r"images have shape .*, expected \(N, 3, 7, 9\)"):
            call(np.zeros(shape, np.float32))


def test_images_in_any_layout_and_of_any_real_type():
    packed = pack(mixed())
    x = rng(1).integers(-3, 4, (10, 3, 7, 9)).astype(np.float32)
    want, bits = packed(x), packed.activations(x)
    read_only = x.copy()
    read_only.flags.writeable = False
    others = [
        read_only,
        np.ascontiguousarray(x.transpose(3, 2, 1, 0)).transpose(3, 2, 1, 0),
        np.repeat(x, 2, axis=3)[..., ::2],
        x[::-1].copy()[::-1],
        *(x.astype(dtype) for dtype in (np.float64, np.float16, np.int64, np.int8, ">f4")),
        x.tolist(),
    ]
    for other in others:
        np.testing.assert_array_equal(packed(other), want)
        for name, found in packed.activations(other).items():
            np.testing.assert_array_equal(found, bits[name])
    unsigned = np.abs(x)
    np.testing.assert_array_equal(packed(unsigned.astype(np.uint8)), packed(unsigned))


def test_float64_images_are_rounded_to_float32():
    packed, x = pack(mixed()), rng(1).standard_normal((9, 3, 7, 9))
    np.testing.assert_array_equal(packed(x), packed(x.astype(np.float32)))


def test_no_images_have_no_logits():
    network, shape = mixed()
    packed, none = pack(Case(network, shape)), np.zeros((0, *shape), np.float32)
    assert (packed(none).shape, packed(none).dtype) == ((0, CLASSES), np.float32)
    assert packed.predict(none).shape == (0,)
    channels = {
        name: bits.shape[1:] for name, bits in packed.activations(images(1, *shape)).items()
    }
    assert {k: v.shape for k, v in packed.activations(none).items()} == {
        name: (0, *rest) for name, rest in channels.items()
    }


# ------------------------------------------------------------------------------ the twin in torch


@pytest.mark.parametrize("genotype", [*PUBLISHED.values(), MIXED], ids=[*PUBLISHED, "mixed"])
@pytest.mark.parametrize("last", [False, True])
def test_the_twin_in_torch_is_the_real_network(genotype, last):
    torch = pytest.importorskip("torch")
    from bnas.bench.torch_network import TorchNetwork

    network = Network(genotype, 3, CLASSES, 4, 3, REAL, rng()).eval()
    scramble(network, rng(1))
    memory_format = torch.channels_last if last else torch.contiguous_format
    x = images(3, 3, 9, 6)
    logits = predict(network, x)
    np.testing.assert_allclose(
        TorchNetwork(network, memory_format)(x), logits, atol=1e-4 * np.abs(logits).max()
    )


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(wirings(), wirings(), st.integers(1, 4), st.sampled_from(SIZES), seeds)
def test_the_twin_in_torch_of_any_architecture(normal, reduce, cells, size, seed):
    pytest.importorskip("torch")
    from bnas.bench.torch_network import TorchNetwork

    network = Network(Genotype(*normal, *reduce), 2, CLASSES, 3, cells, REAL, rng(seed)).eval()
    x = images(2, 2, *size, seed=seed)
    logits = predict(network, x)
    np.testing.assert_allclose(
        TorchNetwork(network)(x), logits, atol=1e-4 * np.abs(logits).max() + 1e-6
    )


@pytest.mark.parametrize("genotype", [*PUBLISHED.values(), MIXED], ids=[*PUBLISHED, "mixed"])
def test_the_twin_in_onnx_runtime_is_the_real_network(genotype):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from bnas.bench.onnx_network import OnnxNetwork

    network = Network(genotype, 3, CLASSES, 4, 3, REAL, rng()).eval()
    scramble(network, rng(1))
    x = images(3, 3, 9, 6)
    logits = predict(network, x)
    found = OnnxNetwork(network, x.shape[1:], 1)(x)
    np.testing.assert_allclose(found, logits, atol=1e-4 * np.abs(logits).max())


# ------------------------------------------------------------------------------------- processes

SEVERAL = """
import os, sys
import numpy as np
from bnas.packed import PackedNetwork
network = PackedNetwork.load(sys.argv[1])
images = np.random.default_rng(0).standard_normal((20, *network.shape))
before = network(images)
child = os.fork()
if child == 0:
    os._exit(not np.array_equal(network(images), before))
print(os.waitpid(child, 0)[1])
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_threads_without_openmp_and_a_fork_after_them(tmp_path):
    """Ours need none of Numba's, whose simplest kind allows one caller at a time; and none survives a fork."""
    pack(mixed()).save(tmp_path / "net.npz")
    layer = {"NUMBA_THREADING_LAYER": "workqueue", "NUMBA_NUM_THREADS": "2"}
    done = run_python("-W", "ignore", "-c", SEVERAL, tmp_path / "net.npz", variables=layer)
    assert done.stdout.strip() == "0", done.stderr


def test_raw_images_are_normalised():
    network, shape = mixed()
    packed = PackedNetwork.pack(network, shape, np.array([7.0, 8, 9]), np.array([2.0, 3, 4]))
    raw = rng(1).integers(0, 17, (5, *shape)).astype(np.uint8)
    mean, std = packed.mean[:, None, None], packed.std[:, None, None]
    np.testing.assert_array_equal(packed(raw), packed(((raw - mean) / std).astype(np.float32)))


def test_a_float64_network_and_an_overflowing_threshold_are_refused():
    network, shape = mixed()
    with pytest.raises(InputError, match="float64, expected float32"):
        pack(Case(network.astype(np.float64), shape))
    network, shape = mixed(cells=4)
    state = network.state_dict()
    state["cells.0.operations.0.first.pointwise.beta"][:] = 2e37
    network.load_state_dict(state)
    with pytest.raises(InputError, match="overflow"):
        pack(Case(network, shape))


class Doubled(Separable):
    def forward(self, x):
        return super().forward(x) * 2.0


def other_class(network):
    operation = next(m for m in network.modules() if isinstance(m, Separable))
    operation.__class__ = Doubled


def other_pooling(network):
    pooling = next(m for m in network.modules() if isinstance(m, Pool))
    pooling.pool.kernel_size, pooling.pool.padding = 5, 2


@pytest.mark.parametrize("change, says", [(other_class, "Doubled"), (other_pooling, "3×3")])
def test_what_packing_does_not_know_is_refused(change, says):
    """It would be packed as what it looks like, and predict something else."""
    network = Network(PUBLISHED["DARTS_V2"], 1, 3, 4, 3, BINARY, np.random.default_rng(0))
    fold(network)
    change(network)
    with pytest.raises(InputError, match=says):
        fold(network)
