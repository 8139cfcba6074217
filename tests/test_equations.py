"""The losses of Parent and Child (Eqs. 4.21-4.35) and decoupled optimisation (4.42-4.53).

One test or more for each equation, its number in the name; 4.27 and 4.28 are in test_space, tangent
propagation (4.29, 4.31, 4.33, 4.36-4.41) is in test_tangent.
"""

import math

import numpy as np
import pytest
from helpers.arrays import normal, rng
from helpers.networks import IMAGES, LABELS, supernet
from hypothesis import given, settings
from hypothesis import strategies as st

import bnas.functional as F
from bnas import nn
from bnas.autodiff import Tensor, grad
from bnas.config import SearchConfig
from bnas.gradcheck import check_gradients
from bnas.optim import SGD
from bnas.search import objectives
from bnas.search.decoupled import (
    DecoupledAlpha,
    backtrack,
    psi_gradient,
    psi_step,
    selected,
    weight_norms,
)
from bnas.search.objectives import child_loss, kl_to_teacher
from bnas.search.phases import ChildPhase
from bnas.space import PRIMITIVES
from bnas.space.operations import BINARY, REAL, Pool, Precision, Skip, make_operation

BATCH, CLASSES = 6, 4


def probabilities(batch=BATCH, classes=CLASSES):
    return Tensor(rng(6).dirichlet(np.ones(classes), batch))


# The 1-bit convolution


def test_4_22_a_1_bit_convolution_is_beta_after_the_exact_sum():
    """β inside the weights leaves ±eps where ±β taps cancel, and the next sign sees noise."""
    layer = nn.XnorConv2d(70, 3, 3, padding=1, rng=rng()).astype(np.float64)
    x = normal(0, 2, 70, 6, 6)
    bits_x, bits_w = np.where(x > 0, 1.0, -1.0), np.where(layer.weight.data > 0, 1.0, -1.0)
    beta = np.abs(layer.weight.data).mean(axis=(1, 2, 3)).reshape(3, 1, 1, 1)
    y = layer(Tensor(x)).data
    after = F.conv2d(Tensor(bits_x), Tensor(bits_w), None, 1, 1).data * beta[None, :, 0]
    inside = F.conv2d(Tensor(bits_x), Tensor(beta * bits_w), None, 1, 1).data
    np.testing.assert_array_equal(y, after)
    np.testing.assert_allclose(y, inside, atol=1e-12)
    zeros = y == 0
    assert zeros.any() and (inside[zeros] != 0).any()


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 999), shape=st.tuples(*[st.integers(1, 4)] * 4))
def test_4_23_mean_abs_w_minimises_the_reconstruction_loss(seed, shape):
    w, random = normal(seed, *shape), rng(seed)
    beta = F.channel_scale(w)
    least = F.reconstruction_loss(Tensor(w)).item()
    by_hand = sum(((row - b * np.where(row > 0, 1, -1)) ** 2).sum() for row, b in zip(w, beta))
    assert math.isclose(least, by_hand, rel_tol=1e-12, abs_tol=1e-15)
    for scale in (1e-3, 1.0):
        step = scale * (0.1 + random.random(shape[0])) * random.choice([-1, 1], shape[0])
        rise = F.reconstruction_loss(Tensor(w), Tensor(beta + step)).item() - least
        assert math.isclose(rise, (w[0].size * step**2).sum(), rel_tol=1e-6, abs_tol=1e-12)


@pytest.mark.parametrize("beta", ["closed", "learned"])
def test_4_23_L_R_of_a_network_is_the_sum_over_its_1_bit_layers(beta):
    net = supernet(Precision(True, beta=beta))
    layers = [m for m in net.modules() if isinstance(m, nn.XnorConv2d)]
    leaves = [m.weight for m in layers]
    if beta == "learned":
        leaves += [m.beta for m in layers]
        for i, m in enumerate(layers):
            m.beta.data = m.beta.data * (0.5 + i / len(layers))
    total = objectives.reconstruction(net)
    assert len(layers) > 100 and {m.weight.shape[0] for m in layers} == {2, 4, 8}
    losses = [m.reconstruction_loss() for m in layers]
    assert math.isclose(total.item(), sum(loss.item() for loss in losses), rel_tol=1e-12)
    by_layer = {}
    for m, loss in zip(layers, losses):
        own = [m.weight] if beta == "closed" else [m.weight, m.beta]
        by_layer.update(zip(own, grad(loss, own)))
    for found, leaf in zip(grad(3.0 * total, leaves), leaves):
        np.testing.assert_allclose(found, 3 * by_layer[leaf], rtol=1e-12, atol=1e-13)


def test_4_23_a_real_network_has_nothing_to_reconstruct():
    for dtype in (np.float32, np.float64):
        L_R = objectives.reconstruction(supernet(REAL, dtype))
        assert L_R.item() == 0 and L_R.dtype == dtype and not L_R.requires_grad


def test_4_34_4_35_gradient_of_the_latent_weights():
    """-∂G/∂b^w 1_{|ŵ| <= 1} + μ ∂L_R/∂ŵ, b^w a leaf of its own in the reference."""
    mu = 0.2
    w = normal(0, CLASSES, 2, 3, 3) * 0.9
    assert (np.abs(w) > 1).any() and (np.abs(w) < 1).any()
    x, p = normal(1, BATCH, 2, 3, 3), probabilities()
    layer = nn.XnorConv2d(2, CLASSES, 3, rng=rng()).astype(np.float64)
    layer.weight.data = w
    kl = kl_to_teacher(layer(Tensor(x)).reshape(BATCH, CLASSES), p)
    child_loss(kl, 0.0, layer.reconstruction_loss(), 0.0, mu).backward()

    bits, beta = np.where(w > 0, 1.0, -1.0), np.abs(w).mean(axis=(1, 2, 3)).reshape(-1, 1, 1, 1)
    leaf = Tensor(bits, requires_grad=True)
    a = F.conv2d(Tensor(np.where(x > 0, 1.0, -1.0)), leaf) * Tensor(beta.reshape(-1, 1, 1))
    (slope,) = grad(kl_to_teacher(a.reshape(BATCH, CLASSES), p), [leaf])
    expected = slope * (np.abs(w) <= 1) + mu * 2 * (w - beta * bits)
    np.testing.assert_allclose(layer.weight.grad, expected, rtol=1e-10, atol=1e-14)


# Parent


def test_4_21_L_NAS_is_the_mean_cross_entropy():
    logits = normal(0, BATCH, CLASSES)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    y = np.array([0, 1, 2, 3, 3, 0])
    expected = -np.mean([np.log(p[b, y[b]]) for b in range(BATCH)])
    assert math.isclose(objectives.nas_loss(Tensor(logits), y).item(), expected, rel_tol=1e-12)


# Child


def test_4_30_G_is_minus_the_KL_divergence_and_its_gradient_matches():
    p, logits = probabilities().data, normal(9, BATCH, CLASSES)

    def G(logits):
        p_hat = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        return np.mean([sum(p[b] * np.log(p_hat[b] / p[b])) for b in range(BATCH)])

    found = -kl_to_teacher(Tensor(logits), Tensor(p)).item()
    assert math.isclose(found, G(logits), rel_tol=1e-12) and found < 0
    check_gradients(lambda logits: -kl_to_teacher(logits, Tensor(p)), [logits], rng())
    assert abs(kl_to_teacher(Tensor(logits), F.softmax(Tensor(logits), axis=1)).item()) < 1e-15


def test_4_30_p_is_a_constant_of_the_parent_in_evaluation_mode():
    parent = supernet(REAL)
    before = parent.state_dict()
    p = objectives.teacher_probabilities(parent, IMAGES)
    assert parent.training and not p.requires_grad
    for name, array in parent.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    np.testing.assert_array_equal(p.data, F.softmax(parent.eval()(IMAGES), axis=1).data)


def test_4_32_lambda_0_is_CP_NAS_and_mu_0_too_is_distillation():
    assert child_loss(2.0, 3.0, 5.0, 0.1, 0.2) == 2.0 + 0.3 + 1.0
    assert child_loss(2.0, 3.0, 5.0, 0.0, 0.2) == 2.0 + 1.0
    assert child_loss(2.0, 3.0, 5.0, 0.0, 0.0) == 2.0


@pytest.mark.parametrize("mu, lam", [(0.0, 0.0), (0.5, 0.0), (0.5, 2.0)])
def test_4_34_the_weights_of_the_child_learn_from_KL_and_L_R_alone(mu, lam, monkeypatch):
    """μ = λ = 0 is plain distillation; λ D never reaches the weights."""
    child, parent = supernet(BINARY, np.float32), supernet(REAL, np.float32, seed=1)
    images = IMAGES.astype(np.float32)
    p = objectives.teacher_probabilities(parent, images)
    weights = child.weight_parameters()
    kl = grad(kl_to_teacher(child(images), p), weights)
    layers = [m for m in child.modules() if isinstance(m, nn.XnorConv2d)]
    expected = dict(zip(map(id, weights), kl))
    for layer in layers:
        w = layer.weight.data
        b = np.abs(w).mean(axis=(1, 2, 3), keepdims=True) * np.where(w > 0, 1, -1)
        expected[id(layer.weight)] = expected[id(layer.weight)] + 2 * mu * (w - b)

    config = SearchConfig(mu=mu, lam=lam, clip=1e6)
    phase = ChildPhase(child, config, 1, parent, np.ones_like(child.alpha.data))
    taken = {}
    monkeypatch.setattr(
        phase.optimiser, "step", lambda: taken.update((id(w), w.grad) for w in weights)
    )
    phase.weight_step(images, LABELS)
    assert child.alpha.grad is None
    for weight in weights:
        np.testing.assert_allclose(taken[id(weight)], expected[id(weight)], rtol=1e-4, atol=1e-5)


# Decoupled optimisation


def test_4_50_backtracking_adds_eta_psi_alpha():
    alpha_next, alpha, psi = normal(0, 2, 5, 8), normal(1, 2, 5, 8), normal(2, 2, 5)
    pulled = backtrack(alpha_next, alpha, psi, 0.1, np.ones((2, 5, 8), bool))
    for e in np.ndindex(2, 5):
        np.testing.assert_allclose(pulled[e], alpha_next[e] + 0.1 * psi[e] * alpha[e])


def test_4_52_backtracking_only_where_masked():
    alpha_next, alpha = normal(0, 2, 5, 8).astype(np.float32), normal(1, 2, 5, 8)
    mask = rng(3).random((2, 5, 8)) < 0.5
    pulled = backtrack(alpha_next, alpha.astype(np.float32), np.ones((2, 5)), 0.1, mask)
    assert pulled.dtype == np.float32
    np.testing.assert_array_equal(pulled != alpha_next, mask)


def test_4_51_gradient_of_psi_through_the_backtracking():
    """By the chain rule through Eq. 4.50 with a mask, against finite differences of L(α̃(ψ))."""
    parent = supernet(REAL).eval()
    shape, eta = parent.alpha.shape, 0.3
    alpha_next, alpha = normal(0, *shape), normal(1, *shape)
    mask, psi = rng(3).random(shape) < 0.5, rng(4).random(shape[:2])

    def loss(psi):
        leaf = Tensor(backtrack(alpha_next, alpha, psi, eta, mask), requires_grad=True)
        return objectives.nas_loss(parent(IMAGES, leaf), LABELS), leaf

    value, leaf = loss(psi)
    found = psi_gradient(grad(value, [leaf])[0], alpha, eta, mask)
    assert found.shape == psi.shape
    for e in np.ndindex(psi.shape):
        ahead, behind = psi.copy(), psi.copy()
        ahead[e] += 1e-5
        behind[e] -= 1e-5
        slope = (loss(ahead)[0].item() - loss(behind)[0].item()) / 2e-5
        assert math.isclose(found[e], slope, rel_tol=1e-6, abs_tol=1e-9)
    assert np.abs(found).max() > 1e-3


def test_4_51_psi_steps_downhill_and_stays_positive():
    found = psi_step(np.array([1.0, 1.0, 0.1]), np.array([2.0, -2.0, 3.0]), 0.1)
    np.testing.assert_allclose(found, [0.8, 1.2, 0.2])


def test_4_52_ranks_count_the_operations_with_a_norm_no_larger():
    norms = np.array([[0.0, 3.0, 1.0, 1.0, 7.0, 2.0, 9.0, 5.0]])  # ranks 1 5 3 3 7 4 8 6
    assert selected(norms, 4).tolist() == [[False, True, False, False, True, False, True, True]]
    assert selected(norms, 2).sum() == 7 and selected(norms, 3).sum() == 5  # the two 1.0 are tied
    assert selected(norms, 7).sum() == 1
    assert selected(norms, 0).all() and not selected(norms, 8).any()


def test_4_52_the_ranking_is_among_the_operations_of_an_edge():
    norms = np.arange(80.0).reshape(2, 5, 8)
    expected = np.broadcast_to(np.arange(8) >= 6, norms.shape)
    np.testing.assert_array_equal(selected(norms, 6), expected)


def test_4_53_norms_of_every_operation_in_parent_and_child():
    """Means over the cells of a kind; pooling counts as weights 1/K², identity as 1, none as 0."""
    for precision in (REAL, BINARY):
        net = supernet(precision)
        norms = weight_norms(net)
        assert norms.shape == net.alpha.shape
        names = {name: m for m, name in enumerate(PRIMITIVES)}
        assert not norms[..., names["none"]].any()
        normal_cell, *reductions = net.cells  # of 2, 4 and 8 channels
        np.testing.assert_allclose(norms[0, :, names["max_pool_3x3"]], 2 * 9 / 81, rtol=1e-6)
        np.testing.assert_allclose(norms[1, :, names["avg_pool_3x3"]], 6 * 9 / 81, rtol=1e-6)
        np.testing.assert_allclose(norms[0, :, names["skip_connect"]], 2)
        # Edges 0, 1, 2, 3 come from the inputs, at stride 2: there the skip is two convolutions.
        np.testing.assert_allclose(norms[1, 4, names["skip_connect"]], 6)

        for cells, kind in (([normal_cell], 0), (reductions, 1)):
            expected = np.mean([_norm_by_hand(cell.edges[3][4 + 2], precision) for cell in cells])
            assert math.isclose(norms[kind, 3, 6], expected, rel_tol=1e-6)


def _norm_by_hand(candidate, precision):
    total = 0.0
    for module in candidate.modules():
        if isinstance(module, (nn.Conv2d, nn.XnorConv2d)):
            w = module.weight.data
            if precision is BINARY:
                w = np.abs(w).mean(axis=(1, 2, 3), keepdims=True) * np.where(w > 0, 1, -1)
            total += (w**2).sum()
    return total


def test_4_53_a_learned_beta_counts():
    layer = make_operation("dil_conv_3x3", 2, 1, Precision(True, beta="learned"), False, rng())
    layer.depthwise.beta.data = np.array([2.0, 3.0], np.float32)
    depthwise, pointwise = layer.depthwise.kernel(), layer.pointwise.kernel()
    assert np.abs(depthwise[0]).tolist() == np.full((1, 3, 3), 2.0).tolist()
    assert float((depthwise**2).sum()) == 9 * (4 + 9) == layer.depthwise.squared_norm()
    assert layer.squared_norm() == pytest.approx(9 * (4 + 9) + float((pointwise**2).sum()))


@pytest.mark.parametrize("precision", [REAL, BINARY, Precision(True, beta="learned")])
def test_4_53_norms_are_those_of_the_kernels(precision):
    net = supernet(precision)
    for m in net.modules():
        if isinstance(m, nn.XnorConv2d) and m.beta is not None:
            m.beta.data = m.beta.data * -1.5
    expected, cells = np.zeros(net.alpha.shape), [c.reduction for c in net.cells]
    for cell in net.cells:
        for e, candidates in enumerate(cell.edges):
            for m, candidate in enumerate(candidates):
                kernels = [c.kernel() for c in candidate.modules() if isinstance(c, nn.Convolution)]
                if isinstance(candidate, Pool):
                    kernels = [np.full((candidate.channels, 3, 3), 1 / 9)]
                if isinstance(candidate, Skip):
                    kernels = [np.ones(candidate.channels)]
                squares = sum(float((kernel**2).sum()) for kernel in kernels)
                expected[int(cell.reduction), e, m] += squares / cells.count(cell.reduction)
    np.testing.assert_allclose(weight_norms(net), expected, rtol=1e-6)


def test_4_50_to_4_53_two_steps_of_decoupled_optimisation_by_hand():
    """The gradient that comes with step 2 is ∂L/∂α̃ of step 1, and so what ψ learns from."""
    net = supernet(REAL)
    eta, psi_lr, tau, lr = 0.1, 0.5, 4, 0.2
    decoupled = DecoupledAlpha(net, SGD([net.alpha], lr), eta, psi_lr, tau)
    start = net.alpha.data.copy()
    first, second = normal(1, *start.shape), normal(2, *start.shape)
    mask = selected(weight_norms(net), tau)
    assert mask.any() and not mask.all()

    psi = decoupled.psi.copy()
    decoupled.step(first)
    after_one = start - lr * first + eta * mask * psi[..., None] * start
    np.testing.assert_allclose(net.alpha.data, after_one)
    np.testing.assert_array_equal(decoupled.psi, psi)  # nothing was backtracked before

    decoupled.step(second)
    psi = np.abs(psi - psi_lr * eta * (second * start * mask).sum(axis=-1))
    np.testing.assert_allclose(decoupled.psi, psi)
    after_two = after_one - lr * second + eta * mask * psi[..., None] * after_one
    np.testing.assert_allclose(net.alpha.data, after_two)
    assert net.alpha.grad is None


def test_4_50_without_eta_it_is_the_ordinary_step():
    net = supernet(REAL)
    start, gradient = net.alpha.data.copy(), normal(0, *net.alpha.shape)
    DecoupledAlpha(net, SGD([net.alpha], 0.2), 0.0, 0.5, 0).step(gradient)
    np.testing.assert_array_equal(net.alpha.data, start - 0.2 * gradient)
