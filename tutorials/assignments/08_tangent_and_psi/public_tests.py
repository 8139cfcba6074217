"""The tests that you can run yourself: `bnas grade . starter.py --public`."""

import numpy as np

from bnas.grading import Failure, Task, close, equal, test
from bnas.grading.suite import shown

TASKS = [
    Task("tangent", "Task 1, tangent", points=16),
    Task("child", "Task 2, child_shares", points=18),
    Task("fisher", "Task 3, fisher_product", points=16),
    Task("objective", "Task 4, objective_gradient", points=22),
    Task("decoupled", "Task 5, psi_step and backtrack", points=28),
]


def two_parts(got, names, exchanged):
    """The two values that a function returns; Failure if it does not return two, or the second one first.

    exchanged: function of both, whether they look like the second and the first.
    """
    if not isinstance(got, tuple | list) or len(got) != 2:
        raise Failure(f"got {shown(got)}, expected two values, {names}")
    if exchanged(*got):
        raise Failure(f"got {shown(got)}\nlikely cause: {names}, in this order")
    return got


def part(name, compare, *arguments, **options):
    """Compare one of two values, and say which."""
    try:
        compare(*arguments, **options)
    except Failure as failure:
        raise Failure(f"{name}:\n{failure}") from None


def gradient_first(D, gradient):
    return np.ndim(D) > 0 and np.ndim(gradient) == 0


def mask_first(moved, mask):
    return np.asarray(moved).dtype.kind == "b" and np.asarray(mask).dtype.kind != "b"


def log_softmax(z):
    return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))


def slopes(f, shape, h=1e-5):
    """Derivatives of f: array of that shape -> array, at 0, by central differences; the entries come last."""
    steps = h * np.eye(int(np.prod(shape))).reshape(-1, *shape)
    columns = [(f(step) - f(-step)) / (2 * h) for step in steps]
    return np.stack(columns, axis=-1).reshape(*np.shape(columns[0]), *shape)


@test("tangent")
def two_classes_by_hand(student, rng):
    """One sample, two classes alike, one entry of α, which raises both logits."""
    close(
        student.tangent(np.zeros((1, 2)), np.array([0]), np.array([[[4.0], [1.0]]])),
        np.array([1.5]),
        causes={
            "log p has a part without labels too: [n = k] - p, not [n = k] alone": np.array([4.0]),
            "the derivative of p, not of log p": np.array([0.75]),
            "t is the gradient of the log-likelihood, not of its negative, the loss": np.array(
                [-1.5]
            ),
            "the sum of the derivatives of all probabilities is zero, as Eq. 4.29 is printed": (
                np.array([0.0])
            ),
            "probabilities sum to one over the classes of a sample, not over the samples": (
                np.array([-1.0])
            ),
        },
    )


@test("tangent")
def differences_of_the_likelihood(student, rng):
    """Some samples, against differences of the mean log-likelihood of a model that is linear in α."""
    for batch, classes, shape in ((2, 3, (2,)), (3, 4, (2, 2))):
        z, J = rng.standard_normal((batch, classes)), rng.standard_normal((batch, classes, *shape))
        labels = rng.integers(0, classes, batch)

        def of_labels(a):
            return log_softmax(z + np.tensordot(J, a, len(shape)))[np.arange(batch), labels].mean()

        expected = slopes(of_labels, shape)
        got = student.tangent(z, labels, J)
        if isinstance(got, np.ndarray) and np.all(abs(got) < 1e-9 * abs(expected).max()):
            raise Failure(
                "all entries are 0 but for rounding\nlikely cause: the sum of the derivatives of all "
                "probabilities is zero, as Eq. 4.29 is printed; labels have to come in"
            )
        close(
            got,
            expected,
            causes={
                "the sum over the samples, not the mean": batch * expected,
                "t is the gradient of the log-likelihood, not of its negative, the loss": -expected,
            },
            tolerance=1e-6,
        )


@test("child")
def one_share_by_hand(student, rng):
    """One sample, two classes, the Parent sure of the first."""
    close(
        student.child_shares(np.zeros((1, 2)), np.array([[1.0, 0.0]]), np.array([[[2.0], [0.0]]])),
        np.array([[1.0]]),
        causes={
            "g is the gradient of G, which is minus the divergence": np.array([[-1.0]]),
            "p_n log p̂_n has a part for all logits: p - p̂, not p alone": np.array([[2.0]]),
            "the gradient needs no logarithm: p - p̂": np.array([[-2 * np.log(2)]]),
        },
    )


@test("child")
def differences_of_each_share(student, rng):
    """Some samples, against differences of each sample's term of G."""
    for batch, classes, shape in ((1, 3, (2,)), (3, 2, (2, 2))):
        z, J = rng.standard_normal((batch, classes)), rng.standard_normal((batch, classes, *shape))
        p = rng.dirichlet(np.ones(classes), batch)

        def terms(a):
            q = log_softmax(z + np.tensordot(J, a, len(shape)))
            return (p * (q - np.log(p))).sum(axis=1) / batch

        expected = slopes(terms, shape)
        close(
            student.child_shares(z, p, J),
            expected,
            causes={
                "a share has the factor 1/B of the mean": batch * expected,
                "g is the gradient of G, which is minus the divergence": -expected,
                "the gradient needs no logarithm: p - p̂": (
                    np.einsum("bn,bn...->b...", p * (log_softmax(z) - np.log(p)), J) / batch
                ),
            },
            tolerance=1e-6,
        )


@test("fisher")
def two_samples_by_hand(student, rng):
    """Two samples, each with an entry of its own: F is diagonal."""
    shares, v = np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([1.0, 1.0])
    close(
        student.fisher_product(shares, v),
        np.array([2.0, 8.0]),
        causes={
            "g_b is B times a share": np.array([0.5, 2.0]),
            "g_b is B times a share, and F is a mean: both factors count": np.array([1.0, 4.0]),
            "F is the mean over the samples, not the sum": np.array([4.0, 16.0]),
            "every sample has its own product; g gᵀ v is not their mean": np.array([3.0, 6.0]),
        },
    )


@test("fisher")
def against_the_matrix(student, rng):
    """Small α, against the matrix F."""
    for batch, shape in ((1, (2,)), (4, (3,)), (3, (2, 2))):
        shares, v = rng.standard_normal((batch, *shape)), rng.standard_normal(shape)
        each = [batch * share.ravel() for share in shares]
        matrix = sum(np.outer(row, row) for row in each) / batch
        expected = (matrix @ v.ravel()).reshape(shape)
        close(
            student.fisher_product(shares, v),
            expected,
            causes={
                "g_b is B times a share, and F is a mean: both factors count": expected / batch,
                "g_b is B times a share": expected / batch**2,
                "F is the mean over the samples, not the sum": expected * batch,
            },
        )


@test("objective")
def one_number_by_hand(student, rng):
    """α of one entry, F = 5, λ = 3."""
    got = student.objective_gradient(np.array([4.0]), np.array([2.0]), 3.0, lambda v: 5 * v)
    D, gradient = two_parts(got, "(D, gradient)", gradient_first)
    part("D", close, D, 4.0, causes={"D is the square of the norm": 2.0})
    part(
        "the gradient",
        close,
        gradient,
        np.array([-64.0]),
        causes={
            "H is about -F, not +F: G is minus a divergence": np.array([56.0]),
            "the factor 2 of the derivative of a square": np.array([-34.0]),
            "λ is missing": np.array([-24.0]),
            "g - t, not t - g": np.array([56.0]),
            "the gradient of -G is -g, not g": np.array([-56.0]),
            "the curvature is missing: D depends on g, and g on α̂": np.array([-16.0]),
            "F multiplies g - t, not g": np.array([-124.0]),
        },
    )


@test("objective")
def differences_settle_the_sign(student, rng):
    """G whose curvature is exactly -F, against differences of -G + λ D."""
    for size in (1, 2, 4):
        root, t, at = rng.standard_normal((size, size)), *rng.standard_normal((2, size))
        matrix, lam = root @ root.T, rng.uniform(0.2, 2)

        def objective(step):
            a = at + step
            return a @ matrix @ a / 2 + lam * ((-matrix @ a - t) ** 2).sum()

        expected, g = slopes(objective, (size,)), -matrix @ at
        got = student.objective_gradient(g, t, lam, lambda v: matrix @ v)
        D, gradient = two_parts(got, "(D, gradient)", gradient_first)
        part("D", close, D, ((g - t) ** 2).sum(), tolerance=1e-6)
        part(
            "the gradient",
            close,
            gradient,
            expected,
            causes={
                "H is about -F, not +F: G is minus a divergence": -2 * g - expected,
                "the factor 2 of the derivative of a square": (expected - g) / 2,
                "the gradient of -G is -g, not g": 2 * g + expected,
            },
            tolerance=1e-6,
        )


@test("decoupled")
def psi_of_one_edge(student, rng):
    """ψ of one edge with two operations in each cell, by hand."""
    psi, gradient = np.array([[1.0], [0.5]]), np.array([[[4.0, 1.0]], [[1.0, 4.0]]])
    before = np.array([[[3.0, 5.0]], [[2.0, 1.0]]])
    mask = np.array([[[True, False]], [[True, True]]])
    close(
        student.psi_step(psi, gradient, before, mask, 0.5, 0.1),
        np.array([[0.4], [0.2]]),
        causes={
            "only backtracked entries depend on ψ": np.array([[0.15], [0.2]]),
            "the factor η of Eq. 4.50 is missing": np.array([[0.2], [0.1]]),
            "ψ goes down its gradient, not up": np.array([[1.6], [0.8]]),
            "the upstream gradient ∂L/∂α̃ is missing": np.array([[0.85], [0.35]]),
            "α^t is missing: ψ acts with the factor η α^t": np.array([[0.8], [0.25]]),
            "a sum over the operations, not a mean": np.array([[0.7], [0.35]]),
            "a sum over the operations that were backtracked, not their mean": (
                np.array([[0.4], [0.35]])
            ),
        },
    )


@test("decoupled")
def psi_stays_positive(student, rng):
    """A step beyond zero."""
    ones = np.ones((2, 1, 1))
    close(
        student.psi_step(np.array([[1.0], [2.0]]), 30 * ones, ones, ones > 0, 0.1, 1.0),
        np.array([[2.0], [1.0]]),
        causes={
            "the absolute value is missing": np.array([[-2.0], [-1.0]]),
            "the absolute value, not the larger of ψ and 0": np.array([[0.0], [0.0]]),
            "ψ goes down its gradient, and the absolute value is of the whole difference": (
                np.array([[4.0], [5.0]])
            ),
        },
    )


@test("decoupled")
def backtracking_by_hand(student, rng):
    """Two edges with two operations, τ = 1: the larger norm of each edge."""
    after, before = np.full((2, 2, 2), 10.0), np.full((2, 2, 2), 2.0)
    psi, eta = np.array([[1.0, 3.0], [1.0, 1.0]]), 0.5
    norms = np.array([[[1.0, 2.0], [7.0, 5.0]], [[0.0, 1.0], [1.0, 0.0]]])
    got = student.backtrack(after, before, psi, eta, norms, 1)
    moved, mask = two_parts(got, "(α̃, mask)", mask_first)
    ahead = np.array([[[False, True], [True, False]], [[False, True], [True, False]]])
    over_edges = np.array([[[False, False], [True, True]], [[False, True], [True, False]]])
    part(
        "the mask",
        equal,
        mask,
        ahead,
        causes={
            "an operation is ranked among those of its edge, not among the edges": over_edges,
            "operations with the largest norms are meant, not with the smallest": ~ahead,
            "the rank is to be above τ, not at least τ": np.ones_like(ahead),
            "ranks begin at 1": np.zeros_like(ahead),
            "the rank is compared with τ, not the norm": norms > 1,
        },
    )
    pull = np.array([[[1.0], [3.0]], [[1.0], [1.0]]]) * ahead
    part(
        "α̃",
        close,
        moved,
        10 + pull,
        causes={
            "α^t, before the step, is added, not α^{t+1}": 10 + 5 * pull,
            "other entries keep α^{t+1}": 10
            + np.array([[[1.0], [3.0]], [[1.0], [1.0]]])
            + 0 * pull,
            "the pull is added to α^{t+1}, and does not replace it": np.where(ahead, pull, 10),
            "the pull is added, not subtracted": 10 - pull,
            "the factor η is missing": 10 + 2 * pull,
            "ψ belongs to an edge, not to an operation": (
                10 + np.array([[[1.0, 3.0]], [[1.0, 1.0]]]) * ahead
            ),
            "ψ has an axis for the edges and none for the operations: psi[..., None]": (
                10 + np.array([[1.0, 3.0], [1.0, 1.0]]) * ahead
            ),
        },
    )


@test("decoupled")
def equal_norms_by_hand(student, rng):
    """One edge with four operations in each cell, some with equal norms, τ = 3."""
    ones, psi = np.ones((2, 1, 4)), np.ones((2, 1))
    norms = np.array([[[2.0, 5.0, 5.0, 0.0]], [[1.0, 1.0, 1.0, 2.0]]])
    got = student.backtrack(ones, ones, psi, 0.5, norms, 3)
    moved, mask = two_parts(got, "(α̃, mask)", mask_first)
    ahead = np.array([[[False, True, True, False]], [[False, False, False, True]]])
    tie = "operations with equal norms have equal ranks: how many norms are no larger"

    def others(*entries):
        return np.reshape(np.array(entries, bool), ahead.shape)

    part(
        "the mask",
        equal,
        mask,
        ahead,
        causes={
            tie: others(0, 0, 1, 0, 0, 0, 0, 1),
            f"{tie}, also where the larger come first": others(0, 1, 0, 0, 0, 0, 0, 1),
            "the rank is how many norms are no larger, not how many are smaller and 1": (
                others(0, 0, 0, 0, 0, 0, 0, 1)
            ),
            "the rank is how many norms are no larger, the operation's own among them": (
                others(0, 0, 0, 0, 0, 0, 0, 0)
            ),
            "the rank is to be above τ, not at least τ": others(0, 1, 1, 0, 1, 1, 1, 1),
            "the rank is compared with τ, not the norm": norms > 3,
        },
    )
    part("α̃", close, moved, 1 + 0.5 * ahead)
