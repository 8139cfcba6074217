"""Checks of the exercises: `check` tells a student whether an answer is right, and what is wrong with it."""

import functools
import inspect
import traceback

import numpy as np


class _Nothing(Exception):
    """The answer is a function that returned nothing: the stub, or one without `return`."""


def _stub(): ...


def _described():
    """Its docstring alone."""


def _described_stub():
    """Its docstring, and nothing else."""
    ...


_STUBS = {stub.__code__.co_code for stub in (_stub, _described, _described_stub)}


def check(number, answer, examine):
    """Print what `examine` finds out about the answer to an exercise.

    Args:
        number: of the exercise.
        answer: the student's. None, ... and a function without a body are not answered yet.
        examine: called with the answer; returns None if it is right, else a text that says what is wrong.
    """
    print(f"Exercise {number}: {_verdict(answer, examine)}")


def difference(got, expected, tolerance=1e-9):
    """None if an array is as expected in every entry, else a text that says where it is not.

    tolerance: relative to the entry, and to the largest one.
    """
    got, expected = np.asarray(got), np.asarray(expected)
    if got.dtype.kind not in "biufc":
        return f"a number or an array of numbers was expected, not {got.dtype}"
    if got.shape != expected.shape:
        return f"the shape is {got.shape}, expected {expected.shape}"
    allowed = tolerance * (np.abs(expected) + np.abs(expected).max(initial=0.0))
    wrong = ~(np.abs(got - expected) <= allowed)  # NaN is wrong
    if not wrong.any():
        return None
    at = tuple(int(index) for index in np.argwhere(wrong)[0])
    where = f"entry {at} is" if at else "it is"
    digits = next((d for d in (6, 9, 12) if f"{got[at]:.{d}g}" != f"{expected[at]:.{d}g}"), 17)
    text = f"{where} {got[at]:.{digits}g}, expected {expected[at] + 0:.{digits}g}"  # + 0: no -0
    return text + (f" ({wrong.sum()} of {wrong.size} entries are wrong)" if at else "")


def _verdict(answer, examine):
    if answer is None or answer is Ellipsis:
        return "not answered yet."
    try:
        fault = examine(_watched(answer) if inspect.isfunction(answer) else answer)
    except _Nothing:
        if answer.__code__.co_code in _STUBS:
            return "not answered yet."
        return "not yet: your function returned nothing; is a `return` missing?"
    except Exception as error:  # a student's code may fail in any way, and is to be told
        return f"not yet: {_place(answer, error)} {type(error).__name__}: {error}"
    return "right." if fault is None else f"not yet: {fault}"


def _watched(function):
    """The student's function; it raises where it returns nothing."""

    @functools.wraps(function)
    def call(*arguments, **named):
        result = function(*arguments, **named)
        if result is None:
            raise _Nothing
        return result

    return call


def _place(answer, error):
    """Where the error came from: a line of the student's function, or what the check did with the answer."""
    code = getattr(answer, "__code__", None)
    for frame, line in traceback.walk_tb(error.__traceback__):
        if frame.f_code is code:
            return f"line {line - code.co_firstlineno + 1} of your function raised"
    return "with your answer the check raised"
