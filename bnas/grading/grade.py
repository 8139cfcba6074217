"""Grade a submission: run its tests one after another, each task in a process of its own."""

import contextlib
import functools
import hashlib
import inspect
import os
import stat
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

try:
    import resource
except ImportError:  # Windows
    resource = None

from bnas.errors import InputError
from bnas.grading import confine, imports
from bnas.grading.process import Limits, Process, Raised, Stopped, legible
from bnas.grading.report import GradingReport, Outcome, TaskResult
from bnas.grading.suite import Failure, equal, shown

SECRET_VARIABLE, DEFAULT_SECRET = "BNAS_GRADING_SECRET", "bnas"
LARGEST_FILE = 1 << 18  # bytes of a submission
LONGEST_MESSAGE = 4000  # characters, of a test
MEMORY = 1 << 30  # bytes that the grader itself takes for a submission
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


@contextlib.contextmanager
def bounded_memory(submissions=1):
    """Within, this process gets at most MEMORY bytes more for each submission that is graded at a time.

    A submission may call a function of a test with arrays that broadcast to any size; the MemoryError is then its
    own. Nothing is bounded where the system does not tell the size of a process (macOS).
    """
    status = Path("/proc/self/statm")
    if resource is None or not status.exists():
        yield
        return
    size = int(status.read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    bounds = [bound for bound in before if bound != resource.RLIM_INFINITY]
    most = min([size + submissions * MEMORY, *bounds])
    resource.setrlimit(resource.RLIMIT_AS, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def grade(assignment, path, secret=DEFAULT_SECRET, limits=Limits()):
    """Grade the submission in a file; a GradingReport.

    secret: from it and from the names of assignment and test come the random inputs of the tests.
    limits: of each process of the submission.
    Raises InputError if the file cannot be read, or no submission can be run here.
    """
    if sys.platform == "win32":
        raise InputError("grading needs Linux or macOS; on Windows use WSL or a container")
    text, refusal = _content(Path(path))
    refusal = refusal or imports.refusal(text)
    # The copy that is graded cannot be exchanged while it is.
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "submission.py"
        copy.write_bytes(text)
        results, in_force = [], None
        for task in assignment.tasks:
            result = TaskResult(task.name, task.title, task.points)
            results.append(result)
            if refusal is not None:
                result.fault = legible(refusal, LONGEST_MESSAGE)
            else:
                in_force = _grade_task(assignment, result, copy, secret, limits)
    return GradingReport(
        assignment.name, assignment.title, results, assignment.has_hidden, in_force
    )


def _content(path):
    """(bytes of the file, why it is not even run or None).

    Only what is a file itself is read: a link may lead to the reference, a pipe may never end.
    """
    try:
        kind = path.lstat().st_mode
        if stat.S_ISLNK(kind):
            return b"", "it is a symbolic link; expected a file"
        if not stat.S_ISREG(kind):
            return b"", "it is a folder or a device; expected a file"
        with open(path, "rb") as file:
            text = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; expected a Python file") from None
    if len(text) > LARGEST_FILE:
        return b"", f"the file has {os.path.getsize(path)} bytes; at most {LARGEST_FILE} are read"
    return text, None


def _grade_task(assignment, result, path, secret, limits):
    """Fill in the result of one task; what confined the process, a list of texts."""
    tests = [(test, hidden) for test, hidden in assignment.tests if test.task == result.name]
    with Process(path, limits) as process:
        try:
            process.load(imports.FORBIDDEN)
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
        except Raised as raised:  # by `load`
            result.fault = f"the file could not be imported: {_told(raised)}"
    return process.in_force


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
    except InputError:
        raise
    except Exception as error:  # the test took the result for what it is not
        text = f"{type(error).__name__}: {error}"
        text = f"the result cannot be examined ({text}); is it what the docstring says?"
        outcome.message = _with_call(student, text)
    else:
        outcome.share = 1.0


def _with_call(student, text):
    """What a test says, printable whatever the submission returned, behind the call that it is about."""
    text = legible(text, LONGEST_MESSAGE)
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
    if not assignment.has_hidden:
        outcome.share, outcome.message = 1.0, "not timed: --public does not measure the time"
        return
    if assignment.reference is None:
        raise InputError(f"{assignment.name}: a race needs the instructor's reference")
    user = confine.NOBODY - 1  # what it holds is not for the submission
    rounds = []
    with Process(assignment.reference_path, user=user) as reference:
        with _blaming_the_reference(assignment):
            reference.load()
        try:
            for _ in range(ROUNDS):
                rounds += _round(assignment, test(rng), process, reference)
                ratio = _ratio(rounds)
                if ratio <= FULL:
                    break
        except Failure as failure:
            outcome.message = str(failure)[:LONGEST_MESSAGE]
            return
        except Raised as raised:
            outcome.message = _told(raised)
            return
    outcome.share = share_for_speed(ratio)
    outcome.message = f"{ratio:.2g} times the reference's time" + (
        "" if outcome.share == 1 else f"; full points within {FULL} times, none from {NONE:.0f} on"
    )


def _round(assignment, race, process, reference):
    """[(seconds of the call, around it, of the reference's call, around that)] for a race's inputs, in turns.

    The first, in which Numba may compile, is left out. Raises Failure if a result is not the reference's.
    """
    times = []
    for i, arguments in enumerate(race.inputs):
        got, *own = _timed(process, str(i), race.function, arguments)
        with _blaming_the_reference(assignment):
            expected, *others = _timed(reference, str(i), race.function, arguments)
        equal(got, expected)
        times.append((*own, *others))
    return times[1:]


@contextlib.contextmanager
def _blaming_the_reference(assignment):
    """What goes wrong within is no fault of the submission."""
    try:
        yield
    except (Stopped, Raised) as fault:
        raise InputError(f"{assignment.name}: the reference failed: {fault}") from None


def _ratio(rounds):
    """How many times the reference's time a submission takes, by the shortest run of each.

    What it does while it takes arguments or gives results away counts, if it is more than that takes: within
    the same run, as it could work outside the call in one run and in the call in the next.
    """
    *_, their_runs, around_theirs = zip(*rounds)
    usual = FULL * np.median(around_theirs)
    own = min(run + max(0.0, around - usual) for run, around, *_ in rounds)
    return float(own / min(their_runs))


def _timed(process, key, function, arguments):
    """(result, seconds of the call, seconds before and after it), without a pause that it could use."""
    times = [time.perf_counter()]
    process.hold(key, *arguments)
    times.append(time.perf_counter())
    process.run(key, function)
    times.append(time.perf_counter())
    result = process.result(key)
    times.append(time.perf_counter())
    return result, times[2] - times[1], times[3] - times[2] + times[1] - times[0]


def share_for_speed(ratio):
    """The share of the points, 0 to 1, for a time of `ratio` times the reference's.

    All within 1.2 times, none from 10 times on, between them 1/ratio: of 7 points 7 · T_ref / T.
    """
    if ratio <= FULL:
        return 1.0
    return 0.0 if ratio >= NONE else 1 / ratio
