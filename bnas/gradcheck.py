"""Verification of a backward pass by finite differences, made so that it cannot be fooled.

Everything runs in float64. Where the Jacobian is small, all of it is compared, entry by entry; elsewhere
several random cotangents and directions are. Inputs are moved away from declared kinks first. A case
whose numeric gradient is about zero *fails as powerless*: it would pass any backward that returns zeros.

`check_gradients` checks any function of Tensors. The operations of the library come with cases to check
them on, each family's in the function `gradient_cases` at the end of its file; `check_case` checks an
operation on one, `check_all` many on all, as `bnas gradcheck` does.
"""

import zlib
from typing import NamedTuple

import numpy as np

from bnas.autodiff import Tensor, grad, no_grad
from bnas.errors import InputError

STEP = 1e-5  # of the central difference: truncation ~ 1e-10, rounding ~ 1e-11
TOLERANCE = 1e-6  # on the relative error
FLOOR = 1e-3  # an entry counts as at least this share of the largest, or noise around 0 would fail
POWERLESS = 1e-7  # a numeric gradient below this proves nothing
SMALL_JACOBIAN = 4096  # entries
DIRECTIONS = 5  # random projections of a large one


class Report(NamedTuple):
    """The worst entry of a passed check: relative error, and the two numbers it compares."""

    error: float
    analytic: float
    numeric: float


class GradientError(AssertionError):
    """A backward disagrees with the finite difference, or the check could not tell."""


def check_gradients(function, inputs, rng, surrogate=None):
    """Compare the backward of `function` with central differences.

    Args:
        function: Tensors -> Tensor, deterministic.
        inputs: float64 arrays, away from kinks; those that are None are passed on.
        rng: numpy.random.Generator for cotangents and directions.
        surrogate: arrays -> array, the function whose derivative the backward claims to be; `function`
            itself if None.

    Returns:
        Report on the worst entry over all inputs.

    Raises:
        GradientError: an entry is off by more than TOLERANCE relative to max(|analytic|, |numeric|,
            FLOOR · largest numeric entry); or the check is powerless, some input's numeric gradient
            being about zero; or a gradient is not finite.
        TypeError: an input is not float64.
    """
    for array in inputs:
        if array is not None and array.dtype != np.float64:
            raise TypeError(f"check_gradients needs float64 inputs, got {array.dtype}")
    leaves = [None if a is None else Tensor(a, requires_grad=True) for a in inputs]
    output = function(*leaves)

    def evaluate(arrays):
        if surrogate is not None:
            return surrogate(*arrays)
        with no_grad():
            return function(*(None if a is None else Tensor(a) for a in arrays)).data

    worst = Report(0.0, 0.0, 0.0)
    for position, leaf in enumerate(leaves):
        if leaf is not None:
            compare = _whole_jacobian if leaf.size * output.size <= SMALL_JACOBIAN else _projections
            analytic, numeric = compare(evaluate, output, leaf, list(inputs), position, rng)
            worst = max(worst, _worst_entry(analytic, numeric, position), key=lambda r: r.error)
    return worst


def _whole_jacobian(evaluate, output, leaf, inputs, position, rng):
    """Both Jacobians, (outputs, inputs), each output mixed with the others by a random rotation.

    The rotation costs no information, and a backward that is right for unit cotangents alone is caught.
    The scale does the same for a scalar output, whose only rotations are ±1.
    """
    mix, _ = np.linalg.qr(rng.standard_normal((output.size, output.size)))
    mix *= -rng.uniform(1.5, 2.0)
    analytic = [
        grad(output, [leaf], row.reshape(output.shape), retain_graph=True)[0].ravel() for row in mix
    ]
    unit = np.eye(leaf.size).reshape(leaf.size, *leaf.shape)
    numeric = [mix @ _slope(evaluate, inputs, position, d).ravel() for d in unit]
    return np.array(analytic), np.array(numeric).T


def _projections(evaluate, output, leaf, inputs, position, rng):
    """⟨cotangent, J direction⟩ for random cotangents and directions, (DIRECTIONS, DIRECTIONS)."""
    cotangents = rng.standard_normal((DIRECTIONS, *output.shape))
    directions = rng.standard_normal((DIRECTIONS, *leaf.shape))
    rows = [grad(output, [leaf], c, retain_graph=True)[0] for c in cotangents]
    analytic = np.array([[np.vdot(row, d) for d in directions] for row in rows])
    slopes = [_slope(evaluate, inputs, position, d) for d in directions]
    return analytic, np.array([[np.vdot(c, slope) for slope in slopes] for c in cotangents])


def _slope(evaluate, inputs, position, direction):
    """Central difference of the output along `direction` in one input."""
    ahead, behind = list(inputs), list(inputs)
    ahead[position] = inputs[position] + STEP * direction
    behind[position] = inputs[position] - STEP * direction
    return (evaluate(ahead) - evaluate(behind)) / (2 * STEP)


def _worst_entry(analytic, numeric, position):
    if not (np.isfinite(analytic).all() and np.isfinite(numeric).all()):
        raise GradientError(f"input {position}: a gradient is NaN or infinite")
    largest = np.abs(numeric).max(initial=0.0)
    if largest < POWERLESS:
        raise GradientError(
            f"input {position}: powerless, the numeric gradient is at most {largest:.1e}; a backward "
            "that returns zeros would pass. Choose another case"
        )
    scale = np.maximum(np.maximum(np.abs(analytic), np.abs(numeric)), FLOOR * largest)
    errors = np.abs(analytic - numeric) / scale
    at = np.unravel_index(errors.argmax(), errors.shape)
    report = Report(*(float(array[at]) for array in (errors, analytic, numeric)))
    if report.error > TOLERANCE:
        raise GradientError(
            f"input {position}: relative error {report.error:.2e} > {TOLERANCE:.0e}; worst entry: "
            f"analytic {report.analytic:.10g}, numeric {report.numeric:.10g}"
        )
    return report


class Case(NamedTuple):
    """One call of an operation: what is special about it, input arrays (or None), keyword parameters."""

    name: str
    inputs: tuple
    params: dict = {}


class Draw:
    """Random inputs for cases: float64 arrays that depend on the seed and on the family's name alone."""

    def __init__(self, seed, family):
        self.rng = np.random.default_rng((seed, zlib.crc32(family.encode())))

    def normal(self, *shape):
        """Of the standard normal distribution."""
        return self.rng.standard_normal(shape)

    def positive(self, *shape):
        """Between 0.5 and 2."""
        return self.rng.uniform(0.5, 2.0, shape)

    def probabilities(self, *shape):
        """Positive, with the sum 1 along the last axis."""
        p = self.positive(*shape)
        return p / p.sum(axis=-1, keepdims=True)

    def transposed(self, *shape):
        """A non-contiguous view, of the standard normal distribution."""
        return self.normal(*shape[::-1]).T


def gather_cases(families, seed=0):
    """{operation: [Case, ...]} of several `families`, functions from a Draw to such a dict.

    After the cases of its family each operation gets its first one again, on views with gaps between the
    elements. Every family draws by itself, so that a new case changes none of another family.
    """
    gathered = {}
    for family in families:
        for name, own in family(Draw(seed, family.__module__)).items():
            again = own[0]._replace(name="views with gaps", inputs=tuple(map(_gaps, own[0].inputs)))
            gathered[name] = [*own, again]
    return gathered


def _gaps(array):
    """The same values as a non-contiguous view."""
    if array is None or array.ndim == 0:
        return array
    return np.repeat(array, 2, axis=-1)[..., ::2]


def check_case(function, case, seed=0):
    """Verify the backward of the Function `function` on one case; returns a Report, raises GradientError."""
    inputs = function.off_kinks(*case.inputs, **case.params)
    surrogate = None
    if function.surrogate is not None:
        surrogate = function.surrogate(*inputs, **case.params)

    def apply(*tensors):
        return function.apply(*tensors, **case.params)

    return check_gradients(apply, inputs, np.random.default_rng(seed), surrogate)


def check_all(functions, cases, only=None, seed=0, quick=False):
    """Check operations on their cases, or the one called `only`; with `quick`, on its first case alone.

    Args:
        functions: {name: Function}.
        cases: {name: [Case, ...]}, of `gather_cases`.
        seed: of the cotangents and directions.

    Returns:
        (table, failures): text with a row an operation, and the number of failed cases.

    Raises:
        InputError: there is no operation `only`.
    """
    if only is not None and only not in functions:
        raise InputError(f"no operation {only!r}; expected one of {', '.join(sorted(functions))}")
    names = sorted(functions) if only is None else [only]
    chosen = {name: cases[name][: 1 if quick else None] for name in names}
    lines = [f"{'operation':<20}{'cases':>6}  {'gradient':<10}{'worst error':>12}"]
    failures, worst = [], Report(0.0, 0.0, 0.0)
    for name in names:
        reports = []
        for case in chosen[name]:
            try:
                reports.append(check_case(functions[name], case, seed))
            except Exception as error:  # a backward may be wrong in any way; the table goes on
                failures.append(f"{name}, {case.name}: {type(error).__name__}: {error}")
        kind = "exact" if functions[name].surrogate is None else "surrogate"
        passed = len(reports) == len(chosen[name])
        largest = max(reports, default=worst)
        worst = max(worst, largest)
        shown = f"{largest.error:.1e}" if passed else "FAILED"
        lines.append(f"{name:<20}{len(chosen[name]):>6}  {kind:<10}{shown:>12}")
    total = sum(len(chosen[name]) for name in names)
    lines.append(f"{len(names)} operations, {total} cases, {len(failures)} failed")
    lines.append(f"worst relative error of those that passed: {worst.error:.1e}")
    return "\n".join(lines + failures), len(failures)
