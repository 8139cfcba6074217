"""Networks that users write with bnas.nn, packed: the same bits and predictions, or a named refusal."""

from functools import partial

import numpy as np
import pytest
from helpers import packed_twin
from helpers.arrays import images, normal, rng, seeds
from helpers.commands import succeed
from helpers.modules import ENDS, KINDS, random_module, written
from helpers.networks import MIXED
from helpers.packed_files import records, refused
from hypothesis import given, settings
from hypothesis import strategies as st
from numba.core.runtime import _nrt_python, rtsys

import bnas.functional as F
from bnas import nn, optim
from bnas.autodiff import Function, Tensor
from bnas.data import load_dataset
from bnas.errors import InputError
from bnas.evaluation import predict
from bnas.packed import PackedNetwork, kernels
from bnas.packed.plan import Plan
from bnas.runs import load_checkpoint, save_checkpoint
from bnas.space import BINARY, Network


def pack(network, shape):
    return PackedNetwork.pack(network, shape, np.zeros(shape[0]), np.ones(shape[0]))


def input_bits(network, x):
    """{name: input bits of a 1-bit convolution}, as the network itself computes."""
    names = {module: name for name, module in network.named_modules()}
    forward, bits = nn.XnorConv2d.forward, {}

    def recorded(module, x):
        bits[names[module]] = Tensor(x).data > 0
        return forward(module, x)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.XnorConv2d, "forward", recorded)
        predict(network, x)
    return bits


def assert_same(network, shape, count=3, seed=1):
    packed, x = pack(network, shape), images(count, *shape, seed=seed)
    logits, ours, bits = predict(network, x), packed(x), packed.activations(x)
    assert (ours.shape, ours.dtype) == (logits.shape, np.float32)
    for name, want in input_bits(network, x).items():
        np.testing.assert_array_equal(bits[name], want, err_msg=name)
    scale = np.abs(logits).max()
    assert np.abs(ours - logits).max() <= 1e-5 * scale
    np.testing.assert_array_equal(packed.predict(x), logits.argmax(axis=1))
    return packed


networks = st.builds(
    random_module,
    st.lists(st.sampled_from(KINDS), max_size=6),
    st.sampled_from(ENDS),
    st.sampled_from([(1, 1), (2, 7), (5, 5), (8, 8), (11, 3), (9, 13)]),
    seeds,
)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(networks, st.integers(1, 9), seeds)
def test_packed_modules_are_the_modules(case, count, seed):
    assert_same(*case, count, seed)


# ---------------------------------------------------------------------------- written by hand


class Functional(nn.Module):
    """A network that computes with functions, and with one convolution twice."""

    def __init__(self):
        generator = rng(3)
        self.conv = nn.XnorConv2d(2, 2, 3, padding=1, rng=generator)
        self.kernel = nn.Parameter(generator.standard_normal((4, 2, 3, 3)).astype(np.float32))
        self.mean, self.var = normal(1, 4, dtype=np.float32), np.full(4, 0.3, np.float32)

    def forward(self, x):
        x = self.conv(self.conv(x)) + x
        x = F.batch_norm(F.xnor_conv2d(x, self.kernel, padding=(1, 0)), self.mean, self.var)
        return F.flatten(F.avg_pool2d(F.relu(x), (5, 3)), 1)


def test_a_network_of_functions():
    network, shape = Functional(), (2, 5, 5)
    packed = pack(network, shape)
    x = images(7, *shape)
    np.testing.assert_allclose(packed(x), predict(network, x), rtol=1e-5)
    assert list(packed.activations(x)) == ["conv", "conv (2)", "forward"]


def test_every_kind_of_layer():
    """Also against what the records say, computed in plain NumPy."""
    packed = assert_same(*written())
    x = images(5, *packed.shape)
    np.testing.assert_allclose(packed_twin.logits(packed.model, x), packed(x), rtol=1e-4, atol=1e-5)


class Shared(nn.Module):
    """One result that several layers read, each in its own way; for square images of 2 channels."""

    def __init__(self):
        generator = rng(5)
        self.first = nn.XnorConv2d(2, 4, 3, padding=1, rng=generator)
        self.norm = nn.BatchNorm2d(4)
        self.norm.bias.data[:] = 4
        self.wide = nn.XnorConv2d(4, 4, 5, padding=2, rng=generator)
        self.narrow = nn.XnorConv2d(4, 4, 1, rng=generator)
        self.layers = [
            nn.MaxPool2d((4, 3), 1, (2, 1)),  # planes of one size, with other margins
            nn.MaxPool2d((3, 4), 1, (1, 2)),
            nn.AvgPool2d(3, 1, 1),
            nn.AvgPool2d(3, 1, 1, count_include_pad=False),
            nn.Conv2d(4, 6, 1, groups=2, rng=generator),
        ]
        self.classifier = nn.Linear(22, 3, rng=generator)

    def forward(self, x):
        x = self.first(x)
        y = self.norm(x) + x  # the norm is not alone to read x
        y = self.wide(y) + self.narrow(y)  # which pad the same bits by 2 and by 0
        features = [F.global_avg_pool2d(layer(y)) for layer in self.layers]
        return self.classifier(F.concat(features, axis=1))


def test_several_layers_read_one_result():
    assert_same(Shared().eval(), (2, 6, 6), 9)


def test_a_mean_over_a_part_of_the_image_is_no_mean_over_all():
    network = nn.Sequential(
        nn.XnorConv2d(2, 3, 1, rng=rng()), nn.AvgPool2d(9), nn.Flatten(), nn.Linear(3, 2, rng=rng())
    )
    assert_same(network.eval(), (2, 10, 10))


def test_windows_as_large_as_the_image_may_lie_beside_it():
    generator = rng()
    network = nn.Sequential(
        nn.XnorConv2d(2, 5, 1, rng=generator),
        nn.Conv2d(5, 18, 3, stride=5, padding=1, rng=generator),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(18, 17, rng=generator),
    )
    assert_same(network.eval(), (2, 3, 3))


def _before_a_sign(layer, channels):
    """A real 1×1 convolution of 2 channels to 6, a layer that makes `channels` of them, a 1-bit convolution."""
    generator = rng(2)
    network = nn.Sequential(
        nn.Conv2d(2, 6, 1, rng=generator),
        layer,
        nn.XnorConv2d(channels, 3, 1, rng=generator),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    return network.eval()


@pytest.mark.parametrize("size", [(8, 8), (7, 9), (5, 40)])
@pytest.mark.parametrize("stride", [2, 3, (2, 1)])
@pytest.mark.parametrize("groups", [1, 2])
def test_strided_pointwise_convolutions(size, stride, groups):
    layer = nn.Conv2d(6, 10, 1, stride, groups=groups, rng=rng(3))
    assert_same(_before_a_sign(layer, 10), (2, *size))


@pytest.mark.parametrize("size", [(8, 8), (7, 9), (5, 40)])
@pytest.mark.parametrize("stride", [1, 2, 3, (1, 2)])
@pytest.mark.parametrize(
    "pool", [nn.MaxPool2d, nn.AvgPool2d, partial(nn.AvgPool2d, count_include_pad=False)]
)
def test_poolings_before_a_sign(size, stride, pool):
    norm = nn.BatchNorm2d(6)
    norm.bias.data[:] = normal(4, 6)
    assert_same(_before_a_sign(nn.Sequential(pool(3, stride, 1), norm), 6), (2, *size))


@pytest.mark.parametrize("kernel", [1, 2, 3, (2, 3)])
def test_a_maximum_is_nan_wherever_nan_is_in_its_window(kernel):
    """One pixel of each image is NaN, whose sign is -1; all others are positive."""
    network = _before_a_sign(nn.MaxPool2d(kernel, 1), 6)
    network[0].weight.data[:] = 1
    x = np.ones((30, 2, 5, 6), np.float32)
    x.reshape(30, 2, 30)[np.arange(30), :, np.arange(30)] = np.nan
    (name, want), *_ = input_bits(network, x).items()
    assert not want.all(axis=(1, 2, 3)).any()
    np.testing.assert_array_equal(pack(network, (2, 5, 6)).activations(x)[name], want)


def test_a_batch_norm_may_come_last():
    generator, norm = rng(), nn.BatchNorm2d(3)
    norm.running_var[:] = 9
    network = nn.Sequential(
        nn.XnorConv2d(2, 3, 1, rng=generator),
        nn.AdaptiveAvgPool2d((1, 1)),
        nn.Conv2d(3, 3, 1, bias=False, rng=generator),
        norm,
        nn.Flatten(),
    )
    assert_same(network.eval(), (2, 10, 10))


def test_a_mean_over_many_pixels_and_one_in_front_of_a_sign():
    generator = rng(1)
    network = nn.Sequential(
        nn.AvgPool2d(9),
        nn.XnorConv2d(1, 8, 2, rng=generator),
        nn.AdaptiveAvgPool2d(2),
        nn.XnorConv2d(8, 8, 1, rng=generator),
        nn.AdaptiveAvgPool2d(1),
        nn.XnorConv2d(8, 4, 1, rng=generator),
        nn.Flatten(),
    )
    assert_same(network.eval(), (1, 48, 46))


def test_nothing_is_left_from_one_call_to_the_next():
    network, shape = written()
    packed = pack(network, shape)
    batches = [images(count, *shape, seed=count) for count in (3, 20, 1, 20)]
    first = [packed(x) for x in batches]
    for x, logits in zip(batches, first):
        np.testing.assert_array_equal(packed(x), logits)
        np.testing.assert_array_equal(pack(network, shape)(x), logits)


def test_a_packed_module_comes_back_to_the_bit(tmp_path):
    network, shape = written()
    packed = pack(network, shape)
    packed.save(tmp_path / "net.npz")
    loaded, x = PackedNetwork.load(tmp_path / "net.npz"), images(5, *shape)
    np.testing.assert_array_equal(loaded(x), packed(x))
    assert loaded.genotype == "" and loaded.size_table() == packed.size_table()
    loaded.save(tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "net.npz").read_bytes()


def test_packing_leaves_the_module_alone_and_takes_copies():
    network, shape = written()
    network.train()
    for parameter in network.parameters():
        parameter.requires_grad = False
    before, x = network.state_dict(), images(3, *shape)
    packed = pack(network, shape)
    logits = pack(network, shape)(x)
    assert all(m.training and "forward" not in vars(m) for m in network.modules())
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert all(parameter.grad is None for parameter in network.parameters())
    for name, array in network.state_dict().items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)
    for parameter in network.parameters():
        parameter.data *= -2
    np.testing.assert_array_equal(packed(x), logits)


@pytest.mark.slow
def test_a_twin_of_lenet_learns_the_digits_and_is_packed(tmp_path):
    """Trained a little, saved, and used by the command."""
    generator, data = rng(0), load_dataset("digits")
    network = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, rng=generator),
        nn.BatchNorm2d(16),
        nn.XnorConv2d(16, 32, 3, padding=1, rng=generator),
        nn.BatchNorm2d(32),
        nn.MaxPool2d(2),
        nn.XnorConv2d(32, 32, 3, padding=1, beta="learned", rng=generator),
        nn.BatchNorm2d(32),
        nn.Flatten(),
        nn.Linear(32 * 16, 10, rng=generator),
    )
    optimiser = optim.Adam(network.parameters(), lr=0.01)
    for start in [*range(0, len(data.train) - 64, 64)] * 3:
        x, labels = (a[start : start + 64] for a in (data.train.images, data.train.labels))
        optimiser.zero_grad()
        F.cross_entropy(network(x), labels).backward()
        optimiser.step()
    packed = PackedNetwork.pack(network, data.image_shape, data.mean, data.std)
    want = predict(network, data.test.images).argmax(axis=1)
    assert (want == data.test.labels).mean() > 0.8
    np.testing.assert_array_equal(packed.predict(data.test.images), want)
    packed.save(tmp_path / "net.npz")
    raw = normal(1, 4, *data.image_shape, dtype=np.float32)
    np.save(tmp_path / "images.npy", raw)
    lines = succeed("predict", tmp_path / "net.npz", tmp_path / "images.npy").splitlines()
    told = [int(line.split()[1]) for line in lines[:4]]
    assert told == packed.predict(raw).tolist()


def test_a_run_allocates_nothing():
    network, shape = written()
    plan = Plan(pack(network, shape).model, shape)
    plan.run()
    _nrt_python.memsys_enable_stats()
    try:
        before = rtsys.get_allocation_stats().alloc
        plan.run()
        assert rtsys.get_allocation_stats().alloc == before
    finally:
        _nrt_python.memsys_disable_stats()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: x.astype(np.float64),
        lambda x: x.reshape(2, -1),
        lambda x: x[::2],
        lambda x: np.zeros(257, np.uint8)[1:].view(np.float32),
    ],
)
def test_a_program_takes_only_what_a_kernel_takes(wrong):
    """A kernel reads at addresses: of anything else it would read nonsense."""
    x, y, ones = (np.ones(64, np.float32) for _ in range(3))
    arguments = [x, 0, 64, ones[:2], ones[:2], 1, y, 0, 64, 0]
    kernels.instruction(kernels.scale_panels, arguments)
    with pytest.raises(TypeError, match="for a kernel that takes array"):
        kernels.instruction(kernels.scale_panels, [wrong(x), *arguments[1:]])
    with pytest.raises(ValueError):
        kernels.instruction(kernels.scale_panels, arguments[:-1])


# ----------------------------------------------------------------------------------- refusals


class Forward(nn.Module):
    """A 1-bit convolution of 2 channels, a function, and logits of 2 classes."""

    def __init__(self, function):
        self.conv = nn.XnorConv2d(2, 2, 3, padding=1, rng=rng())
        self.function = function

    def forward(self, x):
        return F.global_avg_pool2d(self.function(self.conv(x)))


class Wrapped(nn.Module):
    def __init__(self, part):
        self.block = nn.ModuleList([part])

    def forward(self, x):
        return self.block[0](x)


class Before(nn.Module):
    """A function before a module that does nothing."""

    def __init__(self):
        self.part = nn.Identity()

    def forward(self, x):
        return self.part(F.tanh(x))


class Third(Function):
    @staticmethod
    def forward(ctx, x):
        return x / 3

    @staticmethod
    def backward(ctx, dy):
        return (dy / 3,)


def staged():
    conv = nn.XnorConv2d(2, 2, 1, rng=rng())
    conv.binary_weights = False
    return conv


def by_values(x):
    return F.relu(x) if x.data.mean() > 0 else x.clone()


def by_count(x):
    return F.relu(x) if len(x) == 2 else x


UNKNOWN = "no packed form of it is known; known are convolutions"
FUNCTIONS = {  # (function, what the refusal says)
    "sigmoid": (F.sigmoid, r"the forward of the network \(Sigmoid\) cannot be packed: " + UNKNOWN),
    "an own Function": (Third.apply, r"\(Third\) cannot be packed: " + UNKNOWN),
    "a module": (nn.Tanh(), r"'function' \(Tanh\) cannot be packed: " + UNKNOWN),
    "a module inside": (
        Wrapped(nn.Sigmoid()),
        r"'function\.block\.0' \(Sigmoid\) cannot be packed",
    ),
    "a function before a module": (Before(), r"'function' \(Tanh\) cannot be packed"),
    "a constant first": (
        lambda x: 1.0 + x,
        r"\(Add\) cannot be packed: .*do not come from the images",
    ),
    "a factor": (lambda x: x * 2.0, r"\(Mul\) cannot be packed"),
    "a constant": (lambda x: x + 1.0, r"\(Add\) cannot be packed: .*do not come from the images"),
    "a shift in space": (lambda x: x[:, :, 1:], r"\(Slice\) cannot be packed"),
    "channels joined in space": (lambda x: F.concat([x, x], 2), r"\(Concat\).* along another axis"),
    "a mean over rows": (lambda x: x.mean(2, keepdims=True), r"\(Mean\).*over the axes \(2,\)"),
    "other images": (
        lambda x: x.reshape(-1, 1, 4, 4),
        r"\(Reshape\).*images can be flattened only",
    ),
    "more pixels": (lambda x: x.reshape(-1, 2, 8, 2), r"\(Reshape\).*images can be flattened only"),
    "uneven averages": (nn.AdaptiveAvgPool2d(3), r"'function' \(Slice\) cannot be packed"),
    "weights that are real": (staged(), r"'function' \(Conv2d\).*still real \(first stage\)"),
    "signs as numbers": (F.sign_ste, r"\(Mean\) cannot be packed: .*signs as real numbers"),
    "computed weights": (lambda x: F.conv2d(x, x[:2]), r"\(Slice\) cannot be packed"),
    "weights from images": (
        lambda x: F.conv2d(x, F.relu(x).reshape(-1, 2, 4, 4)),
        r"\(Conv2d\) cannot be packed: only its first input",
    ),
    "a linear along rows": (nn.Linear(4, 4), r"'function' \(Linear\).*flatten them first"),
    "far padding": (nn.XnorConv2d(2, 2, 1, padding=65), r"'function' \(XnorConv2d\).*above 64"),
    "large padded windows": (nn.MaxPool2d(66, 1, 33), r"'function' \(MaxPool2d\).*above 64"),
    "arrays": (lambda x: Tensor(x.data), "was not computed from the images by operations"),
    "a choice by values": (by_values, "does not compute the same for all images"),
    "a choice by count": (by_count, "does not compute the same for all images"),
}


@pytest.mark.parametrize("function, says", FUNCTIONS.values(), ids=FUNCTIONS)
def test_what_cannot_be_packed_is_named(function, says):
    with pytest.raises(InputError, match=says):
        pack(Forward(function), (2, 4, 4))


def norm_of_pixels():
    return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(32), nn.Linear(32, 3))


NETWORKS = {  # (network, what the refusal says)
    "nothing in 1 bit": (nn.Sequential(nn.Flatten(), nn.Linear(32, 3)), "has no 1-bit convolution"),
    "images": (nn.XnorConv2d(2, 3, 1), r"makes \(2, 3, 4, 4\) of 2 images, expected logits"),
    "flattened images": (
        nn.Sequential(nn.XnorConv2d(2, 3, 1), nn.Flatten()),
        r"makes \(2, 48\) of 2 images, expected logits \(N, classes\), from a Linear",
    ),
    "other images": (nn.XnorConv2d(3, 3, 1), r"does not take images of shape \(2, 4, 4\)"),
    "a norm of every pixel": (norm_of_pixels(), r"'1' \(Reshape\).*can be flattened only"),
    "no module": (np.tanh, "can be packed, not a ufunc"),
    "the part of another network": (
        nn.Sequential(Network(MIXED, 2, 3, 2, 2, BINARY, rng())),
        "network of a genotype can be packed, not a Sequential",
    ),
    "float64": (nn.XnorConv2d(2, 3, 1).astype(np.float64), "weight is float64, expected float32"),
}


@pytest.mark.parametrize("network, says", NETWORKS.values(), ids=NETWORKS)
def test_other_networks_are_refused(network, says):
    with pytest.raises(InputError, match=says):
        pack(network, (2, 4, 4))


@pytest.mark.parametrize("shape", [(2, 4), (2, 4, 0), (2, 4, 4, 4)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(InputError, match=r"expected \(channels, height, width\)"):
        pack(Forward(F.relu), shape)


@pytest.mark.parametrize(
    "name, value, says",
    [
        ("stem.weight", np.nan, "stem.weight of the network holds NaN or infinity"),
        ("norms.1.running_var", -1, r"'norms.1' \(BatchNormEvaluation\).* negative variance"),
        ("norms.3.running_var", -1, r"'norms.3' \(BatchNormEvaluation\).* negative variance"),
        (
            "norms.1.weight",
            3e38,
            r"'norms.1' \(BatchNormEvaluation\) cannot be packed: it overflows",
        ),
    ],
)
def test_numbers_that_cannot_be_computed_with_are_refused(name, value, says):
    network, shape = written()
    state = network.state_dict()
    state["norms.1.running_var"][:] = 1e-3
    state[name][:] = value
    network.load_state_dict(state)
    with pytest.raises(InputError, match=says):
        pack(network, shape)


# -------------------------------------------------------------------------------------- files


def step(meta, kind, number=0):
    """The number-th step of a kind of layer."""
    return [s for s in records(meta, "PackedStep") if s["layer"]["is"] == kind][number]


def set_groups(conv, groups):
    """Other groups of a 1-bit convolution, with weights of the shape that they need."""
    shape = conv["w"]["shape"]
    shape[1], conv["groups"] = shape[1] * conv["groups"] // groups, groups


def poolings(**changes):
    """Another window of both poolings, so that their results still have one size."""

    def forge(meta):
        for number in (0, 1):
            records(step(meta, "PackedWindowPool", number), "Window")[0].update(changes)

    return forge


def outputs_of_real_conv(outputs):
    """A real convolution in two groups, with a number of outputs that two does not divide."""

    def forge(meta):
        conv = step(meta, "RealConv")["layer"]
        channels = conv["w"]["shape"][1]
        conv["groups"] = 2
        conv["w"]["shape"][:2] = outputs, channels // 2
        for name in ("scale", "shift"):
            conv[name]["shape"] = [outputs]

    return forge


def end_in_bits(meta):
    """A threshold instead of the last layer."""
    meta["model"]["steps"].pop()
    finish = step(meta, "BitConv")["layer"]["finish"]
    meta["model"]["steps"][-1]["layer"]["finish"] = finish


FORGERIES = {
    "no steps": lambda meta: meta["model"].update(steps=None),
    "a layer for a step": lambda meta: meta["model"]["steps"].append({"is": "PackedSum"}),
    "a step for a layer": lambda meta: step(meta, "PackedSum").update(
        layer=dict(step(meta, "PackedSum"))
    ),
    "a record that is no layer": lambda meta: step(meta, "PackedSum").update(
        layer=records(meta, "Rescale")[0]
    ),
    "a layer of cells": lambda meta: step(meta, "PackedAffine").update(layer={"is": "PackedSkip"}),
    "a result to come": lambda meta: step(meta, "PackedSum").update(sources=[1, 4]),
    "a source that is true": lambda meta: step(meta, "BitConv").update(sources=[True]),
    "a source below 0": lambda meta: step(meta, "PackedSum").update(sources=[1, -1]),
    "sources that are one number": lambda meta: step(meta, "PackedSum").update(sources=1),
    "no source": lambda meta: step(meta, "PackedConcat").update(sources=[]),
    "a sum of one": lambda meta: step(meta, "PackedSum").update(sources=[3]),
    "a sum of three": lambda meta: step(meta, "PackedSum").update(sources=[1, 3, 3]),
    "two sources of a pooling": lambda meta: step(meta, "PackedWindowPool").update(sources=[5, 5]),
    "a sum of bits": lambda meta: step(meta, "PackedSum").update(sources=[3, 2]),
    "a sum of other channels": lambda meta: step(meta, "PackedSum").update(sources=[3, 0]),
    "joined of other sizes": lambda meta: records(step(meta, "PackedWindowPool"), "Window")[
        0
    ].update(stride=[1, 1]),
    "a result that nothing reads": lambda meta: step(meta, "PackedConcat").update(sources=[9, 9]),
    "images that nothing reads": lambda meta: meta["model"]["steps"].pop(0),
    "bits at the end": end_in_bits,
    "a threshold with groups": lambda meta: set_groups(step(meta, "BitConv")["layer"], 2),
    "groups that read bits": lambda meta: set_groups(step(meta, "BitConv", 1)["layer"], 2),
    "groups that divide nothing": lambda meta: step(meta, "BitConv", 2)["layer"].update(groups=3),
    "groups that do not divide the outputs": outputs_of_real_conv(3),
    "a pooling of another kind": lambda meta: step(meta, "PackedWindowPool")["layer"].update(
        kind="min"
    ),
    "a pooling that counts 2": lambda meta: step(meta, "PackedWindowPool")["layer"].update(
        counted=2
    ),
    "no kernel": poolings(kernel=[0, 1]),
    "a kernel beyond the image": poolings(kernel=[7, 2]),
    "a pooling with a skip": poolings(skip=1),
    "padding beyond half the kernel": poolings(padding=[2, 0]),
    "a huge kernel in as much padding": poolings(kernel=[80, 80], padding=[40, 40], stride=[5, 5]),
    "a longer slope": lambda meta: step(meta, "PackedAffine")["layer"]["slope"].update(shape=[5]),
    "a slope of integers": lambda meta: step(meta, "PackedAffine")["layer"]["slope"].update(
        array="int32", start=0
    ),
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
def test_whole_files_of_nonsense_are_refused(tmp_path, forge):
    path = tmp_path / "net.npz"
    pack(*written()).save(path)
    arrays, meta = load_checkpoint(path)
    forge(meta)
    save_checkpoint(path, arrays, meta)
    refused(path, r"holds no network that can run: .*; export the network again")


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_numbers_of_a_file_that_are_none_are_refused(tmp_path, value):
    path = tmp_path / "net.npz"
    pack(*written()).save(path)
    arrays, meta = load_checkpoint(path)
    for at in range(0, arrays["float32"].size, 3):
        changed = arrays["float32"].copy()
        changed[at] = value
        save_checkpoint(path, {**arrays, "float32": changed}, meta)
        refused(path, "holds no network that can run: .*NaN or infinity")
