"""Zero times infinity: where an operation chooses, what is not chosen may be NaN or infinite."""

import numpy as np
import pytest
from helpers.arrays import normal, seeds
from hypothesis import given
from hypothesis import strategies as st

import bnas.functional as F
from bnas import nn, optim
from bnas.autodiff import Tensor

BAD = (np.inf, -np.inf, np.nan)
DTYPES = (np.float32, np.float64)


def gradient(function, x, cotangent):
    """The gradient for x of function(x), `cotangent` coming from above."""
    x = Tensor(np.asarray(x), requires_grad=True)
    function(x).backward(cotangent)
    return x.grad


# An operation, x, and its slope there.
MASKS = [
    (F.relu, [-2.0, 0.0, 0.5], [0, 0, 1]),
    (F.abs, [0.0, -2.0], [0, -1]),
    (lambda x: F.clip(x, -1, 1), [-2.0, 0.5, 2.0], [0, 1, 0]),
    (lambda x: F.sign_ste(x, "clip"), [-2.0, 0.5, 2.0], [0, 1, 0]),
    (lambda x: F.sign_ste(x, "polynomial"), [-2.0, 0.5, 2.0], [0, 1, 0]),
    (lambda x: F.sign_ste(x, "tanh", 100.0), [-2.0, 2.0], [0, 0]),
    (lambda x: F.minimum(x, 1.0), [0.0, 2.0], [1, 0]),
    (lambda x: F.maximum(x, 1.0), [0.0, 2.0], [0, 1]),
    (lambda x: F.maximum(1.0, x), [0.0, 2.0], [0, 1]),
    (lambda x: F.where(np.array([True, False]), x, 0.0), [1.0, 1.0], [1, 0]),
    (lambda x: F.where(np.array([True, False]), 0.0, x), [1.0, 1.0], [0, 1]),
]


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("function, x, mask", MASKS)
def test_a_masked_entry_gets_the_gradient_zero_whatever_comes_from_above(function, x, mask, bad):
    mask = np.array(mask, np.float32)
    cotangent = np.where(mask == 0, np.float32(bad), np.float32(3))
    got = gradient(function, np.array(x, np.float32), cotangent)
    np.testing.assert_array_equal(got == 0, mask == 0)
    assert np.isfinite(got).all()


def test_chains_through_infinite_slopes():
    for function, want in [
        (lambda x: F.sqrt(F.relu(x)), [0, 0.25]),
        (lambda x: F.log(F.clip(x, 0, 9)), [0, 0.25]),
        (lambda x: 1 / F.relu(x), [0, -1 / 16]),
    ]:
        with np.errstate(divide="ignore"):
            got = gradient(function, np.float64([-1, 4]), np.ones(2))
        np.testing.assert_allclose(got, want)


@pytest.mark.parametrize("bad", BAD)
def test_xnor_conv2d_clips_infinite_gradients_too(bad):
    x, w = Tensor(np.float32([[[[2.0, 0.5]]]]), requires_grad=True), Tensor([[[[1.0]]]])
    F.xnor_conv2d(x, w, Tensor([1.0])).backward(np.float32([[[[bad, 1]]]]))
    assert x.grad.tolist() == [[[[0, 1]]]]
    w = Tensor(np.float32([[[[2.0]]]]), requires_grad=True)
    F.xnor_conv2d(Tensor([[[[0.5]]]]), w, Tensor([1.0])).backward(np.float32([[[[bad]]]]))
    assert w.grad.tolist() == [[[[0]]]]


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("drop", [F.dropout, F.drop_path])
def test_what_is_dropped_is_zero_even_if_it_was_not_finite(drop, bad):
    rng = np.random.default_rng(0)
    x = Tensor(np.full((50, 3), bad, np.float32), requires_grad=True)
    y = drop(x, 0.5, rng=rng)
    dropped = y.data == 0
    assert dropped.any() and not dropped.all()
    assert (~np.isfinite(y.data[~dropped])).all()
    y.backward(np.where(dropped, np.float32(bad), np.float32(1)))
    np.testing.assert_array_equal(x.grad, np.where(dropped, 0, np.float32(2)))


# ------------------------------------------------------------------------------------------ losses


@given(st.integers(2, 6), seeds, st.sampled_from(DTYPES), st.data())
def test_a_class_ruled_out_by_minus_infinity_is_as_good_as_absent(classes, seed, dtype, data):
    out = data.draw(st.integers(0, classes - 1))
    logits = normal(seed, 4, classes, dtype=dtype)
    labels = np.array([(out + 1 + i) % classes for i in range(4)])
    labels[labels == out] = (out + 1) % classes
    without = np.delete(logits, out, axis=1)
    logits[:, out] = -np.inf
    ours, theirs = Tensor(logits, requires_grad=True), Tensor(without, requires_grad=True)
    loss = F.cross_entropy(ours, labels)
    want = F.cross_entropy(theirs, labels - (labels > out))
    loss.backward()
    want.backward()
    np.testing.assert_allclose(loss.data, want.data, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(np.delete(ours.grad, out, axis=1), theirs.grad, atol=1e-6)
    assert not ours.grad[:, out].any()


@pytest.mark.parametrize("bad", BAD)
def test_ignored_samples_and_classes_of_weight_zero_add_nothing(bad):
    rows = np.float64([[1, 2, 0], [bad, bad, bad]])
    x = Tensor(rows, requires_grad=True)
    loss = F.cross_entropy(x, [1, -100])
    loss.backward()
    alone = F.cross_entropy(Tensor(rows[:1]), [1])
    assert loss.data == alone.data and not x.grad[1].any()
    x = Tensor(rows, requires_grad=True)
    loss = F.cross_entropy(x, [1, 2], weight=np.array([1.0, 1.0, 0.0]))
    loss.backward()
    assert loss.data == alone.data and not x.grad[1].any()


def test_kl_div_of_classes_without_probability():
    x = Tensor(np.float64([-np.inf, -1.0]), requires_grad=True)
    p = Tensor(np.float64([0.0, 1.0]))
    loss = F.kl_div(x, p, reduction="sum")
    loss.backward()
    assert loss.item() == 1 and x.grad.tolist() == [0, -1]
    got = gradient(
        lambda x: F.kl_div(x, p, reduction="none"), [-1.0, -1.0], np.float64([np.inf, 1])
    )
    assert got.tolist() == [0, -1]


@pytest.mark.parametrize("bad", BAD)
def test_softmax_of_an_excluded_entry_is_flat(bad):
    x = np.float64([[1.0, -np.inf, 2.0]])
    want = gradient(lambda x: F.softmax(x, 1), x, np.float64([[3, 0, 1]]))
    got = gradient(lambda x: F.softmax(x, 1), x, np.float64([[3, bad, 1]]))
    np.testing.assert_array_equal(got, want)
    assert got[0, 1] == 0 and got[0, 0] != 0


@pytest.mark.parametrize("bad", BAD)
def test_std_of_equal_values_is_flat_whatever_comes_from_above(bad):
    assert not gradient(F.std, np.ones(4, np.float32), np.float32(bad)).any()


@pytest.mark.parametrize("bad", BAD)
def test_max_gives_nothing_to_the_others(bad):
    got = gradient(F.max, np.float32([1, 2]), np.float32(bad))
    assert got[0] == 0 and not np.isfinite(got[1])


# -------------------------------------------------------------------------------------- optimisers


@pytest.mark.parametrize("rule", [optim.SGD, optim.Adam])
def test_no_weight_decay_adds_nothing_to_the_gradient_of_an_infinite_weight(rule):
    parameter = nn.Parameter(np.float32([np.inf, 1]))
    optimiser = rule([parameter], lr=0.5, weight_decay=0)
    parameter.grad = np.float32([0, 1])
    optimiser.step()
    assert parameter.data[0] == np.inf and parameter.data[1] < 1


def test_a_slope_of_prelu_is_not_told_of_infinity_where_x_is_zero_or_positive():
    x, slope = Tensor(np.float32([[2.0], [0.0], [-1.0]])), Tensor([0.25], requires_grad=True)
    F.prelu(x, slope).backward(np.float32([[np.inf], [0], [3]]))
    assert slope.grad.tolist() == [-3]
