"""Verification of a backward pass by finite differences, made so that it cannot be fooled.

Everything runs in float64. Where the Jacobian is small, all of it is compared, entry by entry; elsewhere
several random cotangents and directions are. Each difference is taken with two step sizes, which tell how
exact it is. Inputs are moved away from declared kinks first. A case whose numeric gradient is about zero
*fails as powerless*: it would pass any backward that returns zeros.

`check_gradients` checks any function of Tensors. The operations of the library come with cases to check
them on, each family's in the function `gradient_cases` at the end of its file; `check_case` checks an
operation on one, `check_all` many on all, as `bnas gradcheck` does. `functions_of` finds the Functions of a
file of one's own.
"""

import copy
import inspect
import math
import os
import runpy
import traceback
import zlib
from typing import NamedTuple

import numpy as np

from bnas.autodiff import Function, Tensor, grad, no_grad, sources
from bnas.errors import InputError

STEP = 1e-5  # of the central difference: truncation ~ 1e-10, rounding ~ 1e-11
TOLERANCE = 1e-6  # on the relative error
NOISE = 8  # times the difference between two step sizes, how far off a central difference may be
SUSPICIOUS = (
    1e-4  # share of a difference that twice the step may change before a smaller one is tried
)
DOUBTFUL = 1e-3  # the largest error, as a share of the largest entry, with which a check can tell
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


def check_gradients(function, inputs, rng=None, surrogate=None, tolerance=TOLERANCE):
    """Compare the backward of `function` with central differences.

    Every difference is taken with two step sizes. By what they differ tells how exact it is (rounding, a
    curve, a kink nearby), and no backward is blamed for that.

    Args:
        function: Tensors -> Tensor, deterministic; or a Function; or a Module, of which a copy in float64 is
            checked, for its Parameters as well as for the inputs. A Parameter whose gradient is about zero by both
            accounts passes, such as a bias that batch norm takes away. Integer inputs of a Module are passed on.
        inputs: float64 array, or a list of such arrays, away from kinks; those that are None are passed on.
        rng: numpy.random.Generator for cotangents and directions; None: always the same numbers.
        surrogate: arrays -> array, the function whose derivative the backward claims to be; `function`
            itself if None.
        tolerance: the largest relative error that passes.

    Returns:
        Report on the worst entry over all inputs.

    Raises:
        GradientError: an entry is off by more than `tolerance` relative to max(|analytic|, |numeric|,
            FLOOR · largest numeric entry), and by more than the differences are; or the check is powerless,
            some input's numeric gradient being about zero; or a gradient is not finite; or the function gives
            other values when it is called again; or the differences are too noisy to tell.
        TypeError: an input is not float64.
    """
    rng = np.random.default_rng(0) if rng is None else rng
    if isinstance(function, type) and issubclass(function, Function):
        function = function.apply
    inputs = [inputs] if isinstance(inputs, (np.ndarray, Tensor)) else list(inputs)
    inputs = [x.data if isinstance(x, Tensor) else x for x in inputs]
    names, learned = [f"input {i}" for i in range(len(inputs))], []
    is_module = hasattr(function, "named_parameters")  # Modules live on a floor above
    if is_module:
        if surrogate is not None:
            raise ValueError("check_gradients: a surrogate belongs to a function, not to a Module")
        function = copy.deepcopy(function).astype(np.float64)
        for name, parameter in function.named_parameters():
            if parameter.requires_grad:  # a frozen one has no gradient to check
                names.append(f"parameter {name}")
                learned.append(parameter)
        inputs = [None if x is None else np.asarray(x) for x in inputs]
        inputs = [
            x.astype(np.float64) if x is not None and x.dtype.kind == "f" else x for x in inputs
        ]
    for array in inputs:
        allowed = array is None or array.dtype == np.float64
        if not allowed and not (is_module and array.dtype.kind in "iub"):
            raise TypeError(f"check_gradients needs float64 inputs, got {array.dtype}")
    leaves = [_leaf(array) for array in inputs]
    output = function(*leaves)

    def apply(arrays):
        for parameter, array in zip(learned, arrays[len(inputs) :]):
            parameter.data = array
        with no_grad():
            return function(*map(_constant, arrays[: len(inputs)])).data

    values = [*inputs, *(parameter.data for parameter in learned)]
    if not np.array_equal(apply(values), output.data, equal_nan=True):
        raise GradientError(
            "not deterministic: called twice with the same inputs, the function gives two results; switch "
            "dropout off with eval(), or draw its random numbers beforehand"
        )
    evaluate = apply if surrogate is None else lambda arrays: surrogate(*arrays)
    worst, made_from = Report(0.0, 0.0, 0.0), sources(output.node or output)
    operations = {s.function for s in made_from if not isinstance(s, Tensor)}
    steps = sorted(f.__name__ for f in operations if f.surrogate is not None)
    for position, leaf in enumerate([*leaves, *learned]):
        if isinstance(leaf, Tensor):
            compare = _whole_jacobian if leaf.size * output.size <= SMALL_JACOBIAN else _projections
            source = leaf if leaf in made_from else None
            compared = compare(evaluate, output, source, values, position, rng)
            report = _worst_entry(
                *compared, names[position], tolerance, steps, position >= len(inputs)
            )
            worst = max(worst, report, key=lambda r: r.error)
    return worst


def _constant(array):
    """An input as the function takes it: floats as a Tensor, labels and None as they are."""
    return Tensor(array) if array is not None and array.dtype == np.float64 else array


def _leaf(array):
    leaf = _constant(array)
    if isinstance(leaf, Tensor):
        leaf.requires_grad = True
    return leaf


def _whole_jacobian(evaluate, output, leaf, inputs, position, rng):
    """Both Jacobians, (outputs, inputs), each output mixed with the others by a random rotation.

    The rotation costs no information, and a backward that is right for unit cotangents alone is caught.
    The scale does the same for a scalar output, whose only rotations are ±1.

    Returns (analytic, numeric, noise of the numeric one).
    """
    mix, _ = np.linalg.qr(rng.standard_normal((output.size, output.size)))
    mix *= -rng.uniform(1.5, 2.0)
    shape = inputs[position].shape
    analytic = [_gradient(output, leaf, row.reshape(output.shape), shape).ravel() for row in mix]
    unit = np.eye(math.prod(shape)).reshape(-1, *shape)
    pairs = [_slope(evaluate, inputs, position, d) for d in unit]
    numeric, noise = (np.array([mix @ slope.ravel() for slope in part]).T for part in zip(*pairs))
    return np.array(analytic), numeric, np.abs(noise)


def _projections(evaluate, output, leaf, inputs, position, rng):
    """⟨cotangent, J direction⟩ for random cotangents and directions, (DIRECTIONS, DIRECTIONS).

    Returns (analytic, numeric, noise of the numeric one).
    """
    cotangents = rng.standard_normal((DIRECTIONS, *output.shape))
    shape = inputs[position].shape
    directions = rng.standard_normal((DIRECTIONS, *shape))
    rows = [_gradient(output, leaf, c, shape) for c in cotangents]
    analytic = np.array([[np.vdot(row, d) for d in directions] for row in rows])
    pairs = [_slope(evaluate, inputs, position, d) for d in directions]
    numeric, noise = (
        np.array([[np.vdot(c, slope) for slope in part] for c in cotangents])
        for part in zip(*pairs)
    )
    return analytic, numeric, np.abs(noise)


def _gradient(output, leaf, cotangent, shape):
    """What the backward gives for `leaf`; zeros of `shape` if it is None, without influence on the output."""
    if leaf is None:
        return np.zeros(shape)
    return grad(output, [leaf], cotangent, retain_graph=True)[0]


def _slope(evaluate, inputs, position, direction):
    """(central difference of the output along `direction` in one input, how it changes with twice the step).

    Where the two differ by more than rounding makes them, near a kink for instance, a tenth of the step is tried
    as well.
    """

    def difference(step):
        ahead, behind = list(inputs), list(inputs)
        ahead[position] = inputs[position] + step * direction
        behind[position] = inputs[position] - step * direction
        return (evaluate(ahead) - evaluate(behind)) / (2 * step)

    def pair(step):
        slope = difference(step)
        return slope, difference(2 * step) - slope

    slope, change = pair(STEP)
    if np.abs(change).max(initial=0.0) > SUSPICIOUS * np.abs(slope).max(initial=0.0):
        nearer = pair(STEP / 10)
        if np.abs(nearer[1]).max() < np.abs(change).max():
            return nearer
    return slope, change


def _worst_entry(analytic, numeric, noise, name, tolerance, steps, may_vanish):
    """The Report on one input. may_vanish: whether its gradient may be zero, by both accounts."""
    if not (np.isfinite(analytic).all() and np.isfinite(numeric).all()):
        raise GradientError(f"{name}: a gradient is NaN or infinite")
    largest = np.abs(numeric).max(initial=0.0)
    claimed = np.abs(analytic).max(initial=0.0)
    if largest < POWERLESS:
        if may_vanish and claimed < POWERLESS:
            return Report(0.0, 0.0, 0.0)
        advice = "Choose another case"
        if steps:
            advice = (
                f"{', '.join(steps)} has a slope of 0 almost everywhere, and its backward is that of another "
                "function: give that one as surrogate="
            )
        raise GradientError(
            f"{name}: powerless, the numeric gradient is at most {largest:.1e}; a backward "
            f"that returns zeros would pass. {advice}"
        )
    allowed = NOISE * np.maximum(noise, np.median(noise))
    scale = np.maximum(np.maximum(np.abs(analytic), np.abs(numeric)), FLOOR * largest)
    errors = np.abs(analytic - numeric) / scale
    wrong = np.abs(analytic - numeric) > tolerance * scale + allowed
    at = np.unravel_index(
        np.where(wrong, errors, -1 if wrong.any() else errors).argmax(), errors.shape
    )
    report = Report(*(float(array[at]) for array in (errors, analytic, numeric)))
    if wrong.any():
        raise GradientError(
            f"{name}: relative error {report.error:.2e} > {tolerance:.0e}; worst entry: "
            f"analytic {report.analytic:.10g}, numeric {report.numeric:.10g}"
        )
    if allowed.max() > max(DOUBTFUL, tolerance) * largest:
        raise GradientError(
            f"{name}: the check cannot tell, the finite differences are off by up to {allowed.max():.1e} where "
            f"the largest gradient is {largest:.1e}; there may be a kink, such as that of ReLU, too near"
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


def functions_of(path, seed=0):
    """({name: Function}, {name: [Case, ...]}) of the Functions that a Python file defines; the file is run.

    The cases are those that the file's own gradient_cases(draw) gives, as in the files of bnas.functional.
    It returns {"Name": [Case("what is special", (array, ...), {"parameter": value}), ...]}, Case being
    bnas.gradcheck.Case, and draw.normal(3, 4) an array. A Function that it does not name is tried on random
    arrays (3, 4), one for each argument of its forward that has no default.

    Raises:
        InputError: the file cannot be read or run, or defines no Function.
    """
    if not os.path.isfile(path):
        raise InputError(f"{path} is no file; name a Python file that defines Functions")
    try:
        names = runpy.run_path(str(path), run_name="checked")
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        line = max((f.lineno for f in frames if f.filename == str(path)), default=None)
        if isinstance(error, SyntaxError) and error.filename == str(path):
            line = error.lineno
        where = f"{path}, line {line}" if line else f"{path}"
        raise InputError(f"{where}: {type(error).__name__}: {error}") from error
    functions = {
        name: f
        for name, f in names.items()
        if isinstance(f, type) and issubclass(f, Function) and f.__module__ == "checked"
    }
    if not functions:
        raise InputError(
            f"{path} defines no Function; derive a class from bnas.Function, with a forward and a backward"
        )
    own = names.get("gradient_cases")
    try:
        cases = gather_cases([own], seed) if own else {}
    except Exception as error:
        raise InputError(
            f"{path}: gradient_cases(draw) must return {{name: [Case, ...]}} with a Case or more for each "
            f"Function that it names ({type(error).__name__}: {error})"
        ) from error
    unknown = [name for name in cases if name not in functions]
    if unknown:
        raise InputError(
            f"{path}: gradient_cases(draw) names {unknown[0]!r}, and the Functions of the file are called "
            f"{', '.join(map(repr, functions))}"
        )
    guessed = {name: [_guess(f, seed)] for name, f in functions.items() if name not in cases}
    return functions, {name: cases.get(name) or guessed[name] for name in functions}


def _guess(function, seed):
    """A Case with a random array for each argument of the forward that needs to be given."""
    _, *arguments = inspect.signature(function.forward).parameters.values()
    by_position = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [a for a in arguments if a.kind in by_position and a.default is a.empty]
    draw = Draw(seed, function.__name__)
    return Case("random arrays (3, 4)", tuple(draw.normal(3, 4) for _ in needed))


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
        (table, failures): text with a row an operation, and the number of failed cases. `only` is
        read without regard to case.

    Raises:
        InputError: there is no operation `only`.
    """
    names = sorted(functions)
    if only is not None:
        names = [name for name in names if name.lower() == only.lower()]
        if not names:
            raise InputError(
                f"no operation {only!r}; expected one of {', '.join(sorted(functions))}"
            )
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
