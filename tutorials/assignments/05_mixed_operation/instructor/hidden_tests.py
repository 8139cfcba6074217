"""Tests with random inputs against the reference, which computes in float64 what it is compared with."""

import math

import numpy as np

from bnas.grading import Failure, close, test

TOLERANCE = {np.float64: 1e-9, np.float32: 1e-5}
# Number of candidates, shape of an output.
EDGES = (
    (1, (1,)),
    (2, (1, 1)),
    (2, (3,)),
    (3, (2, 4)),
    (3, (3, 3)),
    (5, (4, 2, 3, 1)),
    (8, (3, 4, 2, 5)),
)
# Samples, edges, candidates.
ALPHAS = ((1, 1, 2), (3, 1, 2), (2, 3, 4), (4, 4, 4), (5, 14, 8))


def mask(rng, shape):
    """Active candidates, at least one of every edge, and not all where there are more than two."""
    active = rng.random(shape) < 0.6
    first = rng.integers(0, shape[-1], shape[:-1])[..., None]
    np.put_along_axis(active, first, True, -1)
    if shape[-1] > 2:
        np.put_along_axis(active, (first + 1) % shape[-1], False, -1)
    return active


def check(got, dtype, without=""):
    """Refuse another dtype; tell the cause of NaNs if there is one."""
    if not isinstance(got, np.ndarray) or got.dtype.kind != "f":
        return
    if np.isnan(got).any() and without:
        raise Failure(f"some entries are not a number (NaN)\nlikely cause: {without}")
    if got.dtype != dtype:
        raise Failure(
            f"got {got.dtype}, expected {np.dtype(dtype)} as the arguments have\n"
            "likely cause: arrays made without a dtype, or numbers of NumPy, turn float32 into float64"
        )


def doubled(arrays):
    return [a.astype(np.float64) if a.dtype.kind == "f" else a for a in arrays]


def softmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def examine_weights(student, reference, alpha, active, temperature):
    got = student.weights(alpha, active, temperature)
    check(
        got,
        alpha.dtype,
        "exp leaves the range of floats; subtract the largest logit of the active candidates first",
    )
    z = alpha.astype(np.float64)
    close(
        got,
        reference.weights(z, active, temperature),
        tolerance=TOLERANCE[alpha.dtype.type],
        causes={
            "the active candidates have to sum to 1: set the others to 0 before the division": (
                lambda: softmax(z / temperature) * active
            ),
            "candidates that are not active take part": lambda: softmax(z / temperature),
            "a logit of 0 is no absence: e^0 is 1": lambda: softmax(z * active / temperature),
            "a logit of 0 is no absence; the weights do not sum to 1 either": lambda: (
                softmax(z * active / temperature) * active
            ),
            "alpha is divided by the temperature, not multiplied": lambda: reference.weights(
                z, active, 1 / temperature
            ),
            "the temperature is missing": lambda: reference.weights(z, active, 1.0),
            "the softmax goes over each edge by itself": lambda: softmax(
                np.where(active, z / temperature, -np.inf).ravel()
            ).reshape(z.shape),
            "the temperature divides alpha, not the weights": lambda: (
                reference.weights(z, active, 1.0) / temperature
            ),
        },
    )


@test("weights")
def masks_and_temperatures(student, rng, reference):
    """Several edges, with candidates that are not active, and temperatures from 0.3 to 4."""
    for _, E, M in ((1, 1, 1), *ALPHAS):
        for temperature in (0.3, 1.0, 4.0):
            for dtype in (np.float64, np.float32):
                alpha = rng.standard_normal((E, M)).astype(dtype)
                examine_weights(student, reference, alpha, mask(rng, (E, M)), temperature)


@test("weights")
def of_any_size(student, rng, reference):
    """Logits of thousands, the largest of which belong to candidates that are not active."""
    for _, E, M in ALPHAS:
        for dtype in (np.float64, np.float32):
            active = mask(rng, (E, M))
            alpha = (rng.standard_normal((E, M)) + np.where(active, -2000, 3000)).astype(dtype)
            examine_weights(student, reference, alpha, active, 0.5)


ZERO_TIMES_NAN = "the outputs of candidates that are not active hold anything, and 0 · NaN is NaN: leave them out"


def edge(rng, M, shape, dtype):
    """s, outputs, active, dy of one edge; NaN and infinity where a candidate is not active."""
    active = mask(rng, (M,))
    outputs = rng.standard_normal((M, *shape)).astype(dtype)
    outputs[~active] = rng.choice([np.nan, np.inf, 1e3], np.count_nonzero(~active)).reshape(
        -1, *[1] * len(shape)
    )
    s = np.where(active, rng.dirichlet(np.ones(M)), 0).astype(dtype)
    return s, outputs, active, rng.standard_normal(shape).astype(dtype)


@test("mix")
def of_any_shape(student, rng, reference):
    """mix of up to eight candidates, outputs with one to four axes, float64 and float32."""
    for M, shape in EDGES:
        for dtype in (np.float64, np.float32):
            s, outputs, active, _ = edge(rng, M, shape, dtype)
            got = student.mix(s, outputs, active)
            check(got, dtype, ZERO_TIMES_NAN)
            double = doubled([s, outputs, active])
            with np.errstate(invalid="ignore"):
                everything = np.tensordot(*double[:2], axes=1)
            close(
                got,
                reference.mix(*double),
                tolerance=TOLERANCE[dtype],
                causes={
                    "s is missing": lambda: reference.mix(np.ones(M), *double[1:]),
                    "a sum over the candidates, not a mean": lambda: reference.mix(*double) / M,
                    "NaN of candidates that are not active was replaced in the sum; leave them out": (
                        np.nan_to_num(everything)
                    ),
                },
            )


@test("mix")
def gradients_for_outputs(student, rng, reference):
    """output_gradients for the same shapes."""
    for M, shape in EDGES:
        for dtype in (np.float64, np.float32):
            s, _, _, dy = edge(rng, M, shape, dtype)
            got = student.output_gradients(dy, s)
            check(got, dtype)
            expected = reference.output_gradients(*doubled([dy, s]))
            close(
                got,
                expected,
                tolerance=TOLERANCE[dtype],
                causes={
                    "dy was not used": lambda: reference.output_gradients(np.ones(shape), s),
                    "s is missing": lambda: np.broadcast_to(dy, (M, *shape)),
                    "dy is divided among the candidates": lambda: np.broadcast_to(
                        dy / M, (M, *shape)
                    ),
                },
            )


@test("shares")
def every_sample(student, rng, reference):
    """Up to eight candidates, outputs with one to four axes, float64."""
    for M, shape in EDGES:
        examine_shares(student, reference, *edge(rng, M, shape, np.float64)[1:])


@test("shares")
def every_sample_in_float32(student, rng, reference):
    """The same in float32."""
    for M, shape in EDGES:
        examine_shares(student, reference, *edge(rng, M, shape, np.float32)[1:])


@test("shares")
def all_active(student, rng, reference):
    """All candidates active, as many as there are samples, and a batch of one."""
    for M, shape in ((2, (2, 3)), (4, (4, 1, 2, 2)), (4, (1, 3))):
        outputs, dy = rng.standard_normal((M, *shape)), rng.standard_normal(shape)
        examine_shares(student, reference, outputs, np.ones(M, bool), dy)


def examine_shares(student, reference, outputs, active, dy):
    got = student.shares(dy, outputs, active)
    check(got, dy.dtype, ZERO_TIMES_NAN)
    double = doubled([dy, outputs, active])
    expected = reference.shares(*double)
    B, size = len(dy), math.prod(dy.shape[1:])
    total = expected.sum(axis=0)
    filled = np.where(active.reshape(-1, *[1] * dy.ndim), double[1], 0)
    per_entry = filled * dy
    close(
        got,
        expected,
        tolerance=TOLERANCE[dy.dtype.type],
        causes={
            "the samples were added; every sample's own share is asked for": lambda: total,
            "the mean over the samples was taken; every sample's own share is asked for": lambda: (
                total / B
            ),
            "every sample got the sum over the batch; its own share is asked for": lambda: np.tile(
                total, (B, 1)
            ),
            "samples come first: (B, M)": lambda: expected.T,
            "dy was not used": lambda: reference.shares(np.ones_like(dy), *double[1:]),
            "a sum over the entries of a sample, not a mean": lambda: expected / size,
            "B does not belong here: dy already holds the mean over the batch": lambda: (
                expected / B
            ),
            "B does not belong here: dy already holds the mean": lambda: expected * B,
            "the sum of the products, not the product of the sums": lambda: (
                dy.reshape(B, -1).sum(axis=1)[:, None] * filled.reshape(len(active), B, -1).sum(2).T
            ),
            "all entries of a sample have to be added, over all axes but the first": lambda: (
                per_entry.sum(axis=-1).swapaxes(0, 1) if dy.ndim > 1 else per_entry
            ),
        },
    )


@test("logit_shares")
def through_the_softmax(student, rng, reference):
    """Several edges, masks and temperatures, float64 and float32."""
    for B, E, M in ALPHAS:
        for temperature in (0.3, 1.0, 4.0):
            for dtype in (np.float64, np.float32):
                active = mask(rng, (E, M))
                active[0] = True  # one edge at least whose gradient is not 0
                s = reference.weights(rng.standard_normal((E, M)), active, 1.0).astype(dtype)
                ds = (rng.standard_normal((B, E, M)) * active).astype(dtype)
                examine_logit_shares(student, reference, ds, s, temperature)


@test("logit_shares")
def shares_of_all_sizes(student, rng, reference):
    """Shares for candidates that are not active need not be 0: their weights are."""
    for B, E, M in ALPHAS[1:]:
        active = mask(rng, (E, M))
        active[0, :2] = True
        s = reference.weights(rng.standard_normal((E, M)), active, 1.0)
        ds = rng.standard_normal((B, E, M)) + 10
        examine_logit_shares(student, reference, ds, s, 0.5)


def examine_logit_shares(student, reference, ds, s, temperature):
    got = student.logit_shares(ds, s, temperature)
    check(got, ds.dtype)
    tolerance = TOLERANCE[ds.dtype.type]
    ds, s = doubled([ds, s])
    expected = reference.logit_shares(ds, s, temperature)
    both = s * ds
    close(
        got,
        expected,
        tolerance=tolerance,
        causes={
            "the temperature is missing": lambda: expected * temperature,
            "by the chain rule 1/temperature is a factor, not temperature": lambda: (
                expected * temperature**2
            ),
            "a weight depends on all logits of its edge: what is subtracted is missing": lambda: (
                both / temperature
            ),
            "the factor s is missing": lambda: (ds - both.sum(axis=2, keepdims=True)) / temperature,
            "the softmax of an edge does not depend on other edges: sum over the last axis alone": lambda: (
                s * (ds - both.sum(axis=(1, 2), keepdims=True)) / temperature
            ),
            "the sum goes over the candidates, not over the edges": lambda: (
                s * (ds - both.sum(axis=1, keepdims=True)) / temperature
            ),
            "the sum goes over the candidates, not over the samples": lambda: (
                s * (ds - both.sum(axis=0)) / temperature
            ),
            "the mean of ds under the weights is subtracted: sum s ds, not the sum of ds": lambda: (
                s * (ds - ds.sum(axis=2, keepdims=True)) / temperature
            ),
            "every sample has its own mean of ds; the samples were added": lambda: (
                s * (ds - both.sum(axis=(0, 2), keepdims=True)[0]) / temperature
            ),
            "what is subtracted is the mean weighted by s, not the plain one": lambda: (
                s * (ds - ds.mean(axis=2, keepdims=True)) / temperature
            ),
            "the samples were added; every sample's own share is asked for": lambda: expected.sum(
                axis=0
            ),
        },
    )


@test("fisher_product")
def any_alpha(student, rng, reference):
    """Batches of one to five, up to 14 edges of eight candidates, float64 and float32."""
    for B, E, M in ((1, 1, 1), *ALPHAS):
        for dtype in (np.float64, np.float32):
            shares = rng.standard_normal((B, E, M)).astype(dtype)
            v = rng.standard_normal((E, M)).astype(dtype)
            got = student.fisher_product(shares, v)
            check(got, dtype)
            double = doubled([shares, v])
            expected = reference.fisher_product(*double)
            close(got, expected, tolerance=TOLERANCE[dtype], causes=_causes(expected, *double))


@test("fisher_product")
def a_large_batch(student, rng, reference):
    """300 samples, alpha of 14 edges and eight candidates; shares that sum to about 0."""
    shares, v = rng.standard_normal((300, 14, 8)), rng.standard_normal((14, 8))
    shares -= 0.9 * shares.mean(axis=0)
    expected = reference.fisher_product(shares, v)
    close(
        student.fisher_product(shares, v),
        expected,
        causes=_causes(expected, shares, v),
    )


def _causes(expected, shares, v):
    B, g = len(shares), len(shares) * shares
    return {
        "g_b is B times the share: the factor B is missing once": expected / B,
        "g_b is B times the share: the factor B is missing twice": expected / B**2,
        "the mean over the samples is missing": expected * B,
        "the inner product of g_b and v goes over all edges": lambda: (
            g * (g * v).sum(axis=2, keepdims=True)
        ).mean(axis=0),
        "only the diagonal of F was used": lambda: (g**2).mean(axis=0) * v,
        "the products of the gradients are averaged, not the gradients": lambda: (
            g.mean(axis=0) * (g.mean(axis=0) * v).sum()
        ),
    }
