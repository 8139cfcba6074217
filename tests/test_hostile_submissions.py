"""Submissions that attack their grader: each earns nothing, says why, and leaves nothing behind.

What they attack is task 3 of assignment 1, `dot`, with a public and a hidden test of it.
"""

import json
import os
import resource
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from helpers.processes import run_python

from bnas.errors import InputError
from bnas.grading import Assignment, confine, find, grade, process
from bnas.grading.confine import MEASURES
from bnas.grading.grade import bounded_memory
from bnas.grading.process import LARGEST_OUTPUT, Limits

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="confined on Linux alone")
NO_ANSWER = "the process sent what is no answer"
LIMITS = Limits(memory=1 << 30, call=5)
BRIEF = Limits(memory=1 << 30, call=0.5)
# What a submission begins with that wants more than it may import.
TOOLS = """
import numpy as np
os, sys, json, time = (__import__(name) for name in ("os", "sys", "json", "time"))
settings = json.loads(sys.argv[1])
wire = sys.modules["wire"]

def forge(value):
    os.write(settings["replies"], wire.encode(value))
"""


def assignment(task="dot", tests=("four_signs", "tails")):
    """Assignment 1, with a task and some of its tests alone."""
    found = Assignment(find("1"))
    found.tasks = [part for part in found.tasks if part.name == task]
    found.tests = [(test, hidden) for test, hidden in found.tests if test.__name__ in tests]
    assert len(found.tests) == len(tests)
    return found


ASSIGNMENT = assignment()


@pytest.fixture
def place(monkeypatch):
    """A folder that anyone may write into; what the grader makes for itself lies there too."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


def processes_in(folder):
    """Numbers of the processes that work in a folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cwd"):
        try:
            inside = os.readlink(entry).startswith(str(folder))
        except OSError:  # it has ended, or is another user's
            continue
        found += [entry.parent.name] * inside
    return found


def attacked(place, text, limits=LIMITS, on=ASSIGNMENT):
    """The report on a hostile submission, which has left neither a process nor a file."""
    path = place / "hostile.py"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    report = grade(on, path, limits=limits)
    assert processes_in(place) == []
    assert [entry.name for entry in place.iterdir()] == ["hostile.py"]
    return report


def require_nothing(report, told):
    """No points, and a reason that is short and holds nothing that a terminal obeys."""
    text = str(report)
    assert report.earned == 0, text
    assert told in text, text
    assert len(text) < 20_000 and "\x1b" not in text
    assert text.encode()


def function(body):
    lines = "\n".join("    " + line for line in body.strip().splitlines())
    return f"{TOOLS}\ndef dot(a, b, n):\n{lines}\n"


def test_the_reference_earns_all_points_under_the_same_limits(place):
    text = ASSIGNMENT.reference_path.read_text(encoding="utf-8")
    report = attacked(place, text)
    assert report.earned == report.points and report.not_in_force == []


# {name: (body of dot, what is told)}
ENDINGS = {
    "os._exit": ("os._exit(0)", "ended by itself, with exit status 0"),
    "sys.exit": ("sys.exit()", "ended by itself, with exit status 0"),
    "KeyboardInterrupt": ("raise KeyboardInterrupt", "ended by the system (SIGINT)"),
    "segmentation fault": ("__import__('ctypes').string_at(0)", "ended by the system (SIGSEGV)"),
    "abort": ("os.abort()", "ended by the system (SIGABRT)"),
    "signal without a name": ("os.kill(os.getpid(), 40)", "ended by the system (signal 40)"),
    "closed pipes": ("os.closerange(0, 64)\ntime.sleep(60)", "closed its pipe"),
    "closed pipes and back": ("os.closerange(0, 64)", "ended by itself, with exit status 1"),
    "another program": ("os.execv('/bin/sh', ['sh'])", "PermissionError"),
    "deep recursion": ("return dot(a, b, n)", "RecursionError"),
}
RESOURCES = {
    "memory": ("return np.ones(20 << 27)", "MemoryError"),
    "memory in small pieces": ("return [bytearray(64 << 20) for _ in range(400)]", "MemoryError"),
    "forks": (
        "for _ in range(40):\n    if os.fork() == 0:\n        time.sleep(60)\n        os._exit(0)",
        "BlockingIOError",
    ),
    "a background process": (
        "__import__('subprocess').Popen([sys.executable, '-c', 'import time; time.sleep(60)'],\n"
        "    start_new_session=True)",
        "BlockingIOError",
    ),
    "a thread": (
        "__import__('threading').Thread(target=time.sleep, args=(60,), daemon=True).start()",
        "can't start new thread",
    ),
    "many open files": ("return [open('/dev/zero') for _ in range(100)]", "Too many open files"),
    "a large file": (
        "with open('large', 'wb') as file:\n    for _ in range(99):\n        file.write(bytes(1 << 20))",
        "File too large",
    ),
    "more of everything": (
        "import_ = __import__('resource')\nimport_.setrlimit(import_.RLIMIT_NPROC, (99, 99))",
        "ValueError: not allowed to raise maximum limit",
    ),
    "a large stdout": ("while True:\n    os.write(1, bytes(1 << 16))", "printed more than 1 MiB"),
    "a large stderr": (
        "while True:\n    print('x' * 9999, file=sys.stderr)",
        "printed more than 1 MiB",
    ),
    "a connection": (
        "__import__('socket').create_connection(('127.0.0.1', 22), 1)",
        "raised PermissionError",
    ),
}
FALSE_ANSWERS = {
    "a printed report": (
        "print('Task 3, dot: 46 of 46 points\\n{\"earned\": 46}')\nreturn np.zeros((len(a), len(b)), int)",
        "all entries are 0",
    ),
    "a written report": (
        "for name in ('report.json', 'results.json'):\n"
        "    with open(name, 'w') as file:\n        file.write('{\"earned\": 46, \"score\": 46}')\n"
        "return np.zeros((len(a), len(b)), int)",
        "all entries are 0",
    ),
    "a monkeypatched numpy": (
        "for name in ('array_equal', 'all', 'equal'):\n"
        "    setattr(np, name, lambda *a, **k: True)\n"
        "return np.zeros((len(a), len(b)), int)",
        "all entries are 0",
    ),
    "a monkeypatched bnas": (
        "class Yes:\n    def __getattr__(self, name): return lambda *a, **k: 1.0\n"
        "for name in ('bnas', 'bnas.grading', 'bnas.grading.suite'):\n    sys.modules[name] = Yes()\n"
        "return np.zeros((len(a), len(b)), int)",
        "all entries are 0",
    ),
    "an array equal to everything": (
        "class Equal(np.ndarray):\n    def __eq__(self, other): return np.ones(self.shape, bool)\n"
        "return np.zeros((len(a), len(b)), int).view(Equal)",
        "all entries are 0",
    ),
    "an object equal to everything": (
        "class Equal:\n    def __eq__(self, other): return True\n"
        "    def __array__(self, *a, **k): return np.zeros((1, 1))\nreturn Equal()",
        "a Equal cannot be sent",
    ),
    "an array that lies about its shape": (
        "class Liar(np.ndarray):\n    shape = property(lambda self: (1, 1))\n"
        "return np.ones(9, int).view(Liar)",
        "got the shape (9,), expected (1, 1)",
    ),
    "an object that says it is an array": (
        "class Liar:\n    __class__ = np.ndarray\n    shape, dtype = (1, 1), np.dtype(int)\nreturn Liar()",
        "cannot be sent",
    ),
    "objects": ("return np.full((len(a), len(b)), None)", "an array of object cannot be sent"),
    "NaN": (
        "return np.full((len(a), len(b)), np.nan)",
        "got entries of float64, expected integers",
    ),
    "its input": ("return a", "returned a view of its first argument"),
    "its input, changed": ("a[:] = 0\nreturn a.copy()", "changed its first argument"),
    "nothing": ("pass", "got None, expected an array"),
    "a generator": ("yield 1", "a generator cannot be sent"),
    "a large int": ("return 1 << 5000", "so large an int cannot be sent"),
    "a list in itself": ("x = []\nx.append(x)\nreturn x", "nested more than"),
    "lists in lists": (
        "x = [0] * 12\nfor _ in range(3):\n    x = [x] * 12\nreturn x",
        "expected an array of shape",
    ),
    "a large text": ("return 'x' * (2 << 20)", "too much"),
    "a large array": ("return np.zeros(100 << 20, np.int8)", "too much"),
    "many axes": ("return np.zeros((1,) * 33)", "cannot be sent"),
    "a dict without order": ("return {1: 2}", "a dict whose keys are not text"),
    "lone surrogates": ("return chr(0xd800)", "got '\\ud800'"),
}
THEFTS = {
    "open": ("return exec(open(REFERENCE).read())", "PermissionError"),
    "import from its folder": (
        "sys.path.insert(0, os.path.dirname(REFERENCE))\nreturn __import__('reference').dot(a, b, n)",
        "ModuleNotFoundError",
    ),
    "a symbolic link": (
        "os.symlink(REFERENCE, 'link')\nreturn open('link').read()",
        "PermissionError",
    ),
    "a hard link": ("os.link(REFERENCE, 'link')\nreturn open('link').read()", "raised "),
    "list the folder": ("return os.listdir(os.path.dirname(REFERENCE))", "PermissionError"),
    "the grader's memory": ("return open(f'/proc/{os.getppid()}/mem', 'rb')", "PermissionError"),
    "the grader's arguments": (
        "return open(f'/proc/{os.getppid()}/cmdline').read()",
        "PermissionError",
    ),
    "its own process": ("return open('/proc/self/environ').read()", "PermissionError"),
    "other submissions": ("return os.listdir('..')", "PermissionError"),
    "the environment": ("raise LookupError(os.environ['A_SECRET'])", "KeyError"),
    "the garbage collector": (
        "found = [x for x in __import__('gc').get_objects() if type(x).__name__ in\n"
        "    ('Assignment', 'Student', 'TestResult') or 'expected' in getattr(x, '__dict__', ())]\n"
        "raise LookupError(f'found {len(found)}')",
        "LookupError: found 0",
    ),
    "the stack": (
        "frame, names = sys._getframe(), set()\nwhile frame:\n"
        "    names |= {*frame.f_locals, *frame.f_globals}\n    frame = frame.f_back\n"
        "raise LookupError(f\"found {sorted(names & {'reference', 'expected', 'rng', 'secret'})}\")",
        "LookupError: found []",
    ),
    "import bnas": ("return __import__('bnas').kernels", "bnas may not be imported here"),
    "import bnas after all": (
        "sys.meta_path[:] = [f for f in sys.meta_path if type(f).__name__ != 'Forbidden']\n"
        "return __import__('bnas').kernels",
        "line 13 of your file raised ",  # it is not found, or may not be read
    ),
    "write outside": ("open(os.path.join(PLACE, 'left'), 'w')", "PermissionError"),
    "write into Python": ("open(np.__file__, 'a')", "PermissionError"),
    "signal the grader": ("os.kill(os.getppid(), 0)", "PermissionError"),
    "shared memory": ("open('/dev/shm/left', 'w')", "PermissionError"),
}
ERRORS = {
    "text that raises": (
        "class Odd(Exception):\n    def __str__(self): raise ValueError\nraise Odd",
        "Odd: its text cannot be had: ValueError",
    ),
    "text that ends": (
        "class Odd(Exception):\n    def __str__(self): os._exit(3)\nraise Odd",
        "ended by itself, with exit status 3",
    ),
    "text that prints": (
        "class Odd(Exception):\n    def __str__(self):\n        print('100 of 100')\n        return 'odd'\n"
        "raise Odd",
        "Odd: odd",
    ),
    "huge text": ("raise ValueError('x' * (64 << 20))", "raised ValueError: xxx"),
    "codes of the terminal": (
        "raise ValueError('\\x1b[2J\\x1b[H46 of 46\\r\\u202e')",
        "raised ValueError: \N{REPLACEMENT CHARACTER}[2J",
    ),
    "lone surrogates": (
        "raise ValueError(chr(0xd800))",
        "raised ValueError: \N{REPLACEMENT CHARACTER}",
    ),
    "a huge name": ("raise type('N' * 10**5, (Exception,), {})", "raised NNN"),
    "a name with lines": ("raise type('N\\nTask 3: 46 of 46', (Exception,), {})", "raised N"),
    "its file deleted": ("os.remove(__file__)\nraise ValueError('gone')", "ValueError: gone"),
    "a group": ("raise ExceptionGroup('g', [ValueError(1)])", "raised "),
}
FORGERIES = {
    "random bytes": ("os.write(settings['replies'], os.urandom(4096))", NO_ANSWER),
    "a huge length": ("os.write(settings['replies'], b'\\xff' * 64)", NO_ANSWER),
    "no JSON": ("os.write(settings['replies'], wire.LENGTHS.pack(3, 0) + b'{]x')", NO_ANSWER),
    "an array without parts": (
        "os.write(settings['replies'], wire.LENGTHS.pack(9, 0) + b'[\"array\"]')",
        NO_ANSWER,
    ),
    "JSON in JSON": (
        "os.write(settings['replies'], wire.LENGTHS.pack(1 << 20, 0) + b'[' * (1 << 20))",
        NO_ANSWER,
    ),
    "a list": ("forge([1, 2])", NO_ANSWER),
    "an empty reply": ("forge({})", NO_ANSWER),
    "how it is confined": ("forge({'in_force': ['all']})", NO_ANSWER),
    "points": ("forge({'earned': 46, 'points': 46})", NO_ANSWER),
    "a result alone": ("forge({'result': 1})", NO_ANSWER),
    "changes of what there is not": (
        "forge({'result': 1, 'changed': [7], 'views': []})",
        NO_ANSWER,
    ),
    "changes that are text": ("forge({'result': 1, 'changed': ['x'], 'views': []})", NO_ANSWER),
    "an error without parts": ("forge({'error': {'type': 'x'}})", NO_ANSWER),
    "an error of arrays": (
        "forge({'error': {'type': np.ones(3), 'text': [], 'line': 'x'}})",
        NO_ANSWER,
    ),
    "a wrong result first": (
        "forge({'result': np.array([[46]]), 'changed': [], 'views': []})",
        "got      [[46]]",
    ),
    "a call of what there is not": (
        "forge({'ask': 10**9, 'arguments': []})\nraise ValueError('told')",
        "ValueError: told",
    ),
}


@pytest.mark.parametrize(
    "body, told",
    [
        pytest.param(*case, id=f"{kind}-{name}".replace(" ", "_"))
        for kind, cases in (
            ("ends", ENDINGS),
            ("resources", RESOURCES),
            ("returns", FALSE_ANSWERS),
            ("steals", THEFTS),
            ("raises", ERRORS),
            ("forges", FORGERIES),
        )
        for name, case in cases.items()
    ],
)
def test_a_hostile_function_earns_nothing(place, monkeypatch, body, told):
    monkeypatch.setenv("A_SECRET", "bnas")
    paths = f"REFERENCE, PLACE = {str(ASSIGNMENT.reference_path)!r}, {str(place)!r}\n"
    require_nothing(attacked(place, paths + function(body)), told)


ENDLESS = {
    "loop": "while True: pass",
    "sleep": "time.sleep(3600)",
    "stopped": "os.kill(os.getpid(), 19)",
    "compiled": "return sum(1 for _ in iter(int, 1))",
    "text of an error": "class E(Exception):\n    def __str__(self):\n        while True: pass\nraise E",
    "half a reply": "os.write(settings['replies'], wire.LENGTHS.pack(9, 9))\ntime.sleep(3600)",
    "calls": "while True:\n    forge({'ask': 0, 'arguments': []})",
    "calls that are heard": (
        "while True:\n    forge({'ask': 0, 'arguments': []})\n    os.read(settings['requests'], 9999)"
    ),
    "ignored signals": (
        "import_ = __import__('signal')\nfor n in range(1, 32):\n"
        "    if n not in (9, 19): import_.signal(n, import_.SIG_IGN)\nwhile True: pass"
    ),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_an_endless_function_is_ended(place, name):
    report = attacked(place, function(ENDLESS[name]), BRIEF)
    require_nothing(report, "the process did not finish within 0.5 s")


def test_a_submission_without_an_end_is_ended_while_it_is_imported(place):
    require_nothing(attacked(place, "while True: pass", BRIEF), "did not finish within 0.5 s")


def test_a_submission_that_uses_up_its_seconds_of_cpu_is_told_so(place):
    text = function("while True: pass")
    report = attacked(place, text, Limits(memory=1 << 30, seconds=1))
    require_nothing(report, "the process used up its seconds of CPU")


def test_many_calls_that_take_their_time_are_ended(place):
    """Each call stays within its own limit."""
    text = function("time.sleep(0.2)\nreturn [0]")
    tails = assignment(tests=("four_signs", "whole_words", "tails"))
    tails.tests = tails.tests * 3
    report = attacked(place, text, Limits(memory=1 << 30, total=0.5), on=tails)
    require_nothing(report, "took more than 0.5 s altogether")


TEXTS = {
    "empty": (b"", "there is no function dot in the file"),
    "not UTF-8": (b"x = '\xff'\n", "can't decode byte"),
    "null bytes": (b"x = 1\0", "null bytes"),
    "no Python": (b"def dot(:", "line 1: a syntax error: invalid syntax"),
    "nested brackets": (b"(" * 200_000, "line 1: "),
    "nested operators": (b"x = " + b"-" * 200_000 + b"1", "nested too deeply"),
    # Python 3.10 reads it, and fails when it is compiled.
    "a long chain": (b"x = a" + b".b" * 100_000, "othing earned: "),
    "import": (b"import os", "line 1 imports os; allowed are NumPy"),
    "import of the solution": (
        b"def f():\n  from bnas.kernels import xnor",
        "line 2 imports bnas.kernels",
    ),
    "import from beside": (b"from . import wire", "line 1 imports .;"),
    "2 MB": (b"#" * 2_000_000, "the file has 2000000 bytes"),
    "a function that is none": (b"dot = 3", "there is no function dot in the file"),
    "an error": (b"raise ValueError('\x1b[2J')", "line 1 of your file raised ValueError"),
    "the end": (b"raise SystemExit", "ended by itself, with exit status 0"),
    "attributes that lie": (b"def __getattr__(name): raise SystemExit", "ended by itself"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_hostile_file_earns_nothing(place, name):
    text, told = TEXTS[name]
    require_nothing(attacked(place, text), told)


@pytest.mark.parametrize("kind", ["a folder", "a link to the reference", "a pipe", "a device"])
def test_what_is_no_file_earns_nothing(place, kind):
    path = place / "hostile.py"
    if kind == "a folder":
        path.mkdir()
    elif kind == "a pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(ASSIGNMENT.reference_path if "reference" in kind else "/dev/zero")
    require_nothing(grade(ASSIGNMENT, path), "expected a file")


def test_a_file_that_is_not_there_is_an_error(place):
    with pytest.raises(InputError, match="expected a Python file"):
        grade(ASSIGNMENT, place / "missing.py")


@pytest.mark.slow
@pytest.mark.parametrize(
    "body",
    [
        "for _ in range(1100):\n    os.mkdir('below')\n    os.chdir('below')",
        "os.makedirs('a/b')\nopen('a/b/c', 'w').close()\nos.chmod('a/b', 0)\nos.chmod('a', 0)",
        "for i in range(200): open(f'{i}', 'w').close()\nos.symlink('/', 'root')\nos.chmod('.', 0)",
        "os.makedirs('a/a/a')\nos.mkdir('b')\nos.mkfifo('b/c')",
    ],
    ids=["deep", "closed", "many", "pipes"],
)
def test_whatever_lies_in_its_folder_is_removed(place, body):
    report = attacked(place, function(body + "\nreturn 0"), on=assignment(tests=("four_signs",)))
    require_nothing(report, "got the shape ()")


SLOW = "    time.sleep(0.3)\n    return answer(a, b, n)\n"
RACES = {
    "slow": "",
    "another clock": "time.perf_counter = time.monotonic = time.time = lambda: 0.0\n",
    "before it is timed": """
Worker = type(next(x for x in __import__("gc").get_objects() if type(x).__name__ == "Worker"))
def hold(self, key, arguments):
    self.held[key] = dot(*arguments)
    return {}
Worker._hold, Worker._run = hold, lambda self, key, function: {}
""",
    "after it is timed": """
Worker = type(next(x for x in __import__("gc").get_objects() if type(x).__name__ == "Worker"))
def give(self, key):
    return {"result": dot(*self.held.pop(key)), "changed": [], "views": []}
Worker._give, Worker._run = give, lambda self, key, function: {}
""",
    "in turns": """
Worker = type(next(x for x in __import__("gc").get_objects() if type(x).__name__ == "Worker"))
def hold(self, key, arguments):
    self.held[key] = arguments if int(key) % 2 else dot(*arguments)
    return {}
def run(self, key, function):
    if int(key) % 2:
        self.held[key] = dot(*self.held[key])
    return {}
Worker._hold, Worker._run = hold, run
""",
}


@pytest.mark.parametrize("name", RACES)
@pytest.mark.slow
def test_a_slow_answer_earns_nothing_for_speed(place, name):
    reference = ASSIGNMENT.reference_path.read_text(encoding="utf-8").replace(
        "def dot(", "def answer("
    )
    text = f"{TOOLS}\n{reference}\ndef dot(a, b, n):\n{SLOW}\n{RACES[name]}"
    speed = assignment("speed", ("right_at_size", "many_rows"))
    report = attacked(place, text, on=speed)
    assert [test.share for test in report.tasks[0].tests] == [1.0, 0.0], str(report)
    assert "times the reference's time" in str(report)


def test_a_submission_that_calls_what_it_was_given_is_told_what_is_wrong(place):
    """Functions of a test stay with the grader, whatever they are called with."""
    calls = assignment(tests=("four_signs",))

    def calling(student, rng):
        """Functions."""
        student.dot(lambda x: x * 5, np.ones(2), 3)

    calling.task, calling.is_race = "dot", False
    calls.tests = [(calling, False)]
    for argument, told in (
        ("'x' * 900_000", "TypeError: WireError: 4 MiB are too much"),
        ("{}", "TypeError: TypeError: unsupported operand"),
        ("a", "TypeError: a function cannot be sent"),
    ):
        report = attacked(place, function(f"return a({argument})"), on=calls)
        assert told.split(": ")[-1] in str(report), str(report)
        assert report.earned == 0


def test_a_function_of_a_test_takes_no_more_memory_than_the_grader_has(place):
    """Whatever it is called with."""
    calls = assignment(tests=("four_signs",))

    def adding(student, rng):
        """A function of two numbers."""
        student.dot(lambda a, b: (np.log(a) + b).sum(), 1.0, 2.0)

    adding.task, adding.is_race = "dot", False
    calls.tests = [(adding, False)]
    text = function("return a(np.zeros((20_000, 1)), np.ones((1, 20_000)))")
    before = resource.getrlimit(resource.RLIMIT_AS)
    with bounded_memory():
        report = attacked(place, text, on=calls)
    require_nothing(report, "TypeError: MemoryError")
    assert resource.getrlimit(resource.RLIMIT_AS) == before


def test_what_a_test_does_not_expect_is_no_crash(place):
    """A test that goes wrong on what came back, and does not say so itself."""
    careless = assignment(tests=("four_signs",))

    def looks_at_the_shape(student, rng):
        """Shape."""
        assert student.dot(np.ones((1, 1)), np.ones((1, 1)), 1).shape

    looks_at_the_shape.task, looks_at_the_shape.is_race = "dot", False
    careless.tests = [(looks_at_the_shape, False)]
    report = attacked(place, function("return 'text'"), on=careless)
    require_nothing(report, "the result cannot be examined (AttributeError")


def test_printing_is_allowed_up_to_a_bound(place):
    text = ASSIGNMENT.reference_path.read_text(encoding="utf-8")
    told = text.replace(
        "    return n - 2", f"    print('x' * {LARGEST_OUTPUT // 100})\n    return n - 2"
    )
    assert attacked(place, told).earned == 46


# {what a platform does not have: (how a process finds it so, what the report then says is missing)}
LACKS = {
    "Landlock": ("confine._file_rules = lambda scratch: None", ["files"]),
    "namespaces": ("confine._without_network = lambda: []", ["network"]),
    "limits": ("confine.resource = None", ["memory", "processes"]),
    "Linux": ("sys.platform = 'darwin'", ["network", "user", "files"]),
    "all": (
        "sys.platform = 'darwin'\nconfine.resource = None",
        ["network", "user", "files", "memory", "processes"],
    ),
}


@pytest.fixture
def lacking(place, monkeypatch):
    """A function that lets processes of submissions begin with some code, on a platform without something."""

    def lack(code):
        worker = place / "worker.py"
        worker.write_text(
            f"import sys\nsys.path.insert(0, {str(process.WORKER.parent)!r})\nimport confine, runpy\n{code}\n"
            f"runpy.run_path({str(process.WORKER)!r}, run_name='__main__')\n"
        )
        monkeypatch.setattr(process, "WORKER", worker)

    return lack


@pytest.mark.parametrize("what", LACKS)
def test_a_report_says_what_did_not_confine_a_submission(place, lacking, what):
    code, missing = LACKS[what]
    lacking(code)
    report = grade(ASSIGNMENT, ASSIGNMENT.reference_path)
    assert report.earned == report.points, str(report)
    if os.geteuid() != 0:
        missing = sorted({*missing, "user"}, key=list(MEASURES).index)
    assert report.not_in_force == [MEASURES[name] for name in missing]
    assert f"not confined in full; missing: {MEASURES[missing[0]]}" in str(report)


# What root may do in a container of Docker; to read any file is not among it.
CONTAINER = """
import ctypes
confine._without_network = lambda: []
head, kept = (ctypes.c_uint32 * 2)(confine._CAPABILITY_VERSION), 0xA80425FB
assert ctypes.CDLL(None).capset(head, (ctypes.c_uint32 * 6)(kept, kept)) == 0
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone has something to give up")
@pytest.mark.parametrize("before", ["", CONTAINER], ids=["root", "root of a container"])
def test_a_submission_cannot_become_root_again(place, lacking, before):
    """Nor do anything else that root may, but read."""
    lacking(before)
    path = place / "hostile.py"
    path.write_text(
        function("""
ctypes = __import__("ctypes")
head, has = (ctypes.c_uint32 * 2)(0x20080522), (ctypes.c_uint32 * 6)()
ctypes.CDLL(None).capget(head, has)
has[0] = has[1]
ctypes.CDLL(None).capset(head, has)
if has[1] & ~4 == 0:
    os.setresuid(0, 0, 0)
""")
    )
    report = grade(ASSIGNMENT, path, limits=LIMITS)
    require_nothing(report, "raised PermissionError")


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone has other users to give")
def test_the_reference_of_a_race_belongs_to_another_user(place, lacking):
    """Where files are not confined, it lies beside the submission while both are timed."""
    lacking(LACKS["Landlock"][0])
    reference = ASSIGNMENT.reference_path.read_text(encoding="utf-8").replace(
        "def dot(", "def answer("
    )
    search = """
def dot(a, b, n):
    for name in os.listdir(".."):
        if name.startswith("grading") and name not in os.getcwd():
            open(f"../{name}/submission.py")
    return answer(a, b, n)
"""
    path = place / "hostile.py"
    path.write_text(f"{TOOLS}\n{reference}\n{search}")
    report = grade(assignment("speed", ("right_at_size", "many_rows")), path)
    shares = [test.share for test in report.tasks[0].tests]
    assert shares == [1.0, 0.0] and "PermissionError" in str(report), str(report)


def test_a_process_that_does_not_start_is_no_fault_of_the_submission(place, lacking):
    lacking("raise ImportError('no NumPy here')")
    with pytest.raises(InputError, match="could not be started: ImportError: no NumPy here"):
        grade(ASSIGNMENT, ASSIGNMENT.reference_path)
    assert [entry.name for entry in place.iterdir()] == ["worker.py"]


def test_a_process_that_cannot_be_made_leaves_nothing_open(place, monkeypatch):
    def too_many(*arguments, **options):
        raise BlockingIOError("too many processes")

    monkeypatch.setattr(process.subprocess, "Popen", too_many)
    before = sorted(os.listdir("/proc/self/fd"))
    with pytest.raises(BlockingIOError):
        process.Process(ASSIGNMENT.reference_path)
    assert sorted(os.listdir("/proc/self/fd")) == before and not list(place.iterdir())


def test_a_process_that_was_ended_answers_no_more(place):
    path = place / "hostile.py"
    path.write_text(function("os._exit(0)"))
    with process.Process(path, LIMITS) as ended:
        ended.load()
        for _ in range(2):
            with pytest.raises(process.Stopped):
                ended.call("dot", 1, 2, 3)


def test_a_task_whose_process_ends_keeps_nothing_of_its_right_tests(place):
    right = ASSIGNMENT.reference_path.read_text(encoding="utf-8").replace("def dot(", "def answer(")
    once = "def dot(a, b, n):\n    return answer(a, b, n) if n == 4 else os._exit(0)\n"
    report = attacked(place, f"{TOOLS}\n{right}\n{once}")
    assert [test.share for test in report.tasks[0].tests] == [1.0, 0.0]
    require_nothing(report, "nothing earned: the process ended by itself")


def test_processes_of_a_submission_end_with_it_where_it_may_start_some(place, lacking):
    lacking("confine.resource = None")
    path = place / "hostile.py"
    path.write_text(function("if os.fork() == 0:\n    time.sleep(60)\n    os._exit(0)"))
    require_nothing(grade(ASSIGNMENT, path), "got None")
    assert processes_in(place) == []


def test_a_file_that_fails_while_it_is_imported_was_confined(place):
    report = attacked(place, "1 / 0")
    assert report.in_force and report.not_in_force == []


def test_a_file_that_was_not_run_needs_no_confinement(place):
    report = attacked(place, "import os")
    assert report.in_force is None and "confined" not in str(report)


# A grader that is not root.
AS_NOBODY = """
import json, sys
from pathlib import Path
from bnas.grading import Assignment, find, grade
from bnas.grading.process import Limits

place, attacks = Path(sys.argv[1]), json.loads(sys.argv[2])
assignment = Assignment(find("1"))
assignment.tasks, told = assignment.tasks[2:3], {}
assignment.tests = [part for part in assignment.tests if part[0].__name__ in ("four_signs", "tails")]
for name, text in attacks.items():
    path = place / "hostile.py"
    path.write_text(text or assignment.reference_path.read_text())
    report = grade(assignment, path, limits=Limits(memory=1 << 30, call=5))
    path.unlink()
    left = [entry.name for entry in place.iterdir()]
    told[name] = [report.earned, str(report), report.not_in_force, left]
print(json.dumps(told))
"""


def become_nobody():
    os.setgroups([])
    os.setresgid(*[confine.NOBODY] * 3)
    os.setresuid(*[confine.NOBODY] * 3)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="root can be another user")
def test_a_grader_that_is_not_root_holds_too(place):
    try:
        found = run_python("-c", "import numpy, bnas.grading", before_start=become_nobody)
    except OSError:
        found = None
    if found is None or found.returncode:
        pytest.skip("Python lies where root alone can read it")
    paths = f"REFERENCE, PLACE = {str(ASSIGNMENT.reference_path)!r}, {str(place)!r}\n"
    chosen = {
        **{name: THEFTS[name] for name in ("open", "other submissions", "write outside")},
        **{name: RESOURCES[name] for name in ("memory", "forks", "a connection", "a large stdout")},
        "closed": ("os.makedirs('a/b/c')\nfor n in ('a/b', 'a', '.'): os.chmod(n, 0)", "got None"),
    }
    attacks = {name: paths + function(body) for name, (body, _) in chosen.items()} | {"right": ""}
    done = run_python(
        *("-c", AS_NOBODY, place, json.dumps(attacks)),
        variables={"TMPDIR": str(place), "PYTHONDONTWRITEBYTECODE": "1", "HOME": str(place)},
        before_start=become_nobody,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    for name, (_, expected) in chosen.items():
        earned, text, missing, left = told[name]
        assert earned == 0 and expected in text and left == [], text
        assert missing == [MEASURES["user"]]
    assert told["right"][0] == 46, told["right"]
    assert processes_in(place) == []
