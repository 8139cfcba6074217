"""The tests that you can run yourself: `bnas grade . starter.py --public`."""

import numpy as np

from bnas.grading import Failure, Task, close, test

TASKS = [
    Task("weights", "Task 1, weights", points=18),
    Task("mix", "Task 2, mix and output_gradients", points=20),
    Task("shares", "Task 3, shares", points=26),
    Task("logit_shares", "Task 4, logit_shares", points=22),
    Task("fisher_product", "Task 5, fisher_product", points=14),
]


def slopes(function, at, h=1e-5):
    """The gradient of a number, function(array), by central differences."""
    steps = h * np.eye(at.size).reshape(-1, *at.shape)
    values = [(function(at + step) - function(at - step)) / (2 * h) for step in steps]
    return np.reshape(values, at.shape)


@test("weights")
def two_edges(student, rng):
    """Two edges of three candidates, one of which is not active."""
    alpha = np.log([[1.0, 3.0, 4.0], [2.0, 1.0, 1.0]])
    active = np.array([[True, True, False], [True, True, True]])
    close(
        student.weights(alpha, active, 1.0),
        np.array([[0.25, 0.75, 0.0], [0.5, 0.25, 0.25]]),
        causes={
            "the active candidates have to sum to 1: set the others to 0 before the division": (
                np.array([[0.125, 0.375, 0.0], [0.5, 0.25, 0.25]])
            ),
            "candidates that are not active take part": (
                np.array([[0.125, 0.375, 0.5], [0.5, 0.25, 0.25]])
            ),
            "a logit of 0 is no absence: e^0 is 1": (
                np.array([[0.2, 0.6, 0.2], [0.5, 0.25, 0.25]])
            ),
            "the softmax goes over the candidates of an edge, the last axis": (
                np.array([[1 / 3, 0.75, 0.0], [2 / 3, 0.25, 1.0]])
            ),
            "the softmax goes over each edge by itself": (
                np.array([[0.125, 0.375, 0.0], [0.25, 0.125, 0.125]])
            ),
            "the sum goes over each edge by itself": (
                np.array([[0.1, 0.3, 0.0], [0.3, 0.15, 0.15]])
            ),
        },
    )


@test("weights")
def with_a_temperature(student, rng):
    """Two candidates, temperature 0.5."""
    close(
        student.weights(np.log([[1.0, 3.0]]), np.ones((1, 2), bool), 0.5),
        np.array([[0.1, 0.9]]),
        causes={
            "the temperature is missing": np.array([[0.25, 0.75]]),
            "alpha is divided by the temperature, not multiplied": (
                np.array([[1.0, 3**0.5]]) / (1 + 3**0.5)
            ),
            "the temperature divides alpha, not the weights": np.array([[0.5, 1.5]]),
        },
    )


@test("weights")
def in_float32(student, rng):
    """The same two candidates in float32, and so is the result."""
    alpha = np.log([[1.0, 3.0]]).astype(np.float32)
    got = student.weights(alpha, np.ones((1, 2), bool), 0.5)
    if isinstance(got, np.ndarray) and got.dtype == np.float64:
        raise Failure(
            "got float64, expected float32 as the arguments have\n"
            "likely cause: arrays made without a dtype, or numbers of NumPy, turn float32 into float64"
        )
    close(got, np.array([[0.1, 0.9]]), tolerance=1e-5)


@test("weights")
def large_logits(student, rng):
    """Logits of 1000 and more: exp of them is no number any more."""
    alpha = np.array([[1000.0, 1000.0], [-3000.0, -1000.0]])
    got = student.weights(alpha, np.ones((2, 2), bool), 1.0)
    if isinstance(got, np.ndarray) and got.dtype.kind == "f" and np.isnan(got).any():
        raise Failure(
            "some entries are not a number (NaN)\nlikely cause: exp leaves the range of floats; "
            "subtract the largest logit of the edge first, which changes no weight"
        )
    close(got, np.array([[0.5, 0.5], [0.0, 1.0]]))


@test("mix")
def two_candidates(student, rng):
    """mix of two candidates for two samples of two numbers."""
    outputs = np.array([[[1.0, 2.0], [3.0, 4.0]], [[10.0, 20.0], [30.0, 40.0]]])
    close(
        student.mix(np.array([0.25, 0.75]), outputs, np.ones(2, bool)),
        np.array([[7.75, 15.5], [23.25, 31.0]]),
        causes={
            "s is missing": np.array([[11.0, 22.0], [33.0, 44.0]]),
            "s belongs to the candidates, the first axis": np.array([[2.75, 16.5], [8.25, 33.0]]),
            "s belongs to the candidates, not to the samples": np.array(
                [[2.75, 5.5], [24.75, 33.0]]
            ),
            "the sum goes over the candidates, not over the samples": np.array(
                [[2.5, 3.5], [25.0, 35.0]]
            ),
            "a sum over the candidates, not a mean": np.array([[3.875, 7.75], [11.625, 15.5]]),
        },
    )


@test("mix")
def slopes_for_the_outputs(student, rng):
    """output_gradients against differences of sum(dy * y)."""
    for M, shape in ((1, (1,)), (2, (1, 2)), (3, (2, 1, 2, 2))):
        s, dy = rng.dirichlet(np.ones(M)), rng.standard_normal(shape)
        outputs = rng.standard_normal((M, *shape))

        def loss(outputs):
            y = sum(weight * output for weight, output in zip(s, outputs))
            return (dy * y).sum()

        close(
            student.output_gradients(dy, s),
            slopes(loss, outputs),
            tolerance=1e-6,
            causes={
                "dy was not used": np.ones_like(outputs) * s.reshape(-1, *[1] * len(shape)),
                "s is missing": np.broadcast_to(dy, outputs.shape),
            },
        )


@test("shares")
def two_samples(student, rng):
    """Two samples of three numbers, three candidates."""
    dy = np.array([[1.0, -1.0, 2.0], [2.0, 3.0, 0.0]])
    outputs = np.array(
        [
            [[1.0, 2.0, 1.0], [3.0, 4.0, 5.0]],
            [[5.0, 1.0, 0.0], [0.0, 1.0, 2.0]],
            [[0.0, 0.0, 0.0], [1.0, 0.0, 7.0]],
        ]
    )
    expected = np.array([[1.0, 4.0, 0.0], [18.0, 3.0, 2.0]])
    close(
        student.shares(dy, outputs, np.ones(3, bool)),
        expected,
        causes={
            "the samples were added; every sample's own share is asked for": (
                np.array([19.0, 7.0, 2.0])
            ),
            "every sample got the sum over the batch; its own share is asked for": (
                np.array([[19.0, 7.0, 2.0], [19.0, 7.0, 2.0]])
            ),
            "samples come first: (B, M)": expected.T,
            "dy was not used": np.array([[4.0, 6.0, 0.0], [12.0, 3.0, 8.0]]),
            "the sum of the products, not the product of the sums": (
                np.array([[8.0, 12.0, 0.0], [60.0, 15.0, 40.0]])
            ),
            "a sum over the entries of a sample, not a mean": expected / 3,
            "B does not belong here: dy already holds the mean over the batch": expected / 2,
        },
    )


@test("shares")
def slopes_for_own_weights(student, rng):
    """Against differences, every sample having a copy of the weights to itself."""
    for M, shape in ((1, (1,)), (2, (1, 2)), (2, (3, 2)), (3, (2, 1, 2, 2))):
        dy, outputs = rng.standard_normal(shape), rng.standard_normal((M, *shape))

        def loss(copies):
            return sum(
                (copies[b, m] * outputs[m, b] * dy[b]).sum() for b, m in np.ndindex(copies.shape)
            )

        expected = slopes(loss, np.ones((shape[0], M)))
        close(student.shares(dy, outputs, np.ones(M, bool)), expected, tolerance=1e-6)


@test("logit_shares")
def one_sample(student, rng):
    """One sample, one edge of two candidates, temperature 0.5."""
    close(
        student.logit_shares(np.array([[[1.0, 0.0]]]), np.array([[0.25, 0.75]]), 0.5),
        np.array([[[0.375, -0.375]]]),
        causes={
            "the temperature is missing": np.array([[[0.1875, -0.1875]]]),
            "by the chain rule 1/temperature is a factor, not temperature": (
                np.array([[[0.09375, -0.09375]]])
            ),
            "a weight depends on all logits of its edge: what is subtracted is missing": (
                np.array([[[0.5, 0.0]]])
            ),
            "the factor s is missing": np.array([[[1.5, -0.5]]]),
            "the mean of ds under the weights is subtracted: sum s ds, not the sum of ds": (
                np.array([[[0.0, -1.5]]])
            ),
        },
    )


@test("logit_shares")
def slopes_for_the_logits(student, rng):
    """Against differences of the softmax, sample by sample."""
    for B, E, M, temperature in ((1, 1, 2, 1.0), (2, 1, 3, 0.5), (2, 3, 2, 2.0)):
        alpha, ds = rng.standard_normal((E, M)), rng.standard_normal((B, E, M))

        def softmax(alpha):
            e = np.exp(alpha / temperature)
            return e / e.sum(axis=1, keepdims=True)

        expected = [slopes(lambda a: (part * softmax(a)).sum(), alpha) for part in ds]
        s = softmax(alpha)
        close(
            student.logit_shares(ds, s, temperature),
            np.array(expected),
            tolerance=1e-6,
            causes={
                "the softmax of an edge does not depend on other edges: sum over the last axis alone": (
                    s * (ds - (s * ds).sum(axis=(1, 2), keepdims=True)) / temperature
                ),
                "the sum goes over the candidates, not over the edges": (
                    s * (ds - (s * ds).sum(axis=1, keepdims=True)) / temperature
                ),
                "the mean of ds under the weights is subtracted: sum s ds, not the sum of ds": (
                    s * (ds - ds.sum(axis=2, keepdims=True)) / temperature
                ),
                "every sample has its own mean of ds; the samples were added": (
                    s * (ds - (s * ds).sum(axis=2, keepdims=True).sum(axis=0)) / temperature
                ),
            },
        )


@test("fisher_product")
def two_gradients(student, rng):
    """Two samples, two edges of one candidate."""
    g = np.array([[3.0, 4.0], [2.0, -1.0]]).reshape(2, 2, 1)

    def as_alpha(*values):
        return np.reshape(values, (2, 1))

    close(
        student.fisher_product(g / 2, as_alpha(1.0, 2.0)),
        as_alpha(16.5, 22.0),
        causes={
            "g_b is B times the share: the factor B is missing once": as_alpha(8.25, 11.0),
            "g_b is B times the share: the factor B is missing twice": as_alpha(4.125, 5.5),
            "the mean over the samples is missing": as_alpha(33.0, 44.0),
            "the inner product of g_b and v goes over all edges": as_alpha(6.5, 17.0),
            "the products of the gradients are averaged, not the gradients": as_alpha(13.75, 8.25),
        },
    )


@test("fisher_product")
def by_the_matrix(student, rng):
    """Against the matrix F itself."""
    for B, E, M in ((1, 1, 1), (3, 1, 2), (2, 2, 2), (5, 2, 3)):
        shares, v = rng.standard_normal((B, E, M)), rng.standard_normal((E, M))
        F = np.zeros((E * M, E * M))
        for share in shares:
            F += np.outer(B * share, B * share) / B
        close(student.fisher_product(shares, v), (F @ v.ravel()).reshape(E, M))
