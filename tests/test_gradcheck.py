"""The backward of every operation, and the check itself: does it notice one that is wrong?"""

import re

import numpy as np
import pytest

import bnas.functional as F
from bnas import fused, nn
from bnas.autodiff import Function, Tensor
from bnas.errors import InputError
from bnas.functional import gradient_cases, operations
from bnas.gradcheck import (
    Case,
    GradientError,
    check_all,
    check_case,
    check_gradients,
    functions_of,
    gather_cases,
)
from bnas.kernels.windows import Window


def cases(seed=0):
    """Those of `bnas gradcheck`: the lanes' operations have theirs in a file of their own."""
    return {**gradient_cases(seed), **gather_cases([fused.gradient_cases], seed)}


OPERATIONS = {**operations(), **fused.operations()}
CASES = cases()


@pytest.mark.parametrize(
    "name, case",
    [
        pytest.param(name, case, id=f"{name}-{case.name}")
        for name, own in CASES.items()
        for case in own
    ],
)
def test_backward(name, case):
    assert check_case(OPERATIONS[name], case).error < 1e-6


def test_every_operation_has_cases_with_names_of_their_own():
    assert CASES.keys() == OPERATIONS.keys()
    for own in CASES.values():
        assert own and len({case.name for case in own}) == len(own)


def test_every_public_operation_is_registered():
    """Whatever F offers as a function of Tensors ends in Functions that `operations` knows."""
    x = Tensor(np.ones((2, 2, 2, 2)), requires_grad=True)
    for y in (
        F.relu(x),
        F.softmax(x, 1),
        F.max_pool2d(x, 2),
        F.sign_ste(x),
        x[0],
        F.global_avg_pool2d(x),
        F.where(x > 0, x, 0.0),
        F.stack([x, x]),
        x.std(axis=0),
        x.astype(np.float32),
    ):
        assert OPERATIONS[y.node.function.__name__] is y.node.function


def test_cases_depend_on_the_seed_alone():
    same, other = cases(), cases(1)
    for name, own in CASES.items():
        for case, twin in zip(own, same[name]):
            for a, b in zip(case.inputs, twin.inputs):
                np.testing.assert_array_equal(a, b)
    assert (other["Exp"][0].inputs[0] != CASES["Exp"][0].inputs[0]).any()


def test_a_new_case_changes_none_of_another_family():
    def one(draw):
        return {"One": [Case("plain", (draw.normal(2),))]}

    def two(draw):
        return {"Two": [Case("plain", (draw.normal(2),)), Case("another", (draw.normal(2),))]}

    two.__module__ = "another"
    both = gather_cases([two, one])
    assert [case.name for case in both["Two"]] == ["plain", "another", "views with gaps"]
    for name, own in {**gather_cases([one]), **gather_cases([two])}.items():
        for case, twin in zip(own, both[name]):
            np.testing.assert_array_equal(case.inputs, twin.inputs)
    assert (both["One"][0].inputs[0] != both["Two"][0].inputs[0]).all()
    plain, gaps = both["One"][0].inputs[0], both["One"][-1].inputs[0]
    assert not gaps.flags.contiguous and (plain == gaps).all()


# ------------------------------------------------------------------------------------------ mutants


def scaled(dx):
    return dx * 1.001


def negated(dx):
    return -dx


def zeroed(dx):
    return np.zeros_like(dx)


def one_entry_dropped(dx):
    dx = np.array(dx)
    where = np.flatnonzero(dx)
    if where.size:
        dx.flat[where[-1]] = 0
    return dx


def mutant(function, position, mutation):
    """`function` with `mutation` applied to the gradient of one input."""

    def backward(ctx, dy):
        gradients = list(function.backward(ctx, dy))
        if gradients[position] is not None:
            gradients[position] = mutation(np.asarray(gradients[position]))
        return tuple(gradients)

    return type(function.__name__, (function,), {"backward": staticmethod(backward)})


def size_of(case):
    return sum(np.size(x) for x in case.inputs if x is not None)


@pytest.mark.slow
@pytest.mark.parametrize("mutation", [scaled, negated, zeroed, one_entry_dropped])
@pytest.mark.parametrize("name", OPERATIONS)
def test_mutants_are_caught(name, mutation):
    """For each input, by at least one case; and the error names that input."""
    cases_by_size = sorted(CASES[name], key=size_of)  # the first that notices ends the search
    for position in range(max(len(case.inputs) for case in CASES[name])):
        wrong = mutant(OPERATIONS[name], position, mutation)
        for case in cases_by_size:
            if position < len(case.inputs) and case.inputs[position] is not None:
                try:
                    check_case(wrong, case)
                except GradientError as error:
                    assert str(error).startswith(f"input {position}: relative error")
                    break
        else:
            pytest.fail(f"no case of {name} notices input {position} {mutation.__name__}")


def square(backward):
    """x², with a backward of the test's choosing."""

    def forward(ctx, x):
        ctx.x = x
        return x * x

    members = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    return type("Square", (Function,), members)


def check_square(backward, size=4):
    x = np.random.default_rng(1).uniform(0.5, 1.5, size)
    return check_gradients(square(backward).apply, [x], np.random.default_rng(0))


SIZES = pytest.mark.parametrize("size", [1, 4, 100])  # 100² entries: random projections


@SIZES
def test_a_right_backward_passes_and_reports_both_numbers(size):
    report = check_square(lambda ctx, dy: (2 * ctx.x * dy,), size)
    assert report.error < 1e-8
    assert report.analytic == pytest.approx(report.numeric, rel=1e-7) and report.numeric != 0


@SIZES
@pytest.mark.parametrize(
    "backward",
    [
        lambda ctx, dy: (2 * ctx.x,),  # ignores the cotangent
        lambda ctx, dy: (2 * ctx.x * (dy.mean() + 1) / 2 * np.ones_like(dy),),
        lambda ctx, dy: (2 * ctx.x * np.abs(dy),),
        lambda ctx, dy: (2 * ctx.x * dy**2,),  # right for cotangents of zeros and ones
        lambda ctx, dy: (2 * ctx.x * dy * 1.00001,),
    ],
    ids=["ignored", "mean", "abs", "square", "1e-5 off"],
)
def test_a_backward_that_is_right_for_ones_alone_is_caught(backward, size):
    with pytest.raises(GradientError, match=r"input 0: relative error .*analytic .*numeric "):
        check_square(backward, size)


@pytest.mark.parametrize("size", [4, 100])
def test_a_backward_that_is_right_for_one_output_at_a_time_is_caught(size):
    with pytest.raises(GradientError, match="relative error"):
        check_square(lambda ctx, dy: (2 * ctx.x * dy.sum() * (dy != 0),), size)


@SIZES
def test_nan_and_infinity_are_caught(size):
    for value in (np.nan, np.inf):
        with pytest.raises(GradientError, match="input 0: a gradient is NaN or infinite"):
            check_square(lambda ctx, dy: (np.full_like(dy, value),), size)


def test_a_wrong_entry_among_large_ones_is_caught():
    """Errors are relative to the entry itself, here a hundred times smaller than the largest."""
    x = np.array([100.0, 1.0])

    def backward(ctx, dy):
        return (2 * ctx.x * dy * np.array([1.0, 1.00001]),)

    with pytest.raises(GradientError):
        check_gradients(square(backward).apply, [x], np.random.default_rng(0))


@SIZES
def test_a_case_without_a_gradient_is_powerless(size):
    """The backward is right, but any that returned zeros would pass too."""
    with pytest.raises(GradientError, match="input 1: powerless.*Choose another case"):
        check_gradients(
            lambda a, b: a + b * 0.0, [np.ones(size), np.ones(size)], np.random.default_rng(0)
        )
    with pytest.raises(GradientError, match="powerless"):
        check_case(
            OPERATIONS["Clip"], Case("all outside", (np.full(3, 5.0),), {"low": 0.0, "high": 1.0})
        )
    with pytest.raises(GradientError, match="powerless"):
        check_case(OPERATIONS["Softmax"], Case("one class", (np.ones((3, 1)),), {"axis": 1}))


def test_only_float64_can_be_checked():
    with pytest.raises(TypeError, match="needs float64 inputs, got float32"):
        check_gradients(F.relu, [np.ones(3, np.float32)], np.random.default_rng(0))


# ---------------------------------------------------------------------------- kinks and surrogates

AT_ZERO = np.array([[0.0, -0.0, 1e-7, -1e-7, 1.0], [2.0, -2.0, 1e-3, 0.0, -1e-3]])
POOL = {"window": Window((2, 2))}
STE = {"surrogate": "clip", "temperature": 1.0}
BITS = np.resize([1.0, 0, -1, 0.5], (1, 2, 4, 4)), np.resize([0.0, -1, 1], (1, 2, 3, 3)), np.ones(1)


def case_of(operation, name):
    return next(case for case in CASES[operation] if case.name == name)


def with_zeros(case, position):
    """(inputs, params) of a case, every third entry of one input on the kink of ReLU or next to it."""
    inputs = [None if a is None else a.copy() for a in case.inputs]
    inputs[position].flat[::3] = np.resize(AT_ZERO[0, :4], inputs[position].flat[::3].size)
    return tuple(inputs), case.params


ON_KINKS = {
    "ReLU": ((AT_ZERO,), {}),
    "PReLU": ((AT_ZERO, np.array([0.25])), {}),
    "Clip": ((AT_ZERO,), {"low": 0.0, "high": 1.0}),
    "Pow": ((np.abs(AT_ZERO) + 1e-9,), {"exponent": 0.5}),
    "Abs": ((AT_ZERO,), {}),
    "Sqrt": ((np.abs(AT_ZERO),), {}),
    "Minimum": ((AT_ZERO, AT_ZERO[:1]), {}),
    "Maximum": ((AT_ZERO[:, :1], AT_ZERO), {}),
    "Std": ((np.full((3, 4), 0.1),), {"axis": (1,), "keepdims": False, "correction": 1}),
    "Max": ((np.zeros((3, 4)),), {"axis": (1,), "keepdims": False}),
    "MaxPool2d": ((np.zeros((1, 2, 4, 4)),), POOL),
    "SignSTE": ((np.array([-1.0, 1.0, 0.0, 0.5, 1 + 1e-7]),), STE),
    "XnorConv2d": (BITS, CASES["XnorConv2d"][0].params),
    "ReconstructionLoss": ((AT_ZERO, None), {}),
    "PoolLanes": (
        (np.zeros((1, 2, 4, 4, 8)),),
        {"largest": True, "kernel": 3, "stride": 1, "padding": 1},
    ),
    "FusedChain": with_zeros(case_of("FusedChain", "1×1"), 0),
    "FusedEdge": with_zeros(case_of("FusedEdge", "real, shared weights"), 2),
}


@pytest.mark.parametrize("name", ON_KINKS)
def test_inputs_on_kinks_are_stepped_away(name):
    inputs, params = ON_KINKS[name]
    before = [None if a is None else a.copy() for a in inputs]
    check_case(OPERATIONS[name], Case("on kinks", inputs, params))
    for array, copy in zip(inputs, before):
        np.testing.assert_array_equal(array, copy)  # moved in a copy


def test_every_declared_kink_is_tried_here():
    declared = {n for n, f in OPERATIONS.items() if f.off_kinks is not Function.off_kinks}
    assert declared == ON_KINKS.keys()


def test_a_kink_that_is_not_stepped_away_fails():
    with pytest.raises(GradientError):
        check_gradients(F.relu, [np.array([0.0, 1.0])], np.random.default_rng(0))


@pytest.mark.parametrize(
    "surrogate, temperature, derivative",
    [
        ("clip", 1.0, [0, 0, 1, 1, 1, 1, 1, 1, 0, 0]),
        ("identity", 1.0, [1] * 10),
        ("polynomial", 1.0, [0, 0, 0, 1, 2, 2, 1.5, 0, 0, 0]),
        ("tanh", 1.0, None),
        ("tanh", 3.0, None),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_derivatives_of_the_surrogates_at_chosen_points(surrogate, temperature, derivative, dtype):
    points = np.array([-2, -1.001, -1, -0.5, -0.0, 0, 0.25, 1, 1.001, 3], dtype)
    if derivative is None:
        derivative = temperature / np.cosh(temperature * points.astype(float)) ** 2
    x = Tensor(points, requires_grad=True)
    y = F.sign_ste(x, surrogate, temperature)
    np.testing.assert_array_equal(y.data, [-1, -1, -1, -1, -1, -1, 1, 1, 1, 1])
    y.backward(np.full(10, -2.0))
    np.testing.assert_allclose(x.grad, -2 * np.array(derivative), rtol=1e-4, atol=1e-6)
    assert x.grad.dtype == dtype


def test_a_surrogate_is_needed_where_there_is_no_slope():
    with pytest.raises(GradientError, match="powerless"):
        check_gradients(F.sign_ste, [np.array([0.5, -0.5])], np.random.default_rng(0))


def test_the_wrong_surrogate_is_noticed():
    x = np.array([0.3, -0.5, 0.9])
    with pytest.raises(GradientError, match="relative error"):
        check_gradients(F.sign_ste, [x], np.random.default_rng(0), surrogate=np.tanh)


# ------------------------------------------------------------------------------------- the report


@pytest.mark.slow
def test_the_table_has_a_row_for_each_operation():
    table, failures = check_all(OPERATIONS, CASES, quick=True)
    assert failures == 0
    assert f"{len(OPERATIONS)} operations, {len(OPERATIONS)} cases, 0 failed" in table
    for name, function in OPERATIONS.items():
        kind = "exact" if function.surrogate is None else "surrogate"
        assert re.search(rf"^{name} +1  {kind} +\d\.\de-\d\d$", table, re.MULTILINE)


@pytest.mark.slow
def test_failures_are_counted_and_named(monkeypatch):
    function = OPERATIONS["Tanh"]
    monkeypatch.setattr(function, "backward", staticmethod(lambda ctx, dy: (dy,)))
    table, failures = check_all(OPERATIONS, CASES)
    total = sum(len(own) for own in CASES.values())
    assert failures == len(CASES["Tanh"])
    assert f"{len(OPERATIONS)} operations, {total} cases, {failures} failed" in table
    assert re.search(r"^Tanh .*FAILED$", table, re.MULTILINE) and table.count("FAILED") == 1
    for case in CASES["Tanh"]:
        message = rf"^Tanh, {case.name}: GradientError: input 0: relative error"
        assert re.search(message, table, re.MULTILINE)


@pytest.mark.parametrize("broken", [lambda ctx, dy: None, lambda ctx, dy: (None,)])
def test_a_backward_broken_in_another_way_fails_in_the_table(monkeypatch, broken):
    monkeypatch.setattr(OPERATIONS["Tanh"], "backward", staticmethod(broken))
    table, failures = check_all(OPERATIONS, CASES, only="Tanh")
    assert failures == len(CASES["Tanh"])
    assert re.search(r"^Tanh, plain: \w+Error: ", table, re.MULTILINE)


def test_one_operation_can_be_chosen():
    table, failures = check_all(OPERATIONS, CASES, only="Conv2d")
    assert failures == 0 and f"1 operations, {len(CASES['Conv2d'])} cases" in table
    assert "XnorConv2d" not in table
    with pytest.raises(InputError, match="no operation 'Conv'; expected one of .*Conv2d"):
        check_all(OPERATIONS, CASES, only="Conv")


def test_an_operation_is_found_without_regard_to_case():
    table, failures = check_all(OPERATIONS, CASES, only="conv2D", quick=True)
    assert failures == 0 and "Conv2d" in table


# -------------------------------------------------------------------------------- noise, Modules


class Net(nn.Module):
    """Two convolutions, the first with a bias that batch norm takes away again, and a loss."""

    def __init__(self, seed, relu=F.relu):
        rng = np.random.default_rng(seed)
        self.conv = nn.Conv2d(2, 3, 3, padding=1, rng=rng)
        self.bn = nn.BatchNorm2d(3)
        self.relu = relu
        self.linear = nn.Linear(12, 3, rng=rng)
        self.labels = rng.integers(0, 3, 4)

    def forward(self, x):
        x = F.avg_pool2d(self.relu(self.bn(self.conv(x))), 2)
        return F.cross_entropy(self.linear(F.flatten(x, 1)), self.labels)


def images_of(seed):
    return np.random.default_rng(seed).standard_normal((4, 2, 4, 4))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(16))
def test_right_networks_pass_and_stay_as_they_are(seed):
    net = Net(seed)
    before = net.state_dict()
    assert check_gradients(net, images_of(seed)).error < 1e-3  # of entries that are noise
    for name, array in net.state_dict().items():
        np.testing.assert_array_equal(array, before[name], strict=True)


@pytest.mark.parametrize("factor", [1.001, 1.00001])
@pytest.mark.parametrize("seed", range(3))
def test_a_small_fault_inside_a_network_is_caught(seed, factor):
    wrong = mutant(OPERATIONS["ReLU"], 0, lambda dx: dx * factor)
    with pytest.raises(GradientError, match=r"^(input 0|parameter \w+\.\w+): relative error"):
        check_gradients(Net(seed, wrong.apply), images_of(seed))


def test_a_fault_behind_a_parameter_names_it():
    class Scale(nn.Module):
        def __init__(self):
            self.weight = nn.Parameter(np.float32([1.5, 2.0]))

        def forward(self, x):
            return mutant(OPERATIONS["Mul"], 1, scaled).apply(x, self.weight)

    with pytest.raises(GradientError, match="^parameter weight: relative error 9.99e-04"):
        check_gradients(Scale(), np.array([0.5, 1.5]))


def noisy(noise):
    """x² with noise such as rounding makes: another at every point, always the same at one point."""

    class Noisy(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.x = x
            return x**2 + noise * np.sin(1e9 * x)

        @staticmethod
        def backward(ctx, dy):
            return (2 * ctx.x * dy,)

    return Noisy


@pytest.mark.parametrize("noise", [1e-11, 1e-9])
def test_a_noisy_function_is_not_blamed_for_its_noise(noise):
    x = np.linspace(0.5, 1.5, 20)
    assert 1e-8 < check_gradients(noisy(noise).apply, x).error
    with pytest.raises(GradientError, match="relative error"):
        check_gradients(mutant(noisy(noise), 0, lambda dx: dx * 1.01).apply, x)


def test_where_noise_drowns_everything_the_check_says_so():
    with pytest.raises(GradientError, match="cannot tell, the finite differences are off by up to"):
        check_gradients(noisy(1e-6).apply, np.linspace(0.5, 1.5, 20))


def test_the_tolerance_is_the_caller_s():
    wrong = mutant(OPERATIONS["Tanh"], 0, scaled).apply
    assert check_gradients(wrong, np.ones(3), tolerance=0.01).error == pytest.approx(1e-3, rel=1e-2)
    with pytest.raises(GradientError, match="> 1e-04"):
        check_gradients(wrong, np.ones(3), tolerance=1e-4)


def test_active_dropout_is_not_deterministic():
    net = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5))
    with pytest.raises(GradientError, match=r"not deterministic.*eval\(\)"):
        check_gradients(net, np.ones((8, 3)))
    check_gradients(net.eval(), np.random.default_rng(0).standard_normal((8, 3)))


@pytest.mark.parametrize(
    "function, name",
    [
        (F.sign_ste, "SignSTE"),
        (lambda x: F.xnor_conv2d(x.reshape(1, 1, 2, 2), np.ones((1, 1, 1, 1))), "XnorConv2d"),
        (nn.Sequential(nn.XnorConv2d(4, 2, 1)), "XnorConv2d"),
    ],
)
def test_a_step_function_is_named_with_the_remedy(function, name):
    x = np.array([0.5, -0.5, 0.2, -0.3]).reshape(1, 4, 1, 1)
    with pytest.raises(GradientError, match=f"{name} has a slope of 0 .*surrogate="):
        check_gradients(function, x)


def test_inputs_may_be_one_array_or_a_tensor():
    x = np.array([0.5, 2.0])
    reports = [check_gradients(F.tanh, given) for given in (x, Tensor(x), [x], (x,))]
    assert len(set(reports)) == 1 and reports[0].numeric != 0
    with pytest.raises(ValueError, match="not to a Module"):
        check_gradients(nn.ReLU(), x, surrogate=np.tanh)


def test_an_input_without_influence_is_powerless():
    with pytest.raises(GradientError, match="input 1: powerless"):
        check_gradients(lambda a, b: F.tanh(a), [np.ones(2), np.ones(2)])


# ------------------------------------------------------------------------------ files of one's own

OWN = """
import numpy as np
from bnas import Function

class Double(Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, dy):
        return (FACTOR * dy,)

class Weighted(Function):
    @staticmethod
    def forward(ctx, a, b, weight=3.0):
        return a + weight * b

    @staticmethod
    def backward(ctx, dy):
        return dy, 3.0 * dy
"""
CHOSEN = """
def gradient_cases(draw):
    from bnas.gradcheck import Case
    return {"Double": [Case("a vector", (draw.normal(3),))]}
"""


def test_the_functions_of_a_file_are_checked(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(OWN.replace("FACTOR", "2"))
    functions, guessed = functions_of(path)
    assert sorted(functions) == ["Double", "Weighted"] and len(guessed["Weighted"][0].inputs) == 2
    assert check_all(functions, guessed)[1] == 0
    path.write_text(OWN.replace("FACTOR", "2.001") + CHOSEN)
    functions, chosen = functions_of(path)
    assert [case.name for case in chosen["Double"]] == ["a vector", "views with gaps"]
    table, failures = check_all(functions, chosen)
    assert failures == 2 and "Double, a vector: GradientError: input 0: relative error" in table


@pytest.mark.parametrize(
    "text, message",
    [
        (None, "own.py is no file; name a Python file"),
        ("x = 1\nx +\n", "line 2: SyntaxError"),
        ("\n\nx = 1 / 0\n", "line 3: ZeroDivisionError"),
        ("import json\njson.loads('{nope')\n", "line 2: JSONDecodeError"),
        ("import sys\nsys.exit(0)\n", "line 2: SystemExit"),
        ("x = '\0'\n", "own.py(, line 1)?: (SyntaxError|ValueError)"),
        ("from bnas import Function\n", "defines no Function; derive a class from bnas.Function"),
    ],
)
def test_a_file_that_cannot_be_checked_is_refused(tmp_path, text, message):
    path = tmp_path / "own.py"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=message):
        functions_of(path)


@pytest.mark.parametrize("cases", ["{'Double': []}", "None", "{'Double': [1]}", "iter(())"])
def test_cases_that_are_none_are_refused(tmp_path, cases):
    path = tmp_path / "own.py"
    path.write_text(OWN.replace("FACTOR", "2") + f"def gradient_cases(draw):\n    return {cases}\n")
    with pytest.raises(InputError, match=r"gradient_cases\(draw\) must return"):
        functions_of(path)
    with pytest.raises(InputError, match="is no file"):
        functions_of(tmp_path)


def test_labels_of_a_module_are_passed_on():
    logits = np.random.default_rng(0).standard_normal((4, 3))
    assert check_gradients(nn.CrossEntropyLoss(), [logits, np.array([0, 2, 1, 1])]).error < 1e-6


def test_cases_of_a_function_that_is_not_there_are_refused(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(OWN.replace("FACTOR", "2") + CHOSEN.replace('{"Double"', "{Double"))
    with pytest.raises(
        InputError, match=r"the Functions of the file are called 'Double', 'Weighted'"
    ):
        functions_of(path)


def test_a_frozen_parameter_is_not_checked():
    net = nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 2))
    net[0].weight.requires_grad = False
    assert check_gradients(net, np.random.default_rng(0).standard_normal((4, 3))).error < 1e-6
