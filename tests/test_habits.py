"""Habits from NumPy and PyTorch: the same meaning here, or an error that names the difference."""

import copy
import threading

import numpy as np
import pytest
from helpers.arrays import normal, seeds
from hypothesis import given
from hypothesis import strategies as st

import bnas.functional as F
from bnas import nn, optim
from bnas.autodiff import Tensor, frozen, grad, no_grad

RNG = np.random.default_rng(0)


def ones(*shape, **options):
    return Tensor(np.ones(shape, np.float32), **options)


def learned(*values):
    return Tensor(np.float32(values), requires_grad=True)


# ------------------------------------------------------------------------- a Tensor is no sequence


@pytest.mark.parametrize(
    "call",
    [
        lambda x: optim.SGD(x, 0.1),
        lambda x: optim.Adam(x),
        lambda x: optim.clip_grad_norm(x, 1.0),
        lambda x: grad(x.sum(), x),
        lambda x: frozen(x).__enter__(),
        lambda x: F.stack(x),
        lambda x: F.concat(x),
        lambda x: F.mixed_sum(ones(2), x),
    ],
)
def test_one_tensor_where_several_are_expected_is_not_taken_apart(call):
    with pytest.raises(TypeError, match=r"expected a list of Tensors, got one Tensor.*\[tensor\]"):
        call(ones(2, 2, requires_grad=True))


def test_named_parameters_are_refused_by_an_optimiser():
    layer = nn.Linear(2, 2, rng=RNG)
    with pytest.raises(TypeError, match="SGD: expected a list of Tensors, got tuple"):
        optim.SGD(layer.named_parameters(), 0.1)


@pytest.mark.parametrize(
    "parameters, message",
    [
        (lambda x: [x, x], "given twice"),
        (lambda x: [x, x * 2], "parameter 1 .* was computed, so it never gets a gradient"),
        (lambda x: [Tensor([1.0])], "no parameter requires a gradient"),
    ],
)
def test_an_optimiser_refuses_what_it_could_not_move(parameters, message):
    with pytest.raises(ValueError, match=message):
        optim.SGD(parameters(learned(1.0)), 0.1)


def test_the_truth_of_a_tensor_is_that_of_its_value():
    for shape in ((), (1,), (1, 1)):
        assert not Tensor(np.zeros(shape)) and Tensor(np.ones(shape))
    for shape in ((2,), (0,), (1, 2)):
        with pytest.raises(ValueError, match="ambiguous"):
            bool(Tensor(np.ones(shape)))


def test_a_tensor_of_one_element_is_a_number():
    x = learned(1.23456)
    assert float(x) == float(np.float32(1.23456)) and int(x) == 1
    assert (
        f"{x:.3f}" == "1.235" and f"{x.sum():8.2f}" == "    1.23" and f"{x.sum()}" == str(x.item())
    )
    assert f"{x}" == str(x) == repr(x)
    for use in (float, int, "{:.3f}".format):
        with pytest.raises(ValueError, match=r"one element is a number, this one has shape \(2,\)"):
            use(ones(2))


def test_rows_are_gone_through_but_a_scalar_has_none():
    assert [row.data.tolist() for row in Tensor([[1.0], [2.0]])] == [[1], [2]]
    with pytest.raises(TypeError, match="without axes"):
        list(Tensor(1.0))
    assert 2.0 in Tensor([[1.0, 2.0]]) and 3.0 not in Tensor([[1.0, 2.0]])


# ------------------------------------------------------------------------------- NumPy's functions

UFUNCS = [np.exp, np.log, np.sqrt, np.sin, np.cos, np.tanh, np.negative, np.absolute]
PAIRS = [np.add, np.subtract, np.multiply, np.true_divide, np.minimum, np.maximum]


@given(st.sampled_from(UFUNCS), seeds)
def test_a_ufunc_that_is_an_operation_is_recorded(ufunc, seed):
    values = 1 + np.abs(normal(seed, 3))
    x = Tensor(values, requires_grad=True)
    y = ufunc(x)
    np.testing.assert_array_equal(y.data, ufunc(values))
    y.sum().backward()
    slope = (ufunc(values + 1e-6) - ufunc(values - 1e-6)) / 2e-6
    np.testing.assert_allclose(x.grad, slope, rtol=1e-6)


@given(st.sampled_from(PAIRS), seeds)
def test_an_array_on_either_side_of_a_ufunc(ufunc, seed):
    a, b = normal(seed, 3), 3 + normal(seed + 1, 3)
    for got in (ufunc(Tensor(a), b), ufunc(a, Tensor(b)), ufunc(Tensor(a), Tensor(b))):
        assert isinstance(got, Tensor)
        np.testing.assert_array_equal(got.data, ufunc(a, b))
    np.testing.assert_array_equal(np.matmul(np.eye(3), Tensor(a)).data, a)
    np.testing.assert_array_equal(np.power(Tensor(a), 2).data, a**2)


def test_other_functions_of_numpy_compute_with_the_values_of_a_constant():
    x, y = Tensor([1.0, 2.5]), Tensor([3.0, 4.0])
    np.testing.assert_array_equal(np.stack([x, y]), [[1, 2.5], [3, 4]])
    np.testing.assert_array_equal(np.concatenate((x, y.data)), [1, 2.5, 3, 4])
    np.testing.assert_array_equal(np.floor(x), [1, 2])
    np.testing.assert_allclose(x, [1, 2.5])
    assert np.mean(x) == 1.75 and np.add.reduce(x) == 3.5 and np.sum(x, axis=0) == 3.5
    assert np.asarray(x) is x.data and np.array(x) is not x.data
    assert np.asarray(x, np.float64).dtype == np.float64
    into = np.zeros(2, np.float32)
    into += x
    np.testing.assert_array_equal(into, [1, 2.5])
    np.testing.assert_array_equal(Tensor([x, y]).data, [[1, 2.5], [3, 4]])


@pytest.mark.parametrize(
    "call",
    [
        lambda x: np.stack([x, x]),
        lambda x: np.mean(x),
        lambda x: np.floor(x),
        lambda x: np.add.reduce(x),
        lambda x: np.asarray(x),
        lambda x: np.add(x, x, out=np.zeros(2, np.float32)),
        lambda x: Tensor([x.sum(), x.sum()]),
    ],
)
def test_numpy_does_not_lose_a_gradient_without_a_word(call):
    with pytest.raises(TypeError, match=r"gradient.*bnas.functional.*x.numpy\(\)"):
        call(learned(1.0, 2.0))


def test_questions_have_no_gradient_to_lose():
    x = learned(1.0, np.inf)
    assert np.isfinite(x).tolist() == [True, False] and np.isinf(x).tolist() == [False, True]
    assert np.less(x, 2.0).tolist() == [True, False] and (np.float64(0.1) == learned(0.1)).all()


def test_curves_of_tensors(tmp_path):
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    (line,) = axes.plot(Tensor([1.0, 3.0]))
    assert line.get_ydata(orig=False).tolist() == [1, 3]
    with pytest.raises(TypeError, match=r"x.numpy\(\)"):
        axes.plot(learned(1.0, 3.0))


# ------------------------------------------------------------------------------------------ indices


@pytest.mark.parametrize(
    "index",
    [
        ((0, 0),),
        (slice(None), (1, 1)),
        ((0, 0), (1, 1)),
        (range(2), [1, 1]),
        ([0, 0], slice(1)),
        (np.array([[0, 1], [1, 1]]),),
        ([True, False],),
        (..., [1, 1, 1]),
        (None, (0, 0)),
        ([],),
        True,
        np.int64(1),
        (np.array(1), (0, 0)),
    ],
)
def test_an_element_picked_several_times_gets_all_its_gradients(index):
    x = Tensor(normal(0, 2, 3), requires_grad=True)
    y = x[index]
    np.testing.assert_array_equal(y.data, x.data[index])
    cotangent = normal(1, *y.shape)
    y.backward(cotangent)
    want = np.zeros((2, 3))
    np.add.at(want, index, cotangent)
    np.testing.assert_allclose(x.grad, want)


def test_an_index_that_is_changed_afterwards_changes_no_gradient():
    x, index = learned(1.0, 2.0), np.array([0, 0])
    y = x[index].sum()
    index[:] = 1
    y.backward()
    assert x.grad.tolist() == [2, 0]


def test_millions_of_picks_are_counted_exactly():
    x = learned(0.0)
    x[np.zeros(2**24 + 1024, int)].sum().backward()
    assert x.grad.tolist() == [2**24 + 1024]


def test_a_tensor_is_no_index():
    with pytest.raises(TypeError, match="an index holds integers"):
        ones(2)[ones(1)]


# ------------------------------------------------------------------------------ state of a thread


def test_no_grad_holds_for_its_own_thread():
    inside, leave = threading.Event(), threading.Event()

    def evaluate():
        with no_grad():
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=evaluate)
    thread.start()
    inside.wait(10)
    assert (learned(1.0) * 2).requires_grad
    with no_grad():  # overlaps with the other one, and ends after it
        leave.set()
        thread.join()
        assert not (learned(1.0) * 2).requires_grad
    assert (learned(1.0) * 2).requires_grad


# ------------------------------------------------------------------- names that PyTorch has as well


def test_running_statistics_may_be_tensors_and_move():
    x = Tensor(normal(0, 8, 2, 3, 3))
    arrays, tensors = (np.zeros(2), np.ones(2)), (Tensor(np.zeros(2)), Tensor(np.ones(2)))
    y = F.batch_norm(x, *arrays, training=True)
    z = F.batch_norm(x, *tensors, training=True)
    np.testing.assert_array_equal(y.data, z.data)
    for array, tensor in zip(arrays, tensors):
        np.testing.assert_array_equal(array, tensor.data)
    assert arrays[0].all() and (arrays[1] != 1).all()
    np.testing.assert_array_equal(F.batch_norm(x, *arrays).data, F.batch_norm(x, *tensors).data)


@pytest.mark.parametrize(
    "statistic, options, message",
    [
        ([0.0, 0.0], {}, "running_mean must be an array"),
        (np.zeros(2, int), {}, "running_mean must be an array"),
        (Tensor(np.zeros(2), requires_grad=True), {}, "running_mean is moved in place"),
        (np.zeros(2), {"momentum": None}, "momentum must be a number"),
    ],
)
def test_running_statistics_that_cannot_move_are_refused(statistic, options, message):
    with pytest.raises(TypeError, match=message):
        F.batch_norm(ones(3, 2), statistic, np.ones(2), training=True, **options)


@given(st.integers(2, 4), st.data(), seeds)
def test_two_ints_swap_axes_and_a_tuple_orders_them(ndim, data, seed):
    x = Tensor(normal(seed, *range(2, 2 + ndim)), requires_grad=True)
    first, second = (data.draw(st.integers(-ndim, ndim - 1)) for _ in range(2))
    swapped = x.transpose(first, second)
    np.testing.assert_array_equal(swapped.data, x.data.swapaxes(first, second))
    np.testing.assert_array_equal(F.transpose(x, first, second).data, swapped.data)
    order = tuple(data.draw(st.permutations(range(ndim))))
    ordered = x.transpose(order)
    np.testing.assert_array_equal(ordered.data, x.data.transpose(order))
    ordered.backward(ordered.data)
    np.testing.assert_array_equal(x.grad, x.data)


def test_maxima_are_not_unpacked_as_values_and_indices():
    x = Tensor([[1.0, 3.0], [4.0, 2.0]], requires_grad=True)
    with pytest.raises(TypeError, match="argmax"):
        values, indices = x.max(1)
    for i in (0, 1, np.int64(1)):  # the idiom x.max(1)[1]
        with pytest.raises(TypeError, match="argmax"):
            x.max(1)[i]
    y = x.max(1)
    assert y.data.tolist() == [3, 4] and y[:1].data.tolist() == [3] and y.clone()[0].item() == 3
    y.sum().backward()
    assert x.grad.tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize(
    "call, name",
    [
        (lambda x: x.sum(dim=1), "axis"),
        (lambda x: x.mean(1, keepdim=True), "keepdims"),
        (lambda x: x.max(dim=1), "axis"),
        (lambda x: x.std(unbiased=False), "correction"),
        (lambda x: F.var(x, dim=0), "axis"),
        (lambda x: x.argmax(dim=1), "axis"),
        (lambda x: F.softmax(x, dim=1), "axis"),
        (lambda x: x.log_softmax(dim=1), "axis"),
        (lambda x: F.cat([x, x], dim=1), "axis"),
        (lambda x: F.stack([x, x], dim=1), "axis"),
        (lambda x: x.squeeze(dim=1), "axis"),
        (lambda x: x.unsqueeze(dim=1), "axis"),
        (lambda x: x.flatten(start_dim=1), "start_axis"),
    ],
)
def test_names_of_torch_are_answered_with_ours(call, name):
    with pytest.raises(TypeError, match=f"is called {name}= here"):
        call(ones(2, 2))


@pytest.mark.parametrize(
    "call",
    [
        lambda: ones(2).std(0, False),  # unbiased=False in PyTorch, keepdims in NumPy
        lambda: optim.SGD([learned(1.0)], 0.1, 0.9, 0.1),  # dampening there
        lambda: nn.AvgPool2d(2, 2, 0, True),  # ceil_mode there
        lambda: nn.Parameter(np.ones(2), False),  # requires_grad there
    ],
)
def test_positions_with_another_meaning_are_not_taken(call):
    with pytest.raises(TypeError, match="positional arguments"):
        call()


@pytest.mark.parametrize(
    "attribute, value, error",
    [
        ("data", [1, 2, 3], TypeError),
        ("data", np.arange(3), TypeError),
        ("data", 1.0, TypeError),
        ("grad", [1.0, 1.0], TypeError),
        ("grad", np.ones(3, np.float32), ValueError),
        ("grad", np.ones(2), ValueError),
    ],
)
def test_attributes_take_arrays_alone(attribute, value, error):
    w = learned(1.0, 2.0)
    with pytest.raises(error, match=f"Tensor.{attribute}"):
        setattr(w, attribute, value)
    assert w.data.tolist() == [1, 2] and w.grad is None


def test_attributes_take_the_array_of_a_tensor():
    w = learned(1.0, 2.0)
    w.data, w.grad = Tensor([3.0, 4.0]), Tensor([5.0, 6.0])
    assert type(w.data) is np.ndarray and w.data.tolist() == [3, 4] and w.grad.tolist() == [5, 6]


def test_sizes_are_not_taken_for_values():
    with pytest.raises(TypeError, match=r"requires_grad must be True or False, got 3"):
        Tensor(2, 3)


# ------------------------------------------------------------------------------------------ modules


class Net(nn.Module):
    def __init__(self):
        self.layers = [nn.Linear(2, 2, rng=RNG) for _ in range(2)]
        self.heads = {"a": (nn.Linear(2, 1, rng=RNG), None), "b": []}
        self.steps = [1, 2]

    def forward(self, x):
        for layer in self.layers:
            x = F.relu(layer(x))
        return self.heads["a"][0](x)


def test_modules_in_lists_and_dicts_are_found():
    net = Net()
    names = ["layers.0", "layers.1", "heads.a.0"]
    assert [name for name, _ in net.named_modules()] == ["", *names]
    weights = [f"{name}.{part}" for name in names for part in ("weight", "bias")]
    assert [name for name, _ in net.named_parameters()] == weights == list(net.state_dict())
    assert len(net.parameters()) == 6 and nn.parameter_count(net) == 15
    assert not any(module.training for module in net.eval().modules())
    other = Net()
    other.load_state_dict(net.state_dict())
    np.testing.assert_array_equal(other(ones(1, 2)).data, net(ones(1, 2)).data)
    assert net.astype(np.float64).layers[0].weight.dtype == np.float64
    assert copy.deepcopy(net).layers[0] is not net.layers[0]


def test_what_is_shared_is_counted_once():
    net = Net()
    net.layers[1] = net.layers[0]
    net.heads["a"][0].parent = net  # a cycle
    assert len(net.modules()) == 3 and nn.parameter_count(net) == 9
    assert nn.size_in_bits(net) == 9 * 32
    tied = nn.Sequential(*(nn.XnorConv2d(2, 2, 1, rng=RNG) for _ in range(2)))
    tied[1].weight = tied[0].weight
    assert [name for name, _ in tied.named_parameters()] == ["0.weight"]
    assert nn.size_in_bits(tied) == 4 + 2 * 32
    tied[1].binary_weights = False  # one of them needs the real weights
    assert nn.size_in_bits(tied) == 4 * 32


@pytest.mark.parametrize("modules", [([nn.Identity()],), (F.relu,), (nn.Identity(), None)])
def test_a_sequence_of_other_things_is_refused(modules):
    with pytest.raises(TypeError, match=r"Sequential holds Modules, got .*Sequential\(\*modules\)"):
        nn.Sequential(*modules)


def test_a_slice_of_a_sequence_is_one():
    net = nn.Sequential(nn.Linear(2, 3, rng=RNG), nn.ReLU(), nn.Linear(3, 1, rng=RNG))
    x = Tensor(normal(0, 4, 2, dtype=np.float32))
    np.testing.assert_array_equal(net[2:](net[:2](x)).data, net(x).data)


@pytest.mark.parametrize("rng", [0, True, "seed"])
@pytest.mark.parametrize(
    "make",
    [
        lambda rng: nn.Linear(2, 2, rng=rng),
        lambda rng: nn.Conv2d(1, 1, 1, rng=rng),
        lambda rng: nn.XnorConv2d(1, 1, 1, rng=rng),
        lambda rng: nn.Dropout(0.5, rng=rng),
    ],
)
def test_a_seed_is_no_generator(make, rng):
    with pytest.raises(TypeError, match=r"rng must be a numpy.random.Generator, such as np.random"):
        make(rng)


@pytest.mark.parametrize("drop", [F.dropout, F.drop_path])
def test_dropping_takes_no_seed(drop):
    with pytest.raises(TypeError, match=f"{drop.__name__}: rng must be a numpy.random.Generator"):
        drop(ones(2), 0.5, rng=0)


@pytest.mark.parametrize(
    "name, hint",
    [("view", r"x.reshape"), ("t", "x.T"), ("tolist", "numpy"), ("cuda", "one device")],
)
def test_names_of_torch_that_are_missing_are_answered(name, hint):
    with pytest.raises(AttributeError, match=f"a Tensor has no attribute '{name}'; write .*{hint}"):
        getattr(ones(2), name)
    assert not hasattr(ones(2), name) and not hasattr(ones(2), "nonsense")
