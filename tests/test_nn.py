"""Modules: what they find in themselves, what they save and load, and what each layer computes."""

import numpy as np
import pytest
from helpers.arrays import images, rng

import bnas.functional as F
from bnas import nn
from bnas.autodiff import Tensor, grad
from bnas.random import manual_seed
from bnas.space.operations import BINARY, REAL
from bnas.space.supernet import Supernet


def leaf(*shape, **options):
    """Images whose gradient is wanted."""
    return Tensor(images(*shape, **options), requires_grad=True)


class Block(nn.Module):
    """Parameters, buffers, a nested module and things that are none of these."""

    def __init__(self, seed=0):
        self.first = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1, rng=rng(seed)), nn.BatchNorm2d(4), nn.PReLU(4)
        )
        self.gain = nn.Parameter(np.full(4, 1.5, np.float32))
        self.absent, self.count, self.label = None, 7, "block"
        self.constant = Tensor([1.0])
        self.seen = np.zeros(1, np.int64)
        self.last = nn.Linear(4, 2, rng=rng(seed + 1))

    def forward(self, x):
        x = F.global_avg_pool2d(self.first(x))
        return self.last(x * self.gain)


NAMES = [
    "gain",
    "first.0.weight",
    "first.0.bias",
    "first.1.weight",
    "first.1.bias",
    "first.2.weight",
    "last.weight",
    "last.bias",
]
BUFFERS = ["seen", "first.1.running_mean", "first.1.running_var"]


# ----------------------------------------------------------------------------- parts of a module


def test_parameters_and_modules_are_found_by_dotted_names():
    block = Block()
    assert [name for name, _ in block.named_parameters()] == NAMES
    assert block.parameters()[0] is block.gain
    assert dict(block.named_modules())["first.1"] is block.first[1]
    assert list(block.state_dict()) == NAMES + BUFFERS
    assert nn.parameter_count(block) == 4 + 4 * 3 * 9 + 4 + 4 + 4 + 4 + 8 + 2


def test_every_parameter_gets_a_gradient_and_loses_it():
    block = Block()
    block(leaf(2, 3, 5, 5)).sum().backward()
    assert all(p.grad is not None and p.grad.shape == p.shape for p in block.parameters())
    block.zero_grad()
    assert all(p.grad is None for p in block.parameters())


def test_train_and_eval_reach_all_modules_and_no_others():
    block, other = Block(), Block()
    assert block.training
    assert block.eval() is block and not any(m.training for m in block.modules())
    assert all(m.training for m in other.modules())
    block.first.train()
    assert [name for name, m in block.named_modules() if m.training] == [
        "first",
        "first.0",
        "first.1",
        "first.2",
    ]
    assert block.train(True) is block and all(m.training for m in block.modules())


def test_modules_come_in_the_order_of_their_names():
    for module in (Block(), Supernet(1, 3, 2, 3, 2, BINARY, rng())):
        named = [m for _, m in module.named_modules()]
        found = module.modules()
        assert len(found) == len(named) and all(a is b for a, b in zip(found, named))


@pytest.mark.parametrize("mode", [True, False])
def test_evaluating_ends_in_the_mode_of_before(mode):
    block = Block().train(mode)
    block.last.added = nn.ReLU()  # found although it came later
    with pytest.raises(KeyError), nn.evaluating(block):
        assert not any(m.training for m in block.modules())
        raise KeyError
    assert all(m.training is mode for m in block.modules())


def test_sequential():
    parts = [nn.ReLU(), nn.Identity(), nn.Linear(3, 2, rng=rng())]
    sequence = nn.Sequential(*parts)
    assert len(sequence) == 3 and list(sequence) == parts and sequence[-1] is parts[2]
    x = leaf(4, 3)
    np.testing.assert_array_equal(sequence(x).data, parts[2](F.relu(x)).data)
    with pytest.raises(IndexError):
        sequence[3]


def test_a_module_without_forward_names_itself():
    with pytest.raises(NotImplementedError, match="^Module defines no forward"):
        nn.Module()(1)


def test_astype_converts_parameters_and_float_buffers():
    block = Block().astype(np.float64)
    kinds = {name: array.dtype for name, array in block.state_dict().items()}
    assert kinds.pop("seen") == np.int64 and set(kinds.values()) == {np.dtype(np.float64)}
    x = leaf(2, 3, 5, 5, dtype=np.float64)
    y = block(x)
    assert y.dtype == np.float64
    assert {g.dtype for g in grad(y.sum(), block.parameters())} == {np.dtype(np.float64)}
    assert block.first[1].running_mean.dtype == np.float64


# -------------------------------------------------------------------------------------- state dicts


def test_the_state_round_trips_and_is_a_copy():
    source, target = Block(0), Block(5)
    source(leaf(2, 3, 5, 5))  # moves the running statistics
    source.seen[0] = 3
    state = source.state_dict()
    target.load_state_dict(state)
    for name, array in target.state_dict().items():
        np.testing.assert_array_equal(array, source.state_dict()[name])
    x = leaf(2, 3, 5, 5, seed=9)
    np.testing.assert_array_equal(source.eval()(x).data, target.eval()(x).data)

    loaded = target.state_dict()
    for array in (*state.values(), *loaded.values()):
        array[...] = 0  # neither module looks at these arrays
    np.testing.assert_array_equal(source.eval()(x).data, target.eval()(x).data)
    assert target.gain.data[0] == 1.5 and target.seen[0] == 3


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda s: s.pop("last.bias"), r"1 names are missing \['last.bias'\] and 0 are unknown"),
        (lambda s: s.pop("first.1.running_var"), r"missing \['first.1.running_var'\]"),
        (lambda s: s.update(extra=s["gain"]), r"0 names are missing .* 1 are unknown \['extra'\]"),
        (lambda s: s.update(seen=np.zeros(2, int)), r"seen has shape \(2,\).*expected \(1,\)"),
        (
            lambda s: s.update({"last.weight": s["last.weight"].T}),
            r"last.weight .*\(4, 2\).*\(2, 4\)",
        ),
        (lambda s: s.update(gain=s["gain"].astype(float)), "gain .*float64, expected .*float32"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(damage, message):
    block = Block(0)
    before, state = block.state_dict(), Block(5).state_dict()
    damage(state)
    with pytest.raises(ValueError, match=f"load_state_dict: .*{message}"):
        block.load_state_dict(state)
    for name, array in block.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize("precision", [REAL, BINARY], ids=["real", "binary"])
def test_the_state_of_a_supernet_holds_alpha(precision):
    def build(seed):
        return Supernet(1, 3, 4, 2, 2, precision, rng(seed))

    one, other = build(0), build(1)
    assert one.state_dict()["alpha"].shape == one.alpha.shape == (2, 5, 8)
    assert any(p is one.alpha for p in one.parameters())
    assert not any(p is one.alpha for p in one.weight_parameters())
    other.load_state_dict(one.state_dict())
    np.testing.assert_array_equal(other.alpha.data, one.alpha.data)


# ------------------------------------------------------------------------------------------- layers


def test_layers_are_their_functions():
    x, flat = leaf(2, 4, 6, 6), leaf(3, 5)
    conv = nn.Conv2d(4, 6, (3, 2), 2, 1, 1, 2, rng=rng())
    linear, prelu = nn.Linear(5, 2, rng=rng()), nn.PReLU(4, 0.1)
    conv.bias.data = np.arange(6, dtype=np.float32)
    pairs = [
        (conv(x), F.conv2d(x, conv.weight, conv.bias, 2, 1, 1, 2)),
        (linear(flat), F.linear(flat, linear.weight, linear.bias)),
        (prelu(x), F.prelu(x, np.full(4, 0.1, np.float32))),
        (nn.MaxPool2d(3, 2, 1)(x), F.max_pool2d(x, 3, 2, 1)),
        (
            nn.AvgPool2d(3, 1, 1, count_include_pad=False)(x),
            F.avg_pool2d(x, 3, 1, 1, count_include_pad=False),
        ),
    ]
    for got, want in pairs:
        np.testing.assert_array_equal(got.data, want.data)
    assert nn.Conv2d(4, 6, 1, bias=False, rng=rng()).bias is None
    np.testing.assert_array_equal(conv.kernel(), conv.weight.data)
    assert {p.dtype for layer in (conv, linear, prelu) for p in layer.parameters()} == {
        np.dtype(np.float32)
    }


def test_initial_weights_have_the_spread_of_he_and_depend_on_the_generator():
    conv = nn.Conv2d(64, 64, 3, groups=2, rng=rng())
    assert conv.weight.data.std() == pytest.approx((2 / (32 * 9)) ** 0.5, rel=0.02)
    linear = nn.Linear(100, 50, rng=rng())
    assert 0.099 < np.abs(linear.weight.data).max() <= 0.1 >= np.abs(linear.bias.data).max()
    same, other = (
        nn.Conv2d(64, 64, 3, groups=2, rng=rng()),
        nn.Conv2d(64, 64, 3, groups=2, rng=rng(1)),
    )
    assert (same.weight.data == conv.weight.data).all() and (
        other.weight.data != conv.weight.data
    ).any()
    for channels in ((3, 4), (4, 3)):
        with pytest.raises(ValueError, match="groups=2 must divide"):
            nn.Conv2d(*channels, 3, groups=2, rng=rng())


def test_dropout_acts_in_training_alone():
    layer, x = nn.Dropout(0.5, rng()), leaf(10, 10)
    assert (layer(x).data == 0).any()
    assert layer.eval()(x) is x


def signs(x):
    return np.where(x > 0, 1, -1).astype(x.dtype)


SLOPES = {
    "clip": lambda x: np.abs(x) <= 1,
    "identity": np.ones_like,
    "polynomial": lambda x: np.maximum(2 - 2 * np.abs(x), 0),
    "tanh": lambda x: 2 / np.cosh(2 * x) ** 2,
}


@pytest.mark.parametrize("surrogate", SLOPES)
@pytest.mark.parametrize("beta", ["closed", "learned"])
def test_xnor_conv2d_computes_signs_and_follows_its_surrogate(surrogate, beta):
    layer = nn.XnorConv2d(
        4, 6, 3, 2, 1, groups=2, surrogate=surrogate, beta=beta, rng=rng()
    ).astype(np.float64)
    layer.temperature = 2.0
    layer.weight.data = 3 * layer.weight.data  # some beyond ±1
    if beta == "learned":
        layer.beta.data = np.linspace(-1, 2, 6)
    w, scale = layer.weight, F.channel_scale(layer.weight.data)
    scale = scale if beta == "closed" else layer.beta.data
    x = leaf(2, 4, 5, 5, dtype=np.float64)

    sx, sw = (Tensor(signs(t.data), requires_grad=True) for t in (x, w))
    dot = F.conv2d(sx, sw, None, 2, 1, 1, 2)
    y = layer(x)
    np.testing.assert_array_equal(y.data, dot.data * scale[:, None, None])
    np.testing.assert_array_equal(layer.kernel(), scale[:, None, None, None] * sw.data)

    dy = rng(3).standard_normal(y.shape)
    dx, dw = grad(y, [x, w], dy, retain_graph=True)
    dsx, dsw = grad(dot, [sx, sw], dy * scale[:, None, None])
    np.testing.assert_allclose(dx, dsx * SLOPES[surrogate](x.data), atol=1e-12)
    np.testing.assert_allclose(dw, dsw * SLOPES[surrogate](w.data), atol=1e-12)
    if beta == "learned":
        np.testing.assert_allclose(
            grad(y, [layer.beta], dy)[0], (dy * dot.data).sum(axis=(0, 2, 3))
        )
    assert [n for n, _ in layer.named_parameters()] == ["weight"] + ["beta"] * (beta == "learned")


@pytest.mark.parametrize("surrogate", SLOPES)
def test_real_weights_leave_binary_inputs(surrogate):
    layer = nn.XnorConv2d(4, 6, 3, surrogate=surrogate, rng=rng())
    layer.binary_weights = False
    x = leaf(2, 4, 5, 5)
    y = layer(x)
    np.testing.assert_array_equal(y.data, F.conv2d(Tensor(signs(x.data)), layer.weight).data)
    np.testing.assert_array_equal(layer.kernel(), layer.weight.data)
    assert grad(y.sum(), [x])[0].any()


def test_a_learned_beta_starts_at_the_minimiser_of_the_reconstruction_loss():
    layer = nn.XnorConv2d(4, 6, 3, beta="learned", rng=rng())
    closed = nn.XnorConv2d(4, 6, 3, rng=rng())
    assert closed.beta is None
    loss = layer.reconstruction_loss()
    assert loss.item() == pytest.approx(closed.reconstruction_loss().item())
    np.testing.assert_allclose(grad(loss, [layer.beta])[0], 0, atol=1e-4)


def test_xnor_conv2d_refuses_names_it_does_not_know():
    for wrong in ({"surrogate": "ste"}, {"beta": "fixed"}):
        with pytest.raises(
            ValueError, match="XnorConv2d: (surrogate|beta) must be one of .*'(ste|fixed)'"
        ):
            nn.XnorConv2d(4, 6, 3, **wrong, rng=rng())


def test_the_squared_norm_is_that_of_the_kernel():
    layers = [nn.Conv2d(4, 6, 3, groups=2, rng=rng())]
    layers += [
        nn.XnorConv2d(4, 6, 3, groups=2, beta=beta, rng=rng()) for beta in ("closed", "learned")
    ]
    layers[-1].beta.data = np.linspace(-1, 2, 6, dtype=np.float32)
    real = nn.XnorConv2d(4, 6, (1, 7), rng=rng())
    real.binary_weights = False
    for layer in (*layers, real):
        squares = (layer.kernel().astype(np.float64) ** 2).sum()
        assert isinstance(layer.squared_norm(), float)
        assert layer.squared_norm() == pytest.approx(squares, rel=1e-6)


@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm_over_several_steps(affine):
    layer = nn.BatchNorm2d(3, eps=1e-3, momentum=0.3, affine=affine)
    mean, var = np.zeros(3), np.ones(3)
    for seed in range(4):
        x = leaf(4, 3, 5, 2, seed=seed).data * 3 + 1
        y = layer(Tensor(x)).data
        m, v = x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3))
        mean, var = 0.7 * mean + 0.3 * m, 0.7 * var + 0.3 * v * 40 / 39
        np.testing.assert_allclose(
            y, (x - m[:, None, None]) / np.sqrt(v + 1e-3)[:, None, None], rtol=1e-4, atol=1e-5
        )
        np.testing.assert_allclose(layer.running_mean, mean, rtol=1e-5)
        np.testing.assert_allclose(layer.running_var, var, rtol=1e-5)
    frozen = layer.state_dict()
    y = layer.eval()(Tensor(x)).data
    np.testing.assert_allclose(
        y, (x - mean[:, None, None]) / np.sqrt(var + 1e-3)[:, None, None], rtol=1e-4, atol=1e-5
    )
    for name, array in layer.state_dict().items():
        np.testing.assert_array_equal(array, frozen[name])


def test_batch_norm_against_torch_over_several_steps():
    torch = pytest.importorskip("torch")
    ours, theirs = nn.BatchNorm2d(3).astype(np.float64), torch.nn.BatchNorm2d(3).double()
    for seed in range(5):
        x = leaf(4, 3, 5, 2, seed=seed, dtype=np.float64)
        z = torch.tensor(x.data, requires_grad=True)
        (ours(x) ** 2 * x).sum().backward()
        (theirs(z) ** 2 * z).sum().backward()
        np.testing.assert_allclose(x.grad, z.grad.numpy(), atol=1e-9)
        for mine, other in ((ours.weight, theirs.weight), (ours.bias, theirs.bias)):
            np.testing.assert_allclose(mine.grad, other.grad.numpy(), atol=1e-9)  # accumulated
            mine.data = mine.data - 0.01 * mine.grad
            other.data -= 0.01 * other.grad
    ours.eval(), theirs.eval()
    np.testing.assert_allclose(ours(x).data, theirs(z).detach().numpy(), atol=1e-9)


def test_bits_by_part_counted_by_hand():
    block = nn.Sequential(nn.XnorConv2d(2, 3, 3, rng=rng()), nn.BatchNorm2d(3), nn.PReLU())

    class Net(nn.Module):
        def __init__(self):
            self.stem = nn.Sequential(nn.Conv2d(1, 2, 3, rng=rng()), nn.BatchNorm2d(2))
            self.cells = nn.ModuleList([block, nn.Sequential(nn.ReLU()), block])
            self.tail = nn.Sequential(nn.Sequential(block, nn.Tanh()))
            self.head = nn.Linear(3, 2, rng=rng())
            self.scale = nn.Parameter(np.ones(5, np.float32))

    net = Net()
    expected = {
        "": {"other": 32 * 5},
        "stem": {"real convolutions": 32 * 20, "batch norms": 32 * 8},
        "cells.0": {
            "1-bit weights": 54,
            "scales β": 32 * 3,
            "batch norms": 32 * 12,
            "other": 32 * block[2].weight.size,
        },
        "head": {"linear layers": 32 * 8},
    }
    assert nn.bits_by_part(net) == expected
    assert nn.size_in_bits(net) == sum(sum(kinds.values()) for kinds in expected.values())
    block[0].binary_weights = False
    assert nn.bits_by_part(net)["cells.0"]["real convolutions"] == 32 * 54
    assert nn.bits_by_part(block).keys() == {"0", "1", "2"}
    tied = nn.Sequential(nn.XnorConv2d(2, 3, 3, rng=rng()), nn.Conv2d(2, 3, 3, bias=False))
    tied[1].weight = tied[0].weight  # one part needs it real
    assert nn.bits_by_part(tied) == {"0": {"real convolutions": 32 * 54}}
    assert nn.bits_by_part(nn.ReLU()) == {}


def test_size_in_bits_counted_by_hand():
    assert nn.size_in_bits(nn.Linear(5, 3, rng=rng())) == 32 * (15 + 3)
    assert nn.size_in_bits(nn.BatchNorm2d(4)) == 32 * 16
    assert nn.size_in_bits(nn.BatchNorm2d(4, affine=False)) == 32 * 8
    weights = 6 * 2 * 9
    for beta in ("closed", "learned"):
        binary = nn.XnorConv2d(4, 6, 3, groups=2, beta=beta, rng=rng())
        assert nn.size_in_bits(binary) == weights + 32 * 6
    binary = nn.XnorConv2d(4, 6, 3, groups=2, rng=rng())
    binary.binary_weights = False
    assert nn.size_in_bits(binary) == 32 * weights
    both = nn.Sequential(nn.XnorConv2d(3, 2, 1, rng=rng()), nn.ReLU(), nn.Sequential(nn.PReLU(2)))
    assert nn.size_in_bits(both) == 6 + 64 + 64


# ------------------------------------------------------------------------ what a session sees of it


def test_a_module_is_printed_as_a_tree_with_shapes_and_counts():
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False),
        nn.Sequential(nn.BatchNorm2d(8), nn.ReLU()),
        nn.MaxPool2d(2),
    )
    assert repr(net.eval()).splitlines() == [
        "Sequential, 88 parameters",
        "  0: Conv2d(padding=(1, 1), weight (8, 1, 3, 3)), 72 parameters",
        "  1: Sequential, 16 parameters",
        "    0: BatchNorm2d(eps=1e-05, momentum=0.1, weight (8,), bias (8,), running_mean (8,), "
        "running_var (8,)), 16 parameters",
        "    1: ReLU",
        "  2: MaxPool2d(kernel_size=2, padding=0, dilation=1)",
    ]


def test_a_large_module_is_printed_without_its_deepest_parts():
    deep = nn.Sequential(*(nn.Sequential(*(nn.ReLU() for _ in range(9))) for _ in range(9)))
    assert repr(deep).splitlines() == [
        "Sequential",
        *(f"  {i}: Sequential, 9 parts" for i in range(9)),
    ]
    wide = nn.Sequential(*(nn.ReLU() for _ in range(99)))
    assert len(repr(wide).splitlines()) == 100


def test_default_random_numbers_follow_manual_seed():
    def weights():
        layers = nn.Linear(3, 3), nn.Conv2d(1, 2, 3), nn.XnorConv2d(2, 2, 3)
        dropped = nn.Dropout()(Tensor(np.ones(20, np.float32)))
        return [*(layer.weight.data for layer in layers), dropped.data]

    manual_seed(5)
    first, second = weights(), weights()
    manual_seed(5)
    for a, b, again in zip(first, second, weights()):
        np.testing.assert_array_equal(a, again)
        assert (a != b).any()


def test_numbered_names_go_on_after_a_change_of_mode():
    listed = nn.ModuleList([nn.Linear(1, 1)]).eval()
    listed.append(nn.Linear(1, 1))
    assert [name for name, _ in listed.named_children()] == ["0", "1"]
    with pytest.raises(TypeError, match="ModuleList holds Modules, got list; .* extend"):
        listed.append([nn.Linear(1, 1)])


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: nn.init.kaiming_normal_(nn.Parameter(np.ones(3, np.float32))), "fan-in"),
        (lambda: nn.BatchNorm1d(3)(leaf(2, 3, 4, 4)), "BatchNorm1d: expected"),
        (lambda: nn.BatchNorm2d(3)(leaf(2, 3)), "BatchNorm2d: expected 4 axes"),
        (lambda: nn.AdaptiveAvgPool2d(0)(leaf(2, 3, 4, 4)), "output_size must be"),
        (lambda: nn.AdaptiveAvgPool2d(1)(leaf(2, 3, 4, 0)), "no pixels"),
        (lambda: nn.MSELoss()(leaf(2), leaf(3)), "must have one shape"),
        (lambda: F.one_hot([0, 3], 3), "expected 0 to 2"),
        (lambda: F.one_hot([]), "labels must be integers"),
        (lambda: F.one_hot(np.zeros(0, int)), "give classes="),
    ],
)
def test_layers_and_losses_refuse(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()


def test_a_module_that_is_there_twice_runs_twice():
    layer, relu = nn.Linear(2, 2), nn.ReLU()
    net = nn.Sequential(layer, relu, layer, relu)
    x = Tensor(np.float32([[1.0, -2.0]]))
    assert len(net) == 4 and net[2] is layer and [m for m in net] == [layer, relu, layer, relu]
    np.testing.assert_array_equal(net(x).data, F.relu(layer(F.relu(layer(x)))).data)
    assert len(net.modules()) == 3 and nn.parameter_count(net) == 6
    listed = nn.ModuleList([relu] * 2).append(relu)
    assert len(listed) == 3 and len(net[1:]) == 3
    names = [f"{i}.{part}" for i in (0, 2) for part in ("weight", "bias")]
    assert list(net.state_dict()) == names  # under all its names, as in PyTorch
    again = nn.Sequential(nn.Linear(2, 2), relu, nn.Linear(2, 2), relu)
    again.load_state_dict(net.state_dict())
    np.testing.assert_array_equal(again(x).data, net(x).data)


def test_buffers_in_lists_are_converted_and_shared_ones_stay_shared():
    class Shifted(nn.Module):
        def __init__(self):
            self.shifts = [np.ones(3, np.float32), (np.ones(3, np.float32), "text")]
            self.table = {"same": self.shifts[0], "count": np.arange(3)}

        def forward(self, x):
            return x * self.shifts[0]

    module = Shifted().astype(np.float64)
    assert module.shifts[0].dtype == module.shifts[1][0].dtype == np.float64
    assert module.table["same"] is module.shifts[0] and module.table["count"].dtype.kind == "i"
    assert module(Tensor(np.ones(3))).dtype == np.float64


def test_evaluating_leaves_a_frozen_part_in_evaluation():
    net = nn.Sequential(nn.BatchNorm2d(2), nn.ReLU()).train()
    net[0].eval()
    with nn.evaluating(net):
        assert not net.training and not net[0].training
    assert net.training and net[1].training and not net[0].training
