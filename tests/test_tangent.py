"""Tangent propagation (Eqs. 4.29-4.41): t, the distances D, and how D's gradient meets the Hessian.

Derivatives are checked against finite differences on a small smooth model in float64, where nothing
is rounded to a sign; identities are checked on a real supernet with batch norm too.
"""

import math

import numpy as np
import pytest
from helpers.arrays import normal, rng
from helpers.networks import IMAGES, LABELS, supernet

import bnas.functional as F
from bnas.autodiff import Tensor, grad
from bnas.search.objectives import kl_to_teacher
from bnas.search.tangent import (
    DISTANCES,
    angle,
    fisher_product,
    ggn_product,
    hvp_product,
    per_sample,
    tangent_direction,
    tangent_gradient,
)
from bnas.space.operations import BINARY, REAL

BATCH, CLASSES, HIDDEN = 6, 4, 5
LAM = 3.0  # so large that D makes up much of the gradient
CURVATURES = ("fisher", "ggn", "hvp")


class SmoothModel:
    """α (2, 1, 3) -> logits: two layers, each a mixed sum (Eq. 4.28) of three tanh layers."""

    def __init__(self, x):
        self.x = x
        self.weights = 0.8 * normal(1, 2, 3, HIDDEN, HIDDEN)
        self.classifier = normal(2, CLASSES, HIDDEN)

    def __call__(self, alpha):
        s = F.softmax(alpha, axis=-1)
        h = Tensor(self.x)
        for layer, weights in enumerate(self.weights):
            outputs = [F.tanh(F.linear(h, Tensor(w))) for w in weights]
            h = F.mixed_sum(s[..., layer, 0, :], outputs)
        return F.linear(h, Tensor(self.classifier))


MODEL = SmoothModel(normal(3, BATCH, HIDDEN))
ALPHA, T = normal(4, 2, 1, 3), 0.1 * normal(5, 2, 1, 3)
T -= T.mean(axis=-1, keepdims=True)  # as a gradient through a softmax is


def probabilities(noise, seed=6):
    """p (B, N): the model's own predictions, p = p̂, with noise added to the logits."""
    logits = MODEL(Tensor(ALPHA)).data
    return F.softmax(Tensor(logits + noise * normal(seed, *logits.shape)), axis=1)


def difference(function, at, step=1e-5):
    """The gradient of array -> number by central differences."""
    gradient = np.empty_like(at)
    for i in np.ndindex(at.shape):
        ahead, behind = at.copy(), at.copy()
        ahead[i] += step
        behind[i] -= step
        gradient[i] = (function(ahead) - function(behind)) / (2 * step)
    return gradient


def relative(found, expected):
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def kl_gradient(alpha, p, model=MODEL):
    leaf = Tensor(alpha, requires_grad=True)
    return grad(kl_to_teacher(model(leaf), p), [leaf])[0]


def child_objective(alpha, p, lam, distance):
    """-G + λ D(α̂) as a number (Eqs. 4.30-4.32)."""
    G = -kl_to_teacher(MODEL(Tensor(alpha)), p).item()
    return -G + lam * DISTANCES[distance](-kl_gradient(alpha, p), T)[0]


# The tangent direction


def test_4_29_read_literally_is_zero_and_the_tangent_direction_is_not():
    """Σ_n ∂p_n/∂α = 0, for probabilities sum to one."""
    parent = supernet(REAL)
    p = F.softmax(parent.eval()(IMAGES), axis=1)
    (literal,) = grad(p.sum() / len(IMAGES), [parent.alpha])
    t = tangent_direction(parent, [(IMAGES, LABELS)])
    assert t.shape == parent.alpha.shape
    assert np.abs(t).max() > 1e-3
    assert np.abs(literal).max() < 1e-12 * np.abs(t).max()


@pytest.mark.slow
def test_4_29_the_tangent_direction_is_the_slope_of_the_mean_log_likelihood():
    """Over batches of unequal size, which weigh by their samples; the parent stays as it is."""
    parent = supernet(REAL)
    before, alpha = parent.state_dict(), parent.alpha.data
    t = tangent_direction(parent, [(IMAGES[:4], LABELS[:4]), (IMAGES[4:], LABELS[4:])])
    assert parent.training and parent.alpha.grad is None
    for name, array in parent.state_dict().items():
        np.testing.assert_array_equal(array, before[name])

    parent.eval()

    def log_likelihood(alpha):
        logits = parent(IMAGES, Tensor(alpha)).data
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        return np.log(p[range(5), LABELS]).mean()

    assert relative(t, difference(log_likelihood, alpha)) < 1e-6


# The distances


def test_4_31_distances_by_hand():
    g, t = np.array([[1.0, 2.0], [0.0, -2.0]]), np.array([[0.0, 4.0], [3.0, -2.0]])
    assert DISTANCES["frobenius"](g, t)[0] == 14.0
    assert DISTANCES["l1"](g, t)[0] == 6.0
    assert math.isclose(DISTANCES["cosine"](g, t)[0], 1 - 12 / (3 * math.sqrt(29)))


@pytest.mark.parametrize("distance", DISTANCES)
def test_4_31_the_slope_of_each_distance_matches(distance):
    g, t = normal(0, 2, 3, 4), normal(1, 2, 3, 4)
    slope = DISTANCES[distance](g, t)[1]
    assert relative(slope, difference(lambda g: DISTANCES[distance](g, t)[0], g)) < 1e-8


def test_4_31_without_a_direction_cosine_and_angle_are_those_of_a_right_angle():
    zero, g = np.zeros((2, 3), np.float32), normal(0, 2, 3).astype(np.float32)
    for pair in ((zero, g), (g, zero), (zero, zero)):
        D, slope = DISTANCES["cosine"](*pair)
        assert D == 1.0 and slope.dtype == np.float32 and not slope.any()
        assert angle(*pair) == 90.0


def test_4_31_angles():
    x, y = np.array([1.0, 0.0]), np.array([0.0, 2.0])
    assert angle(x, y) == 90.0
    assert math.isclose(angle(x, x + y / 2), 45.0)
    assert angle(normal(0, 9), 3 * normal(0, 9)) < 1e-5  # rounding must not leave arccos's domain
    assert angle(x, -x) == 180.0


# The gradient for α̂


@pytest.mark.parametrize("curvature", CURVATURES)
def test_4_33_lambda_0_leaves_the_gradient_of_the_KL_divergence_alone(curvature):
    child, p = supernet(BINARY), Tensor(rng(1).dirichlet(np.ones(3), 5))
    alpha = child.alpha.data
    result = tangent_gradient(
        lambda a: child(IMAGES, a), alpha, p, np.ones_like(alpha), 0.0, curvature=curvature
    )
    expected = kl_gradient(alpha, p, lambda a: child(IMAGES, a))
    assert relative(result.gradient, expected) < 1e-10
    assert math.isclose(result.G, -kl_to_teacher(child(IMAGES), p).item(), rel_tol=1e-12)
    assert math.isclose(result.D, ((result.g - 1) ** 2).sum())
    np.testing.assert_array_equal(result.g, -result.gradient)


@pytest.mark.parametrize("curvature", CURVATURES)
@pytest.mark.parametrize("lam", [0.1, 2.0])
def test_a_relative_scale_gives_the_term_of_D_the_length_that_lambda_says(lam, curvature):
    p = probabilities(0.3)
    absolute, found = (
        tangent_gradient(MODEL, ALPHA, p, T, lam, "frobenius", curvature, scale)
        for scale in ("absolute", "relative")
    )
    terms = absolute.gradient + absolute.g, found.gradient + found.g
    assert math.isclose(np.linalg.norm(terms[1]), lam * np.linalg.norm(found.g), rel_tol=1e-9)
    assert angle(*terms) < 1e-5


def test_of_no_direction_a_relative_scale_makes_none():
    p = probabilities(0.3)
    g = tangent_gradient(MODEL, ALPHA, p, T, 0.0).g
    found = tangent_gradient(MODEL, ALPHA, p, g, 1.0, scale="relative")
    np.testing.assert_array_equal(found.gradient, -found.g)


@pytest.mark.parametrize("noise", [0.1, 1.0, 3.0])
@pytest.mark.parametrize("distance", DISTANCES)
def test_4_33_with_hvp_the_gradient_is_that_of_minus_G_plus_lambda_D(distance, noise):
    """By finite differences; with H ≈ +F in place of -F the part of D would be reversed."""
    p = probabilities(noise)
    expected = difference(lambda a: child_objective(a, p, LAM, distance), ALPHA)
    found = tangent_gradient(MODEL, ALPHA, p, T, LAM, distance, "hvp")
    assert relative(found.gradient, expected) < 1e-5
    of_D = LAM * difference(lambda a: child_objective(a, p, 1, distance), ALPHA)
    of_D -= LAM * difference(lambda a: child_objective(a, p, 0, distance), ALPHA)
    assert relative(found.gradient + found.g, of_D) < 1e-5
    wrong_sign = -found.g - (found.gradient + found.g)
    assert relative(wrong_sign, expected) > 0.05


@pytest.mark.parametrize("curvature", CURVATURES)
@pytest.mark.parametrize("noise", [0.1, 0.3, 1.0])
def test_4_33_every_curvature_goes_downhill_on_D(noise, curvature):
    """Its share of the gradient makes an acute angle with the true one: the sign of H is right."""
    p = probabilities(noise)
    found = tangent_gradient(MODEL, ALPHA, p, T, 1.0, "frobenius", curvature)
    D = difference(lambda a: DISTANCES["frobenius"](-kl_gradient(a, p), T)[0], ALPHA)
    assert angle(found.gradient + found.g, D) < 30


# Curvature products


def relative_error_of_ggn(noise):
    p, v = probabilities(noise), normal(10, *ALPHA.shape)
    leaf = per_sample(ALPHA, BATCH)
    expected = hvp_product(lambda a: kl_gradient(a, p), ALPHA, v)
    return relative(ggn_product(MODEL(leaf), leaf, v), expected)


def test_4_36_hvp_is_the_product_with_the_hessian():
    p, v = probabilities(1.0), normal(10, *ALPHA.shape)
    hessian = np.stack(
        [difference(lambda a: kl_gradient(a, p)[i], ALPHA) for i in np.ndindex(ALPHA.shape)]
    ).reshape(ALPHA.size, ALPHA.size)
    np.testing.assert_allclose(hessian, hessian.T, atol=1e-9)
    found = hvp_product(lambda a: kl_gradient(a, p), ALPHA, v)
    assert relative(found.ravel(), hessian @ v.ravel()) < 1e-8
    assert not hvp_product(lambda a: kl_gradient(a, p), ALPHA, np.zeros_like(v)).any()


def test_4_38_ggn_by_its_definition():
    """(1/B) Σ_b J_bᵀ (diag p̂_b - p̂_b p̂_bᵀ) J_b v, J_b by finite differences of one sample."""
    v, expected = normal(10, *ALPHA.shape), 0.0
    for b in range(BATCH):
        alone = SmoothModel(MODEL.x[b : b + 1])
        rows = (difference(lambda a: alone(Tensor(a)).data[0, n], ALPHA) for n in range(CLASSES))
        J = np.stack([row.ravel() for row in rows])
        p = F.softmax(alone(Tensor(ALPHA)), axis=1).data[0]
        expected += J.T @ (np.diag(p) - np.outer(p, p)) @ J @ v.ravel() / BATCH
    leaf = per_sample(ALPHA, BATCH)
    assert relative(ggn_product(MODEL(leaf), leaf, v).ravel(), expected) < 1e-8


def test_4_38_ggn_is_the_hessian_at_the_optimum_and_near_it():
    """At p = p̂ to rounding; the error grows with the distance from there."""
    assert relative_error_of_ggn(0.0) < 1e-8
    errors = [relative_error_of_ggn(noise) for noise in (0.01, 0.1, 1.0)]
    assert errors[0] < 0.01 and errors[1] < 0.1 and errors[2] < 0.6
    assert errors[0] < errors[1] / 3 and errors[1] < errors[2] / 3


def fisher_of(model, p, v):
    leaf = per_sample(ALPHA, len(model.x))
    (shares,) = grad(kl_to_teacher(model(leaf), p), [leaf])
    return fisher_product(shares, v)


def test_4_37_fisher_by_its_definition():
    """(1/B) Σ_b g_b (g_bᵀ v), g_b the gradient of sample b's divergence by itself."""
    p, v, expected = probabilities(1.0), normal(10, *ALPHA.shape), 0.0
    for b in range(BATCH):
        g = kl_gradient(ALPHA, Tensor(p.data[b : b + 1]), SmoothModel(MODEL.x[b : b + 1]))
        expected += g * (g * v).sum() / BATCH
    assert relative(fisher_of(MODEL, p, v), expected) < 1e-10


def test_4_37_fisher_of_soft_targets_vanishes_at_the_optimum():
    """Every sample's KL gradient is zero at p = p̂, and fisher is quadratic in it; ggn is not."""
    v = normal(10, *ALPHA.shape)
    leaf = per_sample(ALPHA, BATCH)
    F_v = np.linalg.norm(ggn_product(MODEL(leaf), leaf, v))
    assert np.linalg.norm(fisher_of(MODEL, probabilities(0.0), v)) < 1e-25 * F_v
    near, far = (np.linalg.norm(fisher_of(MODEL, probabilities(s), v)) for s in (0.01, 0.1))
    assert far < 0.05 * F_v and 50 < far / near < 200


def test_4_37_fisher_of_sampled_labels_tends_to_ggn():
    """With p one-hot and drawn from p̂, E[g_b g_bᵀ] = J_bᵀ (diag p̂_b - p̂_b p̂_bᵀ) J_b."""
    v = normal(10, *ALPHA.shape)
    leaf = per_sample(ALPHA, BATCH)
    expected = ggn_product(MODEL(leaf), leaf, v)

    def error(copies):
        many = SmoothModel(np.tile(MODEL.x, (copies, 1)))
        cumulated = np.tile(probabilities(0.0).data, (copies, 1)).cumsum(axis=1)
        drawn = (rng(11).random((len(cumulated), 1)) > cumulated[:, :-1]).sum(axis=1)
        return relative(fisher_of(many, Tensor(np.eye(CLASSES)[drawn]), v), expected)

    assert error(30) < 0.5 and error(3000) < 0.04


def test_products_keep_the_dtype_of_v():
    v, shares = np.ones((2, 1, 3), np.float32), normal(0, 4, 2, 1, 3).astype(np.float32)
    assert fisher_product(shares, v).dtype == np.float32
    assert hvp_product(lambda a: a**2, v, v).dtype == np.float32


@pytest.mark.parametrize("precision", [REAL, BINARY], ids=["parent", "child"])
def test_4_36_the_shares_of_the_samples_add_up_to_the_gradient(precision):
    """In a supernet in training mode, where batch norm couples the samples."""
    net, p = supernet(precision), Tensor(rng(1).dirichlet(np.ones(3), 5))
    leaf = per_sample(net.alpha.data, 5)
    (shares,) = grad(kl_to_teacher(net(IMAGES, leaf), p), [leaf])
    expected = kl_gradient(net.alpha.data, p, lambda a: net(IMAGES, a))
    assert shares.shape == (5, *net.alpha.shape)
    assert relative(shares.sum(axis=0), expected) < 1e-10
    assert relative(shares[0] * 5, expected) > 0.1  # they do differ


@pytest.mark.parametrize("wrong", [{"curvature": "hessian"}, {"distance": "l2"}])
def test_an_unknown_distance_or_curvature_is_refused(wrong):
    p = F.softmax(MODEL(Tensor(ALPHA)), axis=1).detach()
    with pytest.raises(
        ValueError, match="one of frobenius, l1, cosine and .* fisher, ggn, hvp; got"
    ):
        tangent_gradient(MODEL, ALPHA, p, np.ones_like(ALPHA), 0.1, **wrong)
