"""Tests with random inputs against the reference."""

import numpy as np
from public_tests import gradient_first, mask_first, part, two_parts

from bnas.grading import Failure, close, equal, test
from bnas.grading.suite import shown

# (B, N, shape of α), smallest first
SIZES = (
    (1, 2, (1,)),
    (2, 2, (3,)),
    (5, 3, (4,)),
    (3, 4, (2, 2)),
    (4, 5, (2, 3, 2)),
    (7, 10, (2, 5, 8)),
)
PRECISIONS = ((np.float64, 1e-9), (np.float32, 1e-4))


def draw(rng, batch, classes, shape, scale=1.0):
    """(logits, labels, targets, J)."""
    return (
        scale * rng.standard_normal((batch, classes)),
        rng.integers(0, classes, batch),
        rng.dirichlet(np.ones(classes), batch),
        rng.standard_normal((batch, classes, *shape)),
    )


def over_samples(reference, logits):
    """Softmax over the wrong axis."""
    return reference.softmax(logits.T).T


def tangent_causes(reference, logits, labels, J):
    onehot, p = np.eye(logits.shape[1])[labels], reference.softmax(logits)
    mean = lambda cotangents: reference.through_logits(cotangents, J).mean(axis=0)  # noqa: E731
    right = mean(onehot - p)
    return {
        "t is the gradient of the log-likelihood, not of its negative, the loss": -right,
        "the sum over the samples, not the mean": len(labels) * right,
        "log p has a part without labels too: [n = k] - p, not [n = k] alone": mean(onehot),
        "the derivative of p, not of log p": mean((onehot * p).sum(axis=1)[:, None] * (onehot - p)),
        "probabilities sum to one over the classes of a sample, not over the samples": (
            mean(onehot - over_samples(reference, logits))
        ),
        "the mean over the classes too": right / logits.shape[1],
    }


def child_causes(reference, logits, targets, J):
    p, batch = reference.softmax(logits), len(logits)
    shares = lambda cotangents: reference.through_logits(cotangents, J) / batch  # noqa: E731
    logs = np.log(p / np.maximum(targets, 1e-300))
    onehot = np.eye(targets.shape[1])[targets.argmax(axis=1)]
    right = shares(targets - p)
    return {
        "g is the gradient of G, which is minus the divergence": -right,
        "a share has the factor 1/B of the mean": batch * right,
        "p_n log p̂_n has a part for all logits: p - p̂, not p alone": shares(targets),
        "the divergence is KL(p ‖ p̂), not KL(p̂ ‖ p)": (
            shares(-p * (logs - (p * logs).sum(axis=1, keepdims=True)))
        ),
        "the gradient needs no logarithm: p - p̂": shares(targets * logs),
        "the Parent's probabilities are the targets, not its likeliest class": shares(onehot - p),
        "probabilities sum to one over the classes of a sample, not over the samples": (
            shares(targets - over_samples(reference, logits))
        ),
    }


@test("tangent")
def shapes_of_alpha(student, rng, reference):
    """Several sizes of batch and shapes of α; float32 too."""
    for batch, classes, shape in SIZES:
        for dtype, tolerance in PRECISIONS:
            z, labels, _, J = draw(rng, batch, classes, shape)
            z, J = z.astype(dtype), J.astype(dtype)
            expected = reference.tangent(z.astype(np.float64), labels, J.astype(np.float64))
            got = student.tangent(z, labels, J)
            rounding = np.abs(J).max() * 1e-6
            if isinstance(got, np.ndarray) and np.abs(got).max(initial=0) < rounding:
                raise Failure(
                    f"t is 0 but for rounding, expected {shown(expected)}\nlikely cause: the sum of the "
                    "derivatives of all probabilities is zero, as Eq. 4.29 is printed"
                )
            close(got, expected, tangent_causes(reference, z, labels, J), tolerance)


@test("tangent")
def extreme_logits(student, rng, reference):
    """Logits of some thousands, and many samples."""
    for batch, classes, shape in ((2, 3, (2,)), (50, 4, (6,))):
        z, labels, _, J = draw(rng, batch, classes, shape, scale=3000.0)
        expected = reference.tangent(z, labels, J)
        close(student.tangent(z, labels, J), expected, tangent_causes(reference, z, labels, J))


@test("child")
def shares_of_alpha(student, rng, reference):
    """Several sizes of batch and shapes of α; float32 too."""
    for batch, classes, shape in SIZES:
        for dtype, tolerance in PRECISIONS:
            z, _, targets, J = (part.astype(dtype) for part in draw(rng, batch, classes, shape))
            expected = reference.child_shares(
                *(part.astype(np.float64) for part in (z, targets, J))
            )
            got = student.child_shares(z, targets, J)
            close(got, expected, child_causes(reference, z, targets, J), tolerance)


@test("child")
def sure_parents(student, rng, reference):
    """Targets with zeros and ones, large logits, and a Child that agrees with its Parent."""
    for batch, classes, shape in ((1, 2, (2,)), (6, 5, (2, 3))):
        z, labels, _, J = draw(rng, batch, classes, shape, scale=20.0)
        targets = np.eye(classes)[labels]
        targets[-1] = reference.softmax(z[-1])
        if batch > 1:
            expected = reference.child_shares(z, targets, J)
            got = student.child_shares(z, targets, J)
            close(got, expected, child_causes(reference, z, targets, J))
        else:
            z[0], targets = (500.0, -500.0), np.array([[0.0, 1.0]])
            close(student.child_shares(z, targets, J), reference.child_shares(z, targets, J))


def fisher_causes(shares, v, expected):
    batch, total = len(shares), shares.sum(axis=0)
    return {
        "g_b is B times a share, and F is a mean: both factors count": expected / batch,
        "g_b is B times a share": expected / batch**2,
        "F is the mean over the samples, not the sum": expected * batch,
        "every sample has its own product; g gᵀ v is not their mean": total * (total * v).sum(),
        "only the diagonal of F": batch * (shares**2).sum(axis=0) * v,
    }


@test("fisher")
def products(student, rng, reference):
    """Several sizes of batch and shapes of α; float32 too."""
    for batch, _, shape in SIZES:
        for dtype, tolerance in PRECISIONS:
            shares = rng.standard_normal((batch, *shape)).astype(dtype)
            v = rng.standard_normal(shape).astype(dtype)
            expected = reference.fisher_product(shares.astype(np.float64), v.astype(np.float64))
            got = student.fisher_product(shares, v)
            close(got, expected, fisher_causes(shares, v, expected), tolerance)


@test("fisher")
def a_large_alpha(student, rng, reference):
    """α of 100,000 entries, of which a matrix F would have 80 GB."""
    shares, v = rng.standard_normal((8, 100_000)), rng.standard_normal(100_000)
    expected = reference.fisher_product(shares, v)
    close(student.fisher_product(shares, v), expected, fisher_causes(shares, v, expected))


@test("objective")
def shapes_of_g(student, rng, reference):
    """Several shapes of α and values of λ, 0 among them; float32 too."""
    for _, _, shape in SIZES:
        for dtype, tolerance in PRECISIONS:
            g, t = rng.standard_normal((2, *shape)).astype(dtype)
            root = rng.standard_normal((g.size, g.size)).astype(dtype)
            matrix = root @ root.T
            fisher = lambda v: (matrix @ v.ravel()).reshape(v.shape)  # noqa: E731
            for lam in (0.0, 0.005, 1.0, 30.0):
                expected_D, expected = reference.objective_gradient(g, t, lam, fisher)
                got = student.objective_gradient(g, t, lam, fisher)
                D, gradient = two_parts(got, "(D, gradient)", gradient_first)
                causes = {
                    "D is the square of the norm": np.sqrt(expected_D),
                    "D is the sum over the entries, not the mean": expected_D / g.size,
                    "D is the sum of squares, not of absolute values": np.abs(g - t).sum(),
                }
                part("D", close, D, expected_D, causes, tolerance)
                causes = objective_causes(g, t, lam, fisher)
                part("the gradient", close, gradient, expected, causes, tolerance)


def objective_causes(g, t, lam, fisher):
    pull = fisher(g - t)
    return {
        "H is about -F, not +F: G is minus a divergence": -g + 2 * lam * pull,
        "the factor 2 of the derivative of a square": -g - lam * pull,
        "λ is missing": -g - 2 * pull,
        "the gradient of -G is -g, not g": g - 2 * lam * pull,
        "the curvature is missing: D depends on g, and g on α̂": -g - 2 * lam * (g - t),
        "F multiplies g - t, not g": -g - 2 * lam * fisher(g),
        "the gradient of the whole objective: -G is part of it": -2 * lam * pull,
        "λ belongs to D alone": lam * (-g - 2 * pull),
    }


def draw_edges(rng, edges, operations, dtype=np.float64):
    """(alpha_next, before, gradient, psi, norms); norms with ties, as the two poolings have them."""
    before = rng.standard_normal((2, edges, operations)).astype(dtype)
    after = before + (0.3 * rng.standard_normal(before.shape)).astype(dtype)
    gradient = rng.standard_normal(before.shape).astype(dtype)
    psi = rng.uniform(0.2, 2, (2, edges)).astype(dtype)
    norms = rng.uniform(0, 9, before.shape).astype(dtype)
    return after, before, gradient, psi, norms


# (E, M); where one of them is 1, several mistakes look alike, so it comes late.
EDGES = ((2, 3), (4, 4), (1, 1), (1, 2), (3, 1), (14, 8))


@test("decoupled")
def steps_of_psi(student, rng, reference):
    """Several numbers of edges and operations, as many of both among them; float32 too."""
    for edges, operations in EDGES:
        for dtype, tolerance in PRECISIONS:
            _, before, gradient, psi, _ = draw_edges(rng, edges, operations, dtype)
            mask = rng.random(before.shape) < 0.6
            mask[0, 0, 0] = True
            for eta, psi_lr in ((0.1, 0.5), (0.7, 20.0)):
                inputs = psi, gradient, before, mask, eta, psi_lr
                expected = reference.psi_step(*inputs)
                causes = psi_causes(*inputs)
                close(student.psi_step(*inputs), expected, causes, tolerance)


def psi_causes(psi, gradient, before, mask, eta, psi_lr):
    slope = eta * (gradient * before * mask).sum(axis=2)
    causes = {
        "the absolute value is missing": psi - psi_lr * slope,
        "the absolute value, not the larger of ψ and 0": np.maximum(psi - psi_lr * slope, 0),
        "ψ goes down its gradient, not up": np.abs(psi + psi_lr * slope),
        "only backtracked entries depend on ψ": (
            np.abs(psi - psi_lr * eta * (gradient * before).sum(axis=2))
        ),
        "the factor η of Eq. 4.50 is missing": np.abs(psi - psi_lr / eta * slope),
        "the rate η_ψ is missing": np.abs(psi - slope),
        "the upstream gradient ∂L/∂α̃ is missing": (
            np.abs(psi - psi_lr * eta * (before * mask).sum(axis=2))
        ),
        "α^t is missing: ψ acts with the factor η α^t": (
            np.abs(psi - psi_lr * eta * (gradient * mask).sum(axis=2))
        ),
        "a sum over the operations, not a mean": np.abs(psi - psi_lr * slope / gradient.shape[2]),
        "a sum over the operations that were backtracked, not their mean": (
            np.abs(psi - psi_lr * slope / np.maximum(mask.sum(axis=2), 1))
        ),
    }
    if gradient.shape[1] == gradient.shape[2]:
        causes["summed over the wrong axis: an edge has a ψ, an operation has none"] = np.abs(
            psi - psi_lr * eta * (gradient * before * mask).sum(axis=1)
        )
    return causes


@test("decoupled")
def entries_that_run_ahead(student, rng, reference):
    """Every τ from 0 to M, several numbers of edges and operations; float32 too."""
    for edges, operations in EDGES:
        for dtype, tolerance in PRECISIONS:
            after, before, _, psi, norms = draw_edges(rng, edges, operations, dtype)
            for tau in range(operations + 1):
                compare(student, reference, (after, before, psi, 0.3, norms, tau), tolerance)


@test("decoupled")
def equal_norms(student, rng, reference):
    """Norms that are equal, as both poolings' are, also across edges."""
    for edges, operations in ((2, 3), (4, 4), (1, 2), (14, 8)):
        after, before, _, psi, norms = draw_edges(rng, edges, operations)
        for tau in range(operations + 1):
            compare(student, reference, (after, before, psi, 0.05, np.floor(norms / 3), tau), 1e-9)


def compare(student, reference, inputs, tolerance):
    after, before, psi, eta, norms, tau = inputs
    expected, ahead = reference.backtrack(*inputs)
    moved, mask = two_parts(student.backtrack(*inputs), "(α̃, mask)", mask_first)
    order = norms.argsort(axis=2, kind="stable").argsort(axis=2)
    fewer = (norms[:, :, None, :] < norms[:, :, :, None]).sum(axis=3)
    edges = (norms[:, None, :, :] <= norms[:, :, None, :]).sum(axis=2)
    falling = (norms[:, :, None, :] >= norms[:, :, :, None]).sum(axis=3)
    tie = "operations with equal norms have equal ranks: how many norms are no larger"
    part(
        "the mask",
        equal,
        mask,
        ahead,
        causes={
            tie: order + 1 > tau,
            "the rank is how many norms are no larger, the operation's own among them": fewer > tau,
            "the rank is to be above τ, not at least τ": (
                (norms[:, :, None, :] <= norms[:, :, :, None]).sum(axis=3) >= tau
            ),
            "ranks begin at 1": order > tau,
            "the rank is how many norms are no larger, not how many are smaller and 1": (
                fewer + 1 > tau
            ),
            "operations with the largest norms are meant, not with the smallest": falling > tau,
            "the entries that are backtracked are wanted, not the others": ~ahead,
            "an operation is ranked among those of its edge, not among the edges": edges > tau,
            "an operation is ranked among those of its edge, not of the whole cell": (
                (norms[:, None, None] <= norms[..., None, None]).sum(axis=(3, 4)) > tau
            ),
            "the rank is compared with τ, not the norm": norms > tau,
        },
    )
    pull = eta * psi[:, :, None] * before
    causes = {
        "other entries keep α^{t+1}": after + pull,
        "α^t, before the step, is added, not α^{t+1}": (
            after + eta * psi[:, :, None] * after * ahead
        ),
        "the pull is added to α^{t+1}, and does not replace it": np.where(ahead, pull, after),
        "the pull is added to α^{t+1}, the values after the step": before + pull * ahead,
        "other entries keep α^{t+1}, after the step": np.where(ahead, after + pull, before),
        "the pull is added, not subtracted": after - pull * ahead,
        "the factor η is missing": after + psi[:, :, None] * before * ahead,
        "the factor ψ is missing": after + eta * before * ahead,
    }
    if psi.shape[1] == after.shape[2]:
        causes["ψ belongs to an edge, not to an operation"] = after + (
            eta * psi[:, None] * before * ahead
        )
    part("α̃", close, moved, expected, causes, tolerance)
