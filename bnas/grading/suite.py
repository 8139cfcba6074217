"""What tests of an assignment are written with: tasks, tests, and comparisons that say what is wrong.

A file of tests has a list TASKS and functions marked with `test` or `race`. It calls the submission's
functions as attributes of `student`, and compares what comes back:

    TASKS = [Task("double", "Twice a number", points=10)]

    @test("double")
    def small_arrays(student, rng):
        \"\"\"Arrays of up to nine numbers.\"\"\"
        for size in range(10):
            x = rng.standard_normal(size)
            close(student.double(x), x + x, causes={"it is the input": x})

Let a test begin with the smallest inputs: the first that fails is told to the student.
"""

from dataclasses import dataclass

import numpy as np

SHOWN = 24  # entries of an array that is shown whole
UNSIGNED = "unsigned integers have no negative numbers: change the type before you subtract"
BYTES = "a count in uint8 has run over: sum with dtype=np.int64, and subtract only then"


@dataclass(frozen=True)
class Task:
    """A part of an assignment: its name in marks of tests, its title for people, its points."""

    name: str
    title: str
    points: int


class Failure(Exception):
    """A test has failed; the text tells a student what is wrong."""


@dataclass(frozen=True)
class Race:
    """What a race compares: a function of the submission, and a list of arguments for each run of it."""

    function: str
    inputs: list


def test(task):
    """Mark a function as a test of the task of that name.

    It is called as function(student, rng), and function(student, rng, reference) if it has a third parameter.
    The first line of its docstring says what it tests. It raises Failure, as `equal` and `close` do.
    """

    def mark(function):
        function.task, function.is_race = task, False
        return function

    return mark


def race(task):
    """Mark a function of (rng) that returns a Race.

    Results have to be equal to the reference's. The time is compared with that of the reference in the same
    run: see bnas.grading.grade.share_for_speed.
    """

    def mark(function):
        function.task, function.is_race = task, True
        return function

    return mark


def equal(got, expected, causes=None, kind=None):
    """Raise Failure unless every entry is exactly as expected; integers of any size and booleans.

    causes: {likely cause: what a submission with that fault returns}, values or functions without arguments;
        they may have another shape.
    kind: the kinds of dtype that are right, such as "iu"; those of the expected array if None.
    """
    _compare(got, expected, causes, kind, lambda a, b: a == b)


def close(got, expected, causes=None, tolerance=1e-9, kind="f"):
    """Raise Failure unless every entry is as expected within `tolerance` times the largest expected one."""

    def alike(a, b):
        return np.abs(a - b) <= tolerance * np.abs(b).max(initial=1e-300)

    _compare(got, expected, causes, kind, alike)


@np.errstate(all="ignore")  # whatever numbers come back
def _compare(got, expected, causes, kind, alike):
    expected = np.asarray(expected)
    kind = kind or {"i": "iu", "u": "iu"}.get(expected.dtype.kind, expected.dtype.kind)
    if isinstance(got, bool | int | float):
        got = np.asarray(got)
    if not isinstance(got, np.ndarray):
        raise Failure(f"got {shown(got)}, expected an array of shape {expected.shape}")
    if got.shape != expected.shape:
        cause = _known_cause(got, causes or {}, alike)
        raise Failure(
            f"got the shape {got.shape}, expected {expected.shape}"
            + (f"\nlikely cause: {cause}" if cause else "")
        )
    if got.dtype.kind not in kind:
        names = {"iu": "integers", "i": "signed integers", "u": "unsigned integers"}
        names |= {"f": "floats", "b": "booleans"}
        cause = UNSIGNED if got.dtype.kind == "u" else ""
        if got.dtype == np.float64 and kind[0] in "iu":
            cause = "NumPy makes float64 of int64 with uint64, and of np.zeros without a dtype"
        raise Failure(
            f"got entries of {got.dtype}, expected {names.get(kind, kind)}"
            + (f"\nlikely cause: {cause}" if cause else "")
        )
    right = _matches(got, expected, alike)
    if right.all():
        return
    lines = [] if got.size > SHOWN else _both(got, expected)
    if got.ndim:
        lines.append(_worst(got, expected, right))
    cause = _cause(got, expected, right, causes or {}, alike)
    raise Failure("\n".join(lines + ([f"likely cause: {cause}"] if cause else [])))


def _matches(got, expected, alike):
    return np.asarray(alike(got, expected), bool)  # NaN is like nothing


def _both(got, expected):
    """Both arrays as lines of text, with all digits if fewer do not tell them apart."""
    for digits in (6, 17):
        texts = [shown(array, digits=digits) for array in (got, expected)]
        if texts[0] != texts[1]:
            break
    return [f"got      {texts[0]}", f"expected {texts[1]}"]


def _worst(got, expected, right):
    off = np.abs(got.astype(np.float64) - expected.astype(np.float64))
    off = np.where(right, -1.0, np.where(np.isnan(off), np.inf, off))
    at = np.unravel_index(off.argmax(), off.shape)
    place = ", ".join(map(str, at))
    count = f"{np.count_nonzero(~right)} of {right.size} entries are wrong"
    text = f"{count}, the worst is [{place}]: got {got[at]}, expected {expected[at]}"
    return text + ("\nsome entries are not a number (NaN)" if np.isnan(got).any() else "")


def _known_cause(got, causes, alike):
    """The first cause that explains every entry, or None."""
    for text, value in causes.items():
        value = np.asarray(value() if callable(value) else value)
        if value.shape == got.shape and _matches(got, value, alike).all():
            return text
    return None


def _cause(got, expected, right, causes, alike):
    """The first cause that explains every entry, or what can be seen without knowing the task."""
    known = _known_cause(got, causes, alike)
    if known is not None:
        return known
    if got.dtype.kind != "b":
        if got.ndim and not got.any():
            return "all entries are 0"
        if got.dtype.kind == "u" and expected.dtype.kind == "i":
            off = ~right
            if (expected[off] < 0).all() and (expected.astype(got.dtype) == got).all():
                return UNSIGNED
        if got.size > 1 and _matches(got, -expected.astype(np.float64), alike).all():
            return "the sign is wrong everywhere"
        if got.ndim >= 2 and got.shape[-1] == got.shape[-2]:
            if _matches(got, np.swapaxes(expected, -1, -2), alike).all():
                return "the last two axes are transposed"
        digits = _digits(got, expected)
        if digits is not None:
            return f"right to {digits} digits only: float32 on the way, or an approximation"
        factor = _factor(got, expected)
        if factor is not None and _matches(got / factor, expected, alike).all():
            return f"every entry is {factor:.6g} times what it should be"
        if got.dtype.kind in "iu" and expected.dtype.kind in "iu":
            if ((got.astype(np.int64) - expected.astype(np.int64)) % 256 == 0).all():
                return BYTES
    if not right.any():
        return None
    inner = right[..., 1:-1, 1:-1] if got.ndim >= 4 else np.zeros(0)  # images alone have a border
    if inner.size and inner.all():
        return "only entries at the border are wrong"
    return None


def _digits(got, expected):
    """To how many digits of the largest expected entry all entries are right, if to 4 or more; else None."""
    off = np.abs(got.astype(np.float64) - expected).max(initial=0.0)
    share = off / np.abs(expected.astype(np.float64)).max(initial=0.0)
    return int(-np.log10(share)) if got.dtype.kind == "f" and 0 < share < 1e-4 else None


def _factor(got, expected):
    """By what one number the entries differ, judged by the largest expected one; None if by none."""
    flat, wanted = got.ravel().astype(np.float64), expected.ravel().astype(np.float64)
    if flat.size < 2:
        return None
    at = np.abs(wanted).argmax()
    if wanted[at] == 0 or flat[at] == 0 or not np.isfinite(flat[at]):
        return None
    return flat[at] / wanted[at]


def shown(value, deep=3, digits=6):
    """A value as text of one line or two; large arrays by type and shape, lists to so many levels."""
    if isinstance(value, np.number | np.bool_):
        value = np.asarray(value)
    if isinstance(value, np.ndarray):
        if value.ndim == 0:
            return f"{value[()]}"
        if value.size <= SHOWN:
            floats = value[value != 0] if value.dtype.kind == "f" else np.zeros(0)
            small = np.abs(floats).min(initial=np.inf) >= 1e-4  # if so, suppressing loses none
            text = np.array2string(
                value, precision=digits, separator=", ", max_line_width=100, suppress_small=small
            )
            return text if value.ndim < 3 else " ".join(text.split()).replace("[ ", "[")
        return f"{value.dtype} array of shape {value.shape}"
    if isinstance(value, list | tuple) and deep:
        parts = [shown(part, deep - 1, digits) for part in value[:SHOWN]]
        parts = ", ".join(parts + ["..."] * (len(value) > SHOWN))
        if isinstance(value, list):
            return _cut(f"[{parts}]", 400)
        return _cut(f"({parts}{',' if len(value) == 1 else ''})", 400)
    if callable(value):
        return getattr(value, "__name__", "a function")
    return _cut(repr(value), 200)


def _cut(text, most):
    return text if len(text) <= most else text[:most] + "..."
