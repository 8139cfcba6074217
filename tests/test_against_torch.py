"""Every name shared with PyTorch, called there and here with the same arguments: the same meaning, or a refusal.

The tables below hold calls in PyTorch's terms. A float64 array becomes a Tensor that requires a gradient on both
sides, an array of integers stays one here and becomes a tensor there. A call is a tuple of arguments, a dict at
its end keywords. What stands under REFUSED is accepted by PyTorch and refused here with a TypeError or ValueError.
"""

import numpy as np
import pytest
from helpers.arrays import normal

import bnas
import bnas.functional as F
from bnas import nn, optim
from bnas.autodiff import Tensor

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore:.*:UserWarning")  # PyTorch's advice


class Constant(np.ndarray):
    """An array that becomes a Tensor without a gradient."""


X, Y = normal(0, 3, 4), 2 + np.abs(normal(1, 3, 4))
IMAGES, KERNEL = normal(2, 2, 4, 6, 7), normal(3, 4, 2, 3, 3)
LABELS, MASK = np.array([3, 0, 1]), X > 0
SCALE = np.array([0.5, 2.0, 1.0, 0.25])
WEIGHT = SCALE.view(Constant)
LOG_P = np.log(Y / Y.sum(axis=1, keepdims=True))
P = np.exp(normal(4, 3, 4))
P /= P.sum(axis=1, keepdims=True)
DIM, KEEPDIM = {"dim": 1}, {"dim": 1, "keepdim": True}
OURS = {"dim": "axis", "keepdim": "keepdims", "start_dim": "start_axis", "end_dim": "end_axis"}


def statistics():
    """Running statistics, which the call moves."""
    return [normal(5, 4), np.abs(normal(6, 4)) + 1]


UNARY = [(X,)]
REDUCTION = [(X,), (X, 1), (X, (0, 1)), (X, 1, True), (X, KEEPDIM)]
OPERATIONS = {
    "abs": UNARY,
    "adaptive_avg_pool2d": [(IMAGES, 1), (IMAGES, (3, 2)), (IMAGES, (6, 7)), (IMAGES, (8, 5))],
    "add": [(X, Y), (X, 2.5), (X, Y[0])],
    "argmax": [(X,), (X, 1), (X, 0, True), (X, KEEPDIM)],
    "avg_pool2d": [(IMAGES, 3), (IMAGES, 3, 2, 1), (IMAGES, (2, 3), (1, 2), (1, 0))]
    + [(IMAGES, 3, 2, 1, {"count_include_pad": False}), (IMAGES, {"kernel_size": 2, "stride": 1})],
    "batch_norm": [(IMAGES, None, None, SCALE, SCALE, True), (X, None, None, {"training": True})]
    + [(IMAGES, "running", SCALE, SCALE, False), (IMAGES, "running", None, None, True, 0.3, 1e-3)]
    + [(IMAGES[..., 0], "running", {"training": True, "momentum": 0.5})],
    "cat": [([X, Y],), ([X, Y], 1), ([X, Y], DIM)],
    "clip": [(X, -0.5, 0.5), (X, 0.0), (X, {"max": 0.0})],
    "clone": UNARY,
    "concat": [([X, Y],), ([X, Y], 1)],
    "conv2d": [(IMAGES, normal(3, 5, 4, 3, 3)), (IMAGES, KERNEL, SCALE, 2, 1, 2, 2)]
    + [(IMAGES, KERNEL, {"stride": (1, 2), "padding": (2, 0), "groups": 2})],
    "cos": UNARY,
    "cross_entropy": [(X, LABELS), (X, LABELS, WEIGHT), (X, LABELS, {"reduction": "sum"})]
    + [
        (X, LABELS, {"ignore_index": 3, "reduction": "none"}),
        (X, LABELS, {"label_smoothing": 0.2}),
    ],
    "div": [(X, Y), (X, 2.5)],
    "dropout": [(X, 0.5, False), (X, 0.0), (X, {"p": 0.0, "training": True})],
    "exp": UNARY,
    "flatten": [(IMAGES,), (IMAGES, 1), (IMAGES, 1, 2), (IMAGES, {"start_dim": 1, "end_dim": -1})],
    "kl_div": [
        (LOG_P, P),
        (LOG_P, P, {"reduction": "batchmean"}),
        (LOG_P, P, {"reduction": "none"}),
    ],
    "linear": [(X, normal(7, 2, 4)), (X, normal(7, 2, 4), normal(8, 2))],
    "log": [(Y,)],
    "log_softmax": [(X, 1), (X, 0), (X, DIM)],
    "matmul": [(X, Y.T), (X, Y[0]), (normal(0, 2, 3, 4), Y.T)],
    "max": [(X,)],
    "max_pool2d": [(IMAGES, 3), (IMAGES, 3, 1, 1, 2), (IMAGES, {"kernel_size": 2, "padding": 1})],
    "maximum": [(X, Y), (X, X)],
    "mean": REDUCTION,
    "minimum": [(X, Y), (X, X)],
    "mse_loss": [(X, Y), (X, Y, {"reduction": "sum"}), (X, Y, {"reduction": "none"})],
    "mul": [(X, Y), (X, 2.5)],
    "neg": UNARY,
    "nll_loss": [(LOG_P, LABELS), (LOG_P, LABELS, WEIGHT), (LOG_P, LABELS, {"reduction": "none"})]
    + [(LOG_P, LABELS, {"ignore_index": 3}), (LOG_P, LABELS, WEIGHT, {"reduction": "sum"})],
    "one_hot": [(LABELS,), (LABELS, 5), (np.array([[1, 0], [2, 2]]),)],
    "pad": [(X, (1, 2)), (X, (1, 2, 0, 3)), (X, (1, 0), {"value": 2.5})],
    "permute": [(IMAGES, (3, 0, 2, 1)), (IMAGES, (-1, 0, 2, 1))],
    "pow": [(Y, 3), (Y, 0.5), (Y, -1)],
    "prelu": [(IMAGES, SCALE), (X, SCALE[:1])],
    "relu": UNARY,
    "reshape": [(X, (2, 6)), (X, (-1, 3))],
    "sigmoid": UNARY,
    "sin": UNARY,
    "softmax": [(X, 1), (X, 0), (X, DIM)],
    "sqrt": [(Y,)],
    "squeeze": [(X[:, None],), (X[:, None], 1), (X[:, None], DIM)],
    "stack": [([X, Y],), ([X, Y], 1), ([X, Y], {"dim": -1})],
    "std": [(X,), (X, 1), (X, {"correction": 0}), (X, 1, {"correction": 2, "keepdim": True})],
    "sub": [(X, Y), (X, 2.5)],
    "sum": REDUCTION,
    "tanh": UNARY,
    "transpose": [(X, 0, 1), (IMAGES, 1, 3), (IMAGES, -1, 0)],
    "unsqueeze": [(X, 1), (X, -1), (X, DIM)],
    "var": [(X,), (X, 1), (X, {"correction": 0}), (X, (0, 1), {"keepdim": True})],
    "where": [(MASK, X, Y), (MASK, X, 0.0), (MASK[:, :1], X, Y[0])],
}
REFUSED = {
    "add": [(X, Y, {"alpha": 2})],
    "avg_pool2d": [(IMAGES, 2, 2, 0, True), (IMAGES, 2, {"ceil_mode": True})],
    "cross_entropy": [(X, P)],
    "div": [(X, Y, {"rounding_mode": "floor"})],
    "dropout": [(X, 1.0), (X, 0.5, True, True)],
    "kl_div": [(LOG_P, LOG_P, {"log_target": True})],
    "max_pool2d": [(IMAGES, 2, 2, 0, 1, True), (IMAGES, 2, {"return_indices": True})],
    "mse_loss": [(X, Y[0])],
    "pad": [(X, (-1, 0)), (X, (1, 1), "constant", 0.0)],
    "pow": [(Y, X)],
    "relu": [(X, {"inplace": True})],
    "softmax": [({"input": X, "dim": 1})],
    "squeeze": [(X, 1)],
    "std": [(X, 1, False), (X, {"unbiased": False})],
    "sub": [(X, Y, {"alpha": 2})],
    "sum": [(X, {"dtype": "float64"})],
    "var": [(X, 1, True)],
}
# The methods, where they are called otherwise than the function of that name; and the attributes.
METHODS = {
    "backward": [(X,)],
    "max": [(X,)],
    "permute": [(IMAGES, 3, 0, 2, 1), (IMAGES, (3, 0, 2, 1))],
    "reshape": [(X, 2, 6), (X, (2, 6)), (X, -1)],
    "where": [(X, MASK, Y)],
}
ATTRIBUTES = {"T", "data", "dtype", "grad", "ndim", "requires_grad", "shape"}
METHODS_ELSEWHERE = {"detach", "item", "numpy"}
# NumPy's meaning: an attribute, where PyTorch has a method, and so a TypeError if it is called.
OTHERWISE = {"size"}
MODULES = {
    "AdaptiveAvgPool2d": [((2,), IMAGES), (((3, 1),), IMAGES)],
    "AvgPool2d": [((3, 2, 1), IMAGES), ((2, {"stride": 1, "count_include_pad": False}), IMAGES)],
    "BatchNorm1d": [((4,), X), ((4, 1e-3, 0.3), IMAGES[..., 0]), ((4, {"affine": False}), X)],
    "BatchNorm2d": [((4,), IMAGES), (({"num_features": 4, "eps": 0.1, "momentum": 0.2},), IMAGES)],
    "Conv2d": [((4, 6, 3, 2, 1, 2, 2), IMAGES), ((4, 2, (2, 3), {"bias": False}), IMAGES)],
    "CrossEntropyLoss": [((), X, LABELS), (({"label_smoothing": 0.1},), X, LABELS)],
    "Dropout": [((0.0,), X)],
    "Flatten": [((), IMAGES), ((2,), IMAGES), ((0, 1), IMAGES)],
    "Identity": [((), X)],
    "Linear": [((4, 3), X), ((4, 3, False), X)],
    "MSELoss": [((), X, Y), (({"reduction": "sum"},), X, Y)],
    "MaxPool2d": [((3, 1, 1, 2), IMAGES), ((2, {"padding": 1}), IMAGES)],
    "NLLLoss": [((), LOG_P, LABELS), (({"ignore_index": 0},), LOG_P, LABELS)],
    "PReLU": [((), X), ((4, 0.5), X), (({"num_parameters": 4, "init": 0.1},), X)],
    "ReLU": [((), X)],
    "Sigmoid": [((), X)],
    "Tanh": [((), X)],
}
REFUSED_MODULES = {
    "AvgPool2d": [(2, 2, 0, True)],
    "BatchNorm2d": [(4, 1e-5, 0.1, True, False)],
    "Conv2d": [(4, 4, 3, {"padding_mode": "reflect"})],
    "CrossEntropyLoss": [(None, True)],
    "Dropout": [(0.5, True)],
    "MaxPool2d": [(2, 2, 0, 1, True)],
    "ReLU": [(True,)],
}
MODULES_ELSEWHERE = {"Module", "ModuleList", "Parameter", "Sequential", "init"}
RULES = {
    "SGD": [(0.1,), (0.1, 0.9), (0.1, {"momentum": 0.9, "weight_decay": 0.1, "nesterov": True})],
    "Adam": [(), (0.1, (0.5, 0.9), 1e-3, 0.2), ({"lr": 0.1},)],
    "AdamW": [(), (0.1, (0.5, 0.9), 1e-3, 0.2)],
}
SCHEDULES = {
    "LambdaLR": [(lambda n: 1 / (n + 1),)],
    "StepLR": [(2,), (3, 0.5), ({"step_size": 1, "gamma": 0.9},)],
    "CosineAnnealingLR": [(5,), (4, 0.01), ({"T_max": 3, "eta_min": 0.05},)],
}


def split(call):
    """(arguments, keywords) of a call."""
    call = call if isinstance(call, tuple) else (call,)
    if call and isinstance(call[-1], dict):
        return call[:-1], call[-1]
    return call, {}


def flat(table):
    return [pytest.param(name, call, id=name) for name, calls in table.items() for call in calls]


class Side:
    """One of the two libraries: turns the arguments of a call into its own, and keeps its leaves."""

    def __init__(self, ours, gradients=True):
        self.ours, self.gradients, self.leaves, self.moved = ours, gradients, [], statistics()

    def converted(self, value):
        if isinstance(value, (list, tuple)):
            return type(value)(map(self.converted, value))
        if not isinstance(value, np.ndarray):
            return value
        if value.dtype.kind == "f":
            learned = self.gradients and not isinstance(value, Constant)
            make = Tensor if self.ours else torch.tensor
            leaf = make(np.asarray(value), requires_grad=learned)
            self.leaves += [leaf] * learned
            return leaf
        return value if self.ours else torch.tensor(value)

    def arguments(self, call):
        args, kwargs = split(call)
        found = []
        for arg in args:
            if isinstance(arg, str) and arg == "running":
                found += self.moved if self.ours else map(torch.from_numpy, self.moved)
            else:
                found.append(self.converted(arg))
        return found, {
            (OURS.get(key, key) if self.ours else key): self.converted(value)
            for key, value in kwargs.items()
        }

    def run(self, function, call):
        """(result, gradients of all leaves for a fixed cotangent), arrays."""
        args, kwargs = self.arguments(call)
        y = function(*args, **kwargs)
        if isinstance(y, np.ndarray | np.integer) or getattr(y, "dtype", None) == torch.int64:
            return [np.asarray(y)]
        cotangent = normal(9, *y.shape)
        y.backward(cotangent if self.ours else torch.tensor(cotangent))
        return [
            y.detach().numpy(),
            *(None if t.grad is None else np.asarray(t.grad) for t in self.leaves),
        ]


def compare(ours, theirs, call):
    us, them = Side(True), Side(False)
    for got, want in zip(us.run(ours, call), them.run(theirs, call), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12)
        assert np.shape(got) == np.shape(want)
    for got, want in zip(us.moved, them.moved):
        np.testing.assert_allclose(got, want, rtol=1e-9)


def of_torch(name):
    return getattr(torch.nn.functional, name, None) or getattr(torch, name)


def test_the_tables_know_every_shared_name():
    shared = {n for n in F.__all__ if hasattr(torch.nn.functional, n) or hasattr(torch, n)}
    assert shared == set(OPERATIONS)
    methods = {n for n in vars(Tensor) if n[0] != "_" and hasattr(torch.Tensor, n)}
    assert (
        methods - set(OPERATIONS)
        == set(METHODS) - set(OPERATIONS) | ATTRIBUTES | OTHERWISE | METHODS_ELSEWHERE
    )
    assert {n for n in nn.__all__ if hasattr(torch.nn, n)} == set(MODULES) | MODULES_ELSEWHERE
    assert {n for n in optim.__all__ if hasattr(torch.optim, n)} == {*RULES, "lr_scheduler"}
    schedules = {n for n in vars(optim.lr_scheduler) if hasattr(torch.optim.lr_scheduler, n)}
    assert {n for n in schedules if n[0].isupper()} == set(SCHEDULES)
    elsewhere = {"Tensor", "functional", "nn", "optim", "__version__"}
    tested = {"is_grad_enabled", "manual_seed", "no_grad"}
    assert {n for n in bnas.__all__ if hasattr(torch, n)} == elsewhere | tested


@pytest.mark.parametrize("name, call", flat(OPERATIONS))
def test_operations(name, call):
    compare(getattr(F, name), of_torch(name), call)


@pytest.mark.parametrize("name, call", flat(REFUSED))
def test_operations_refuse_what_they_would_take_otherwise(name, call):
    args, kwargs = Side(False, gradients=False).arguments(call)
    of_torch(name)(
        *args, **{k: getattr(torch, v) if k == "dtype" else v for k, v in kwargs.items()}
    )
    args, kwargs = split(call)
    args, kwargs = (
        [Side(True).converted(a) for a in args],
        {k: Side(True).converted(v) for k, v in kwargs.items()},
    )
    with pytest.raises((TypeError, ValueError)):
        getattr(F, name)(*args, **kwargs)


ALIKE = {n: OPERATIONS[n] for n in OPERATIONS if hasattr(torch.Tensor, n) and hasattr(Tensor, n)}


@pytest.mark.parametrize("name, call", flat({**ALIKE, **METHODS}))
def test_methods(name, call):
    if name == "backward":
        us, them = Side(True), Side(False)
        x, y = us.converted(X), them.converted(X)
        (x * x).backward(Y)
        (y * y).backward(torch.tensor(Y))
        np.testing.assert_allclose(x.grad, y.grad.numpy())
    else:
        compare(getattr(Tensor, name), getattr(torch.Tensor, name), call)


def test_attributes():
    x, y = Tensor(X, requires_grad=True), torch.tensor(X, requires_grad=True)
    assert (x.ndim, tuple(x.shape), x.requires_grad) == (y.ndim, tuple(y.shape), y.requires_grad)
    assert x.grad is None and y.grad is None and x.dtype == y.detach().numpy().dtype
    np.testing.assert_array_equal(x.T.data, y.T.detach().numpy())
    np.testing.assert_array_equal(x.data, y.data.numpy())
    assert not x.detach().requires_grad and x.sum().item() == pytest.approx(y.sum().item())
    np.testing.assert_array_equal(x.detach().numpy(), y.detach().numpy())
    with pytest.raises(TypeError):
        x.size()


@pytest.mark.parametrize("name, call", flat(MODULES))
def test_modules(name, call):
    (settings, *inputs), us, them = call, Side(True), Side(False)
    args, kwargs = split(settings)
    ours = getattr(nn, name)(*args, **kwargs).astype(np.float64)
    theirs = getattr(torch.nn, name)(*args, **kwargs).double()
    with torch.no_grad():
        for (mine, parameter), (other, twin) in zip(
            ours.named_parameters(), theirs.named_parameters(), strict=True
        ):
            assert mine == other
            twin.copy_(torch.tensor(parameter.data))
    got, want = us.run(ours, tuple(inputs)), them.run(theirs, tuple(inputs))
    got += [parameter.grad for parameter in ours.parameters()]
    want += [parameter.grad.numpy() for parameter in theirs.parameters()]
    for ours_, theirs_ in zip(got, want, strict=True):
        np.testing.assert_allclose(ours_, theirs_, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(
        ours.eval()(Tensor(inputs[0]), *inputs[1:]).data,
        theirs.eval()(torch.tensor(inputs[0]), *map(torch.tensor, inputs[1:])).detach().numpy(),
        rtol=1e-8,
        atol=1e-10,
    )
    shared = theirs.state_dict().keys() - {"num_batches_tracked"}
    assert set(ours.state_dict()) == shared


@pytest.mark.parametrize("name, call", flat(REFUSED_MODULES))
def test_modules_refuse_what_they_would_take_otherwise(name, call):
    args, kwargs = split(call)
    with pytest.raises((TypeError, ValueError)):
        getattr(nn, name)(*args, **kwargs)


def test_containers():
    ours = nn.Sequential(nn.ModuleList([nn.Linear(2, 3), nn.ReLU()])[0], nn.Linear(3, 1))
    theirs = torch.nn.Sequential(
        torch.nn.ModuleList([torch.nn.Linear(2, 3), torch.nn.ReLU()])[0], torch.nn.Linear(3, 1)
    )
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert len(ours) == len(theirs) and len(ours[1:]) == len(theirs[1:])
    assert [n for n, _ in ours.named_children()] == [n for n, _ in theirs.named_children()]
    listed, twin = nn.ModuleList([nn.ReLU()]), torch.nn.ModuleList([torch.nn.ReLU()])
    listed.append(nn.Linear(1, 1)).extend([nn.Linear(1, 2)])
    twin.append(torch.nn.Linear(1, 1)).extend([torch.nn.Linear(1, 2)])
    assert list(listed.state_dict()) == list(twin.state_dict()) and len(listed) == len(twin)


FILLS = ["zeros_", "ones_", "constant_", "uniform_", "normal_"]
FILLS += ["kaiming_normal_", "kaiming_uniform_", "xavier_normal_", "xavier_uniform_"]


@pytest.mark.parametrize("name", FILLS)
def test_initial_values_have_the_same_distribution(name):
    args = (0.5,) if name == "constant_" else ()
    weight = nn.Parameter(np.full((60, 40, 3, 3), np.nan, np.float32))
    twin = torch.empty(60, 40, 3, 3)
    assert getattr(nn.init, name)(weight, *args) is weight
    if name.startswith("kaiming"):
        getattr(torch.nn.init, name)(twin, nonlinearity="relu")
    else:
        getattr(torch.nn.init, name)(twin, *args)
    mean, std, largest = twin.mean().item(), twin.std().item(), twin.abs().max().item()
    assert weight.data.mean() == pytest.approx(mean, abs=0.02 * largest)
    assert weight.data.std() == pytest.approx(std, rel=0.03, abs=1e-12)
    if "normal" not in name:
        assert np.abs(weight.data).max() == pytest.approx(largest, rel=0.01, abs=1e-12)


def test_names_of_init():
    ours = {n for n in vars(nn.init) if n.endswith("_") and not n.startswith("_")}
    assert ours == set(FILLS) and all(hasattr(torch.nn.init, n) for n in ours)


@pytest.mark.parametrize("name, call", flat(RULES))
def test_optimisers(name, call):
    args, kwargs = split(call)
    w, v = Tensor(X, requires_grad=True), torch.tensor(X, requires_grad=True)
    ours = getattr(optim, name)([w], *args, **kwargs)
    theirs = getattr(torch.optim, name)([v], *args, **kwargs)
    for step in range(4):
        ours.zero_grad()
        theirs.zero_grad()
        (w * w * (w + step)).sum().backward()
        (v * v * (v + step)).sum().backward()
        ours.step()
        theirs.step()
        np.testing.assert_allclose(w.data, v.detach().numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name, call", flat(SCHEDULES))
def test_schedules(name, call):
    args, kwargs = split(call)
    ours = optim.SGD([Tensor(X, requires_grad=True)], lr=0.2)
    theirs = torch.optim.SGD([torch.tensor(X, requires_grad=True)], lr=0.2)
    schedule = getattr(optim.lr_scheduler, name)(ours, *args, **kwargs)
    twin = getattr(torch.optim.lr_scheduler, name)(theirs, *args, **kwargs)
    for _ in range(6):
        assert schedule.get_last_lr() == pytest.approx(twin.get_last_lr())
        assert ours.lr == schedule.get_last_lr()[0]
        theirs.step()
        schedule.step()
        twin.step()


def test_contexts_and_seeds():
    for library in (bnas, torch):
        with library.no_grad():
            assert not library.is_grad_enabled()
        assert library.is_grad_enabled()

        @library.no_grad()
        def inside(library=library):
            return library.is_grad_enabled()

        assert not inside()
    for library, layer in (
        (bnas, lambda: nn.Linear(2, 2).weight.data),
        (torch, lambda: torch.rand(2)),
    ):
        library.manual_seed(3)
        first = np.asarray(layer())
        library.manual_seed(3)
        np.testing.assert_array_equal(first, np.asarray(layer()))
        assert (first != np.asarray(layer())).any()


def steps_in_place(w, library):
    with library.no_grad():
        w -= 0.1 * w.grad
        w *= 0.5
        w[0] = 7.0
    return w


def test_gradient_descent_by_hand():
    w, v = Tensor(X, requires_grad=True), torch.tensor(X, requires_grad=True)
    for _ in range(3):
        w.grad = v.grad = None
        (w * w).sum().backward()
        (v * v).sum().backward()
        same = steps_in_place(w, bnas)
        steps_in_place(v, torch)
        assert same is w and w.requires_grad and w.node is None
        np.testing.assert_allclose(w.data, v.detach().numpy())
    for change in (lambda x: x.__isub__(1.0), lambda x: x.__setitem__(0, 1.0)):
        for leaf in (w, v):
            with pytest.raises(RuntimeError):
                change(leaf)
