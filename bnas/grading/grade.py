"""Grade a submission: run its tests one after another, each task in a process of its own."""

import functools
import hashlib
import inspect
import tempfile
from pathlib import Path

import numpy as np

from bnas.errors import InputError
from bnas.grading.assignment import FORBIDDEN, forbidden_imports
from bnas.grading.process import Process, Raised, Stopped
from bnas.grading.report import GradingReport, Outcome, TaskResult
from bnas.grading.suite import Failure, equal, shown

DEFAULT_SECRET = "bnas"
LARGEST_FILE = 1 << 20  # bytes of a submission
FULL, NONE = 1.2, 10.0  # times the reference's time: full marks within, none from there on
ROUNDS = 4


class Student:
    """The submission, as tests see it: `student.function(arguments)` runs in its process.

    Raises Failure if the function changed an argument or returned a view of one.
    """

    def __init__(self, process):
        self._process, self._last = process, None

    def __getattr__(self, name):
        return functools.partial(self._call, name)

    def _call(self, name, *arguments):
        self._last = name, arguments
        result, changed, views = self._process.call(name, *arguments)
        for numbers, fault in (
            (changed, "changed its {} argument; work on a copy"),
            (views, "returned a view of its {} argument: who changes one changes the other"),
        ):
            if numbers:
                raise Failure(f"{name} " + fault.format(_ordinal(numbers[0])))
        return result


def _ordinal(number):
    words = ("first", "second", "third", "fourth", "fifth", "sixth")
    return words[number] if number < len(words) else f"{number + 1}th"


def grade(assignment, path, secret=DEFAULT_SECRET):
    """Grade the submission in a file; a Report.

    secret: from it and from the names of assignment and test come the random inputs of the tests.
    Raises InputError if the file cannot be read.
    """
    path = Path(path)
    try:
        text = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; expected a Python file") from None
    refusal = _refusal(text)
    # The copy that is graded cannot be exchanged while it is.
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "submission.py"
        copy.write_bytes(text)
        results, in_force = [], []
        for task in assignment.tasks:
            result = TaskResult(task.name, task.title, task.points)
            results.append(result)
            if refusal is not None:
                result.fault = refusal
            else:
                in_force = _grade_task(assignment, result, copy, secret) or in_force
    return GradingReport(
        assignment.name, assignment.title, results, assignment.has_hidden, in_force
    )


def _refusal(text):
    """Why a submission is not even run, or None."""
    if len(text) > LARGEST_FILE:
        return f"the file has {len(text)} bytes; at most {LARGEST_FILE} are read"
    try:
        return forbidden_imports(text.decode("utf-8"))
    except UnicodeDecodeError as error:
        return f"the file is not UTF-8: {error}"


def _grade_task(assignment, result, path, secret):
    """Fill in the result of one task; what confines the process, or None if it never came up."""
    tests = [(test, hidden) for test, hidden in assignment.tests if test.task == result.name]
    in_force = None
    try:
        with Process(path, FORBIDDEN) as process:
            in_force = process.in_force
            for test, hidden in tests:
                outcome = Outcome(test.__name__, _description(test), hidden)
                result.tests.append(outcome)
                rng = np.random.default_rng(_seed(secret, assignment.name, test.__name__))
                if test.is_race:
                    _run_race(assignment, result, outcome, test, rng, process)
                else:
                    _run_test(assignment, outcome, test, process, rng)
    except Stopped as stopped:
        result.fault = f"the process {stopped}"
    except Raised as raised:  # while it was imported
        result.fault = f"the file could not be imported: {_told(raised)}"
    return in_force


def _seed(*parts):
    digest = hashlib.sha256("\n".join(parts).encode()).digest()
    return list(digest)


def _description(test):
    return inspect.cleandoc(test.__doc__ or test.__name__).splitlines()[0]


def _run_test(assignment, outcome, test, process, rng):
    student = Student(process)
    arguments = [student, rng]
    if len(inspect.signature(test).parameters) > 2:
        arguments.append(assignment.reference)
    try:
        test(*arguments)
    except Failure as failure:
        outcome.message = _with_call(student, str(failure))
    except Raised as raised:
        outcome.message = _with_call(student, _told(raised))
    except Stopped as stopped:
        outcome.message = _with_call(student, f"the process {stopped}")
        raise
    except Exception as error:  # the test took the result for what it is not
        text = f"the result cannot be examined ({type(error).__name__}: {error}); is it what the docstring says?"
        outcome.message = _with_call(student, text)
    else:
        outcome.share = 1.0


def _with_call(student, text):
    if student._last is None:
        return text
    name, arguments = student._last
    return f"{name}({', '.join(shown(value) for value in arguments)})\n{text}"


def _told(raised):
    if raised.kind == "NotImplementedError":
        return f"not written yet (line {raised.line})"
    where = f"line {raised.line} of your file raised " if raised.line else "raised "
    return f"{where}{raised.kind}: {raised.text}"


def _run_race(assignment, result, outcome, test, rng, process):
    """Time the submission against the reference, both warmed up, in turns; only if all else is right.

    The shortest time of each counts, as whatever else the machine does only adds to it; and who seems too slow is
    timed again, on new inputs, up to ROUNDS times.
    """
    if any(other.share < 1 for other in result.tests[:-1]):
        outcome.message = "not timed: the results have to be right first"
        return
    if assignment.reference is None:
        raise InputError(f"{assignment.name}: a race needs the instructor's reference")
    times = [], []
    with Process(assignment.reference_path) as reference:
        try:
            for _ in range(ROUNDS):
                _run_round(test(rng), process, reference, times)
                ratio = min(times[0]) / min(times[1])
                if ratio <= FULL:
                    break
        except Failure as failure:
            outcome.message = str(failure)
            return
        except Raised as raised:
            outcome.message = _told(raised)
            return
    outcome.share = share_for_speed(ratio)
    outcome.message = f"{ratio:.2g} times the reference's time" + (
        "" if outcome.share == 1 else f"; full points within {FULL} times, none from {NONE:.0f} on"
    )


def _run_round(race, process, reference, times):
    """Time both for each of a race's inputs, in turns; the first run of a round, which may compile, is left out.

    Raises Failure if a result is not the reference's.
    """
    for i, arguments in enumerate(race.inputs):
        for who, seconds in zip((process, reference), times):
            who.hold(str(i), *arguments)
            taken = who.run(str(i), race.function, seconds=60)
            if i:
                seconds.append(taken)
        equal(process.result(str(i)), reference.result(str(i)))


def share_for_speed(ratio):
    """The share of the points, 0 to 1, for a time of `ratio` times the reference's.

    All within 1.2 times, none from 10 times on, between them 1/ratio: of 7 points 7 · T_ref / T.
    """
    if ratio <= FULL:
        return 1.0
    return 0.0 if ratio >= NONE else 1 / ratio
