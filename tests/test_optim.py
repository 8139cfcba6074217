"""Optimisers against plain NumPy recursions and against PyTorch; the schedule; clipping."""

import math
import tracemalloc

import numpy as np
import pytest

from bnas import optim
from bnas.autodiff import Tensor
from bnas.errors import DivergedError
from bnas.nn import Parameter

STEPS = 20


def sgd(theta, gradients, lr, momentum=0.0, weight_decay=0.0, nesterov=False):
    velocity = 0.0
    for gradient in gradients(theta):
        step = gradient + weight_decay * theta[0]
        velocity = momentum * velocity + step
        theta[0] = theta[0] - lr * (step + momentum * velocity if nesterov else velocity)


def adam(
    theta, gradients, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, decoupled=False
):
    m = v = 0.0
    for t, gradient in enumerate(gradients(theta), 1):
        if decoupled:
            theta[0] = theta[0] - lr * weight_decay * theta[0]
        else:
            gradient = gradient + weight_decay * theta[0]
        m = betas[0] * m + (1 - betas[0]) * gradient
        v = betas[1] * v + (1 - betas[1]) * gradient**2
        m_hat, v_hat = m / (1 - betas[0] ** t), v / (1 - betas[1] ** t)
        theta[0] = theta[0] - lr * m_hat / (np.sqrt(v_hat) + eps)


def adamw(theta, gradients, weight_decay=1e-2, **options):
    adam(theta, gradients, weight_decay=weight_decay, decoupled=True, **options)


RULES = {
    "SGD": (
        sgd,
        [
            {"lr": 0.1},
            {"lr": 0.1, "weight_decay": 0.2},
            {"lr": 0.1, "momentum": 0.9},
            {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.2, "nesterov": True},
        ],
    ),
    "Adam": (
        adam,
        [
            {},
            {"lr": 0.1, "betas": (0.5, 0.9), "eps": 1e-3},
            {"lr": 0.1, "weight_decay": 0.3},
            {"lr": 0.1, "betas": (0.0, 0.0)},
        ],
    ),
    "AdamW": (adamw, [{}, {"lr": 0.1, "weight_decay": 0.3}, {"lr": 0.1, "betas": (0.5, 0.9)}]),
}
PAIRS = [
    pytest.param(name, options, id=f"{name}-{options}")
    for name, (_, choices) in RULES.items()
    for options in choices
]
START = np.array([[1.0, -2.0, 0.5], [3.0, 0.0, -1e-3]])


def slope(theta, step):
    """The gradient of a rough loss, different at every step."""
    return np.sin(3 * theta + step) + theta


def run(optimiser, steps=range(STEPS)):
    (theta,) = optimiser.parameters
    for step in steps:
        theta.grad = slope(theta.data, step).astype(theta.dtype)
        optimiser.step()
    return theta.data


@pytest.mark.parametrize("name, options", PAIRS)
def test_update_rules_against_their_recursion(name, options):
    theta = [START]
    RULES[name][0](theta, lambda t: (slope(t[0], step) for step in range(STEPS)), **options)
    got = run(getattr(optim, name)([Parameter(START)], **options))
    np.testing.assert_allclose(got, theta[0], rtol=1e-12, atol=1e-14)
    assert np.abs(got - START).max() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("name, options", PAIRS)
def test_update_rules_against_torch(name, options):
    torch = pytest.importorskip("torch")
    theta = torch.nn.Parameter(torch.tensor(START))
    theirs = getattr(torch.optim, name)([theta], **options)
    for step in range(STEPS):
        theta.grad = torch.tensor(slope(theta.detach().numpy(), step))
        theirs.step()
    got = run(getattr(optim, name)([Parameter(START)], **options))
    np.testing.assert_allclose(got, theta.detach().numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name, options", PAIRS)
def test_parameters_keep_their_dtype_and_old_arrays_their_values(name, options):
    array = START.astype(np.float32)
    optimiser = getattr(optim, name)([Parameter(array)], **options)
    optimiser.lr = np.float64(optim.cosine_schedule(3, 10, np.float64(0.1)))
    assert run(optimiser).dtype == np.float32
    np.testing.assert_array_equal(array, START.astype(np.float32))


def test_parameters_without_a_gradient_stay_and_those_with_one_move_alone():
    a, b = Parameter(START), Parameter(2 * START)
    optimiser = optim.SGD([a, b], lr=0.5, momentum=0.9, weight_decay=0.1)
    a.grad = np.ones(START.shape)
    optimiser.step()
    np.testing.assert_array_equal(b.data, 2 * START)
    np.testing.assert_allclose(a.data, START - 0.5 * (1 + 0.1 * START))
    optimiser.zero_grad()
    assert a.grad is None


@pytest.mark.parametrize("name, options", PAIRS)
def test_a_reloaded_optimiser_continues_in_the_same_bits(name, options):
    make = getattr(optim, name)
    whole = run(make([Parameter(START)], **options))
    first = make([Parameter(START)], **options)
    run(first, range(7))
    state = first.state_dict()
    assert all(isinstance(array, np.ndarray) for array in state.values())
    second = make([Parameter(first.parameters[0].data.copy())], **options)
    second.load_state_dict(state)
    for array in state.values():
        array[...] = 0  # neither optimiser looks at these arrays
    for optimiser in (first, second):
        np.testing.assert_array_equal(run(optimiser, range(7, STEPS)), whole)


def test_the_state_of_several_parameters_is_not_mixed_up():
    """More than ten, so that names sorted as text would come back in another order."""

    def build():
        parameters = [Parameter(START * i) for i in range(12)]
        return optim.Adam(parameters, lr=0.1)

    def advance(optimiser):
        for i, parameter in enumerate(optimiser.parameters):
            parameter.grad = START + i
        optimiser.step()

    first, second = build(), build()
    advance(first)
    second.load_state_dict(dict(sorted(first.state_dict().items())))
    for ours, theirs in zip(second.parameters, first.parameters):
        ours.data = theirs.data
    advance(first), advance(second)
    for ours, theirs in zip(second.parameters, first.parameters):
        np.testing.assert_array_equal(ours.data, theirs.data)


# ------------------------------------------------------- many parameters, of which each is as if alone

SHAPES = [(2, 3), (), (4,), (1, 2, 3), (5, 1), (0, 3)]


def move_alone(optimiser, gradient, value, state):
    """The rules for one parameter, operation by operation in the order of `bnas.optim`."""
    decay = optimiser.weight_decay
    if isinstance(optimiser, optim.SGD):
        step = gradient + decay * value
        if optimiser.momentum:
            old = state.get("velocity")
            state["velocity"] = step if old is None else optimiser.momentum * old + step
            nesterov = step + optimiser.momentum * state["velocity"]
            step = nesterov if optimiser.nesterov else state["velocity"]
        return value - optimiser.lr * step
    if isinstance(optimiser, optim.AdamW):
        value = value * (1 - optimiser.lr * decay)
    else:
        gradient = gradient + decay * value
    (b1, b2), zero = optimiser.betas, np.zeros_like(value)
    t = state["steps"] = np.array(int(state.get("steps", 0)) + 1)
    state["m"] = b1 * state.get("m", zero) + (1 - b1) * gradient
    state["v"] = b2 * state.get("v", zero) + (1 - b2) * gradient**2
    corrected = np.sqrt(state["v"] / (1 - b2 ** int(t))) + optimiser.eps
    return value - optimiser.lr / (1 - b1 ** int(t)) * state["m"] / corrected


def many_parameters():
    """Of both dtypes in turns, and of all shapes."""
    rng = np.random.default_rng(3)
    dtypes = [np.float32, np.float64, np.float32]
    return [
        Parameter(rng.standard_normal(shape).astype(dtype))
        for shape, dtype in zip(SHAPES * 3, dtypes * len(SHAPES))
    ]


def give_gradients(parameters, step):
    """To every parameter in steps 2 and 4, else to a third of them; most are not contiguous."""
    rng = np.random.default_rng(step)
    for i, parameter in enumerate(parameters):
        gradient = rng.standard_normal(parameter.shape[::-1]).T.astype(parameter.dtype)
        parameter.grad = gradient if step in (2, 4) or (i + step) % 3 == 0 else None


@pytest.mark.parametrize("name, options", PAIRS)
def test_many_parameters_move_as_each_would_alone_to_the_last_bit(name, options):
    """Of two dtypes, some without a gradient in some steps, and reloaded on the way."""
    optimiser = getattr(optim, name)(many_parameters(), **options)
    values, states = [p.data for p in optimiser.parameters], [{} for _ in optimiser.parameters]
    for step in range(6):
        give_gradients(optimiser.parameters, step)
        for i, parameter in enumerate(optimiser.parameters):
            if parameter.grad is not None:
                values[i] = move_alone(optimiser, parameter.grad, values[i], states[i])
        optimiser.step()
        for parameter, value in zip(optimiser.parameters, values):
            assert (parameter.data.dtype, parameter.shape) == (value.dtype, value.shape)
            np.testing.assert_array_equal(parameter.data, value)
        saved = optimiser.state_dict()
        expected = {f"{i}.{key}": a for i, own in enumerate(states) for key, a in own.items()}
        assert saved.keys() == expected.keys()
        for key, array in saved.items():
            assert (array.dtype, array.shape) == (expected[key].dtype, expected[key].shape)
            np.testing.assert_array_equal(array, expected[key], err_msg=key)
        if step == 3:
            again = getattr(optim, name)(optimiser.parameters, **options)
            again.load_state_dict(saved)
            optimiser = again


@pytest.mark.parametrize("name, options", PAIRS)
def test_a_parameter_without_a_gradient_keeps_its_array_and_its_state(name, options):
    optimiser = getattr(optim, name)(many_parameters(), **options)
    give_gradients(optimiser.parameters, 2)
    optimiser.step()
    before, arrays = optimiser.state_dict(), [p.data for p in optimiser.parameters]
    give_gradients(optimiser.parameters, 3)
    optimiser.step()
    after = optimiser.state_dict()
    for i, parameter in enumerate(optimiser.parameters):
        assert (parameter.data is arrays[i]) == (parameter.grad is None)
        if parameter.grad is None:
            for key in (k for k in after if k.startswith(f"{i}.")):
                np.testing.assert_array_equal(after[key], before[key])


@pytest.mark.parametrize("name, options", PAIRS)
def test_no_step_writes_into_the_arrays_of_another(name, options):
    """Parameters are views of one array, but of a new one in every step, and not of the state's."""
    optimiser = getattr(optim, name)(many_parameters(), **options)
    seen, copies = [], []
    for step in (2, 2, 0, 2):
        give_gradients(optimiser.parameters, step)
        gradients = [p.grad for p in optimiser.parameters if p.grad is not None]
        optimiser.step()
        state = [a for own in optimiser.state for a in own.values() if isinstance(a, np.ndarray)]
        current = [p.data for p in optimiser.parameters]
        for i, array in enumerate(current):
            others = current[:i] + current[i + 1 :] + state + gradients
            assert not any(np.shares_memory(array, other) for other in others)
        seen += current + state + gradients
        copies += [array.copy() for array in seen[len(copies) :]]
    for array, copy in zip(seen, copies):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda p: optim.SGD([], lr=0.1), "SGD: no parameters"),
        (lambda p: optim.SGD(p, lr=-0.1), "SGD: lr must not be negative, got -0.1"),
        (lambda p: optim.SGD(p, lr=float("nan")), "SGD: lr must not be negative, got nan"),
        (lambda p: optim.AdamW(p, weight_decay=-1), "AdamW: weight_decay must not be negative"),
        (lambda p: optim.SGD(p, lr=0.1, momentum=1.0), r"SGD: momentum must lie in \[0, 1\)"),
        (lambda p: optim.SGD(p, lr=0.1, nesterov=True), "nesterov needs a momentum"),
        (lambda p: optim.Adam(p, betas=(0.9, 1.0)), r"Adam: betas must lie in \[0, 1\)"),
    ],
)
def test_optimisers_refuse(make, message):
    with pytest.raises(ValueError, match=message):
        make([Parameter(START)])


# --------------------------------------------------------------------------- schedule and clipping


def test_cosine_schedule_values():
    rates = [optim.cosine_schedule(step, 10, 2.0, floor=0.5) for step in range(10)]
    assert rates[0] == 2.0 and rates[5] == pytest.approx(1.25)
    assert rates[9] == pytest.approx(0.5 + 0.75 * (1 + math.cos(0.9 * math.pi)))
    assert rates == sorted(rates, reverse=True) and rates[9] > 0.5


def test_warm_up_is_linear_and_meets_the_cosine():
    rates = [optim.cosine_schedule(step, 14, 2.0, warmup=4) for step in range(14)]
    np.testing.assert_allclose(rates[:4], [0.5, 1.0, 1.5, 2.0])
    np.testing.assert_allclose(rates[4:], [optim.cosine_schedule(s, 10, 2.0) for s in range(10)])
    assert optim.cosine_schedule(3, 4, 2.0, warmup=4) == 2.0
    assert optim.cosine_schedule(0, 1, 2.0) == 2.0


@pytest.mark.parametrize(
    "step, steps, warmup", [(10, 10, 0), (-1, 10, 0), (0, 10, 11), (0, 10, -1), (0, 0, 0)]
)
def test_cosine_schedule_refuses_steps_outside(step, steps, warmup):
    with pytest.raises(ValueError, match=f"got step={step}, steps={steps}, warmup={warmup}"):
        optim.cosine_schedule(step, steps, 1.0, warmup=warmup)


def with_gradients(*gradients):
    tensors = [Tensor(np.zeros(len(g), np.float32), requires_grad=True) for g in gradients]
    for tensor, gradient in zip(tensors, gradients):
        tensor.grad = np.array(gradient, np.float32)
    return tensors


def test_clip_grad_norm_scales_all_gradients_together():
    a, b = with_gradients([3.0, 0.0], [0.0, 4.0])
    idle = Tensor([1.0], requires_grad=True)
    assert optim.clip_grad_norm(iter([a, idle, b]), 2.5) == pytest.approx(5.0)
    np.testing.assert_allclose(a.grad, [1.5, 0])
    np.testing.assert_allclose(b.grad, [0, 2])
    assert a.grad.dtype == np.float32 and idle.grad is None


def test_clip_grad_norm_leaves_small_gradients_alone():
    (a,) = with_gradients([3.0, 4.0])
    before = a.grad
    assert isinstance(optim.clip_grad_norm([a], 5.0), float)
    assert a.grad is before
    assert optim.clip_grad_norm([], 1.0) == 0.0


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_clip_grad_norm_reports_divergence(value):
    a, b = with_gradients([1.0, value], [7.0])
    with pytest.raises(DivergedError, match="gradient norm is (nan|inf)"):
        optim.clip_grad_norm([a, b], 1.0)
    np.testing.assert_array_equal(b.grad, [7])


def test_clip_grad_norm_of_two_dtypes_and_several_shapes():
    """As one by one, into new arrays: gradients may be somebody else's."""
    parameters = many_parameters()
    give_gradients(parameters, 2)
    parameters[4].grad = None
    before = [p.grad for p in parameters]
    copies = [None if g is None else g.copy() for g in before]
    norm = optim.clip_grad_norm(parameters, 0.5)
    squares = sum(float((g.astype(np.float64) ** 2).sum()) for g in before if g is not None)
    assert norm == pytest.approx(math.sqrt(squares), rel=1e-6)
    for parameter, gradient, copy in zip(parameters, before, copies):
        if gradient is None:
            assert parameter.grad is None
            continue
        assert (parameter.grad.dtype, parameter.grad.shape) == (parameter.dtype, parameter.shape)
        np.testing.assert_array_equal(parameter.grad, gradient * gradient.dtype.type(0.5 / norm))
        np.testing.assert_array_equal(gradient, copy)
    gradients = [p.grad for p in parameters if p.grad is not None]
    assert not any(np.shares_memory(a, b) for a in gradients for b in gradients if a is not b)


def test_clip_grad_norm_agrees_with_torch():
    torch = pytest.importorskip("torch")
    gradients = [np.linspace(-3, 5, 7), np.linspace(2, 9, 4)]
    ours = with_gradients(*gradients)
    theirs = [torch.nn.Parameter(torch.zeros(len(g))) for g in gradients]
    for parameter, gradient in zip(theirs, gradients):
        parameter.grad = torch.tensor(gradient, dtype=torch.float32)
    norm = torch.nn.utils.clip_grad_norm_(theirs, 1.5)
    assert optim.clip_grad_norm(ours, 1.5) == pytest.approx(float(norm))
    for a, b in zip(ours, theirs):
        np.testing.assert_allclose(a.grad, b.grad.numpy(), rtol=1e-5)


def test_adam_counts_the_steps_of_each_parameter():
    early, late = Parameter(np.zeros(1)), Parameter(np.zeros(1))
    adam = optim.Adam([early, late], lr=1.0)
    for _ in range(10):
        early.grad = np.ones(1)
        adam.step()
    late.grad = np.ones(1)
    adam.step()
    np.testing.assert_allclose(
        late.data, -1.0, rtol=1e-6
    )  # a first step is lr, whatever the gradient


@pytest.mark.parametrize("name, shape", [("2.velocity", (3,)), ("0.velocity", (4,)), ("steps", ())])
def test_the_state_of_other_parameters_is_refused(name, shape):
    optimiser = optim.SGD([Parameter(np.zeros(3)), Parameter(np.zeros(3))], lr=0.1, momentum=0.9)
    with pytest.raises(ValueError, match="belongs to none of the 2 parameters"):
        optimiser.load_state_dict({name: np.zeros(shape)})


def test_a_bound_that_is_not_positive_is_refused():
    with pytest.raises(ValueError, match="max_norm must be positive, got -1"):
        optim.clip_grad_norm([], -1.0)


ZERO = np.zeros(3)
STATE = {"0.steps": np.array(4), "0.m": ZERO, "0.v": ZERO}


@pytest.mark.parametrize(
    "change, says",
    [
        ({"0.v": None}, "0.v is missing"),
        ({"0.m": None, "0.v": None}, "0.m is missing"),
        ({"0.velocity": ZERO}, "'0.velocity' .* belongs to none"),
        ({"0.m": ZERO.astype(np.float32)}, "'0.m' of shape .* and dtype float32 belongs to none"),
        ({"0.m": np.array(0.0)}, r"'0.m' of shape \(\) "),
        ({"0.steps": np.array(0)}, "'0.steps'"),
        ({"0.steps": np.array(-1)}, "'0.steps'"),
        ({"0.steps": np.array(4.0)}, "'0.steps'"),
        ({"0.steps": ZERO}, "'0.steps'"),
        ({"00.m": ZERO}, "'00.m'"),
        ({"²": ZERO}, "'²'"),
    ],
)
def test_a_state_that_is_not_whole_is_refused_and_changes_nothing(change, says):
    adam = optim.Adam([Parameter(ZERO), Parameter(ZERO)])
    adam.load_state_dict(STATE)
    state = {name: array for name, array in (STATE | change).items() if array is not None}
    with pytest.raises(ValueError, match=f"load_state_dict: .*{says}"):
        adam.load_state_dict(state)
    assert adam.state_dict().keys() == STATE.keys()


def test_clip_grad_norm_of_gradients_whose_squares_float32_cannot_hold():
    parameter = Parameter(np.zeros(4, np.float32))
    parameter.grad = np.full(4, 1e25, np.float32)
    assert optim.clip_grad_norm([parameter], 1.0) == pytest.approx(2e25, rel=1e-6)
    np.testing.assert_allclose(parameter.grad, 0.5, rtol=1e-6)


# ----------------------------------------------------------------------------------------- memory


def peak_of(call):
    """The most bytes that a call takes beyond what was there."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name, options, arrays", [("SGD", {"momentum": 0.9}, 2), ("Adam", {}, 3)])
def test_a_step_takes_little_beyond_the_new_values_and_its_state(name, options, arrays):
    rng = np.random.default_rng(0)
    parameters = [Parameter(rng.standard_normal(2**12).astype(np.float32)) for _ in range(256)]
    size = sum(parameter.data.nbytes for parameter in parameters)
    optimiser = getattr(optim, name)(parameters, 0.1, **options)
    for _ in range(2):
        for parameter in parameters:
            parameter.grad = parameter.data.copy()
        peak = peak_of(optimiser.step)
    assert peak < (arrays + 1) * size


def test_clipping_takes_one_copy_of_the_gradients():
    parameters = [Parameter(np.ones(2**12, np.float32)) for _ in range(256)]
    for parameter in parameters:
        parameter.grad = np.ones(2**12, np.float32)
    size = sum(parameter.grad.nbytes for parameter in parameters)
    assert peak_of(lambda: optim.clip_grad_norm(parameters, 1.0)) < 1.5 * size
