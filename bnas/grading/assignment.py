"""An assignment is a folder; this module reads it, and makes what students get of it.

NN_name/README.md              the handout
NN_name/starter.py             what a student completes, made from the reference
NN_name/public_tests.py        TASKS, and the tests that a student may run
NN_name/instructor/            is not handed out:
    reference.py               the solution, with marks around what is taught
    hidden_tests.py            tests that may compare with the reference, and import from public_tests
    mutants.py                 wrong answers that a test of the graders holds the tests to
    alternatives/*.py          other right answers
"""

import importlib.util
import re
import shutil
import sys
from pathlib import Path

import bnas
from bnas.errors import InputError

FOLDER = Path(bnas.__file__).resolve().parent.parent / "tutorials" / "assignments"
INSTRUCTOR = "instructor"
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"


class Assignment:
    """A folder with an assignment.

    Attributes: folder; name, such as 01_popcount; title, the first line of the handout; tasks, of Task; tests,
    [(function, whether it is hidden)] in their order; has_hidden; reference, the instructor's module or None.

    Raises InputError if the folder holds none, or a test names no task.
    """

    def __init__(self, folder, hidden=True):
        self.folder = Path(folder).resolve()
        public = self.folder / "public_tests.py"
        if not public.is_file():
            raise InputError(
                f"{folder} holds no assignment: there is no public_tests.py; "
                "expected a folder that `bnas handout` has written, or one of tutorials/assignments"
            )
        self.name = self.folder.name
        module = _module(public, f"public_tests_{self.name}")
        self.tasks = list(module.TASKS)
        self.tests = [(function, False) for function in _tests_of(module)]
        self.reference, self.has_hidden = None, False
        secret = self.folder / INSTRUCTOR / "hidden_tests.py"
        if hidden and secret.is_file():
            self.has_hidden = True
            self.reference = _module(self.reference_path, f"reference_{self.name}")
            hidden_module = _module(secret, f"hidden_tests_{self.name}", public_tests=module)
            tests = _tests_of(hidden_module)
            self.tests += [(function, True) for function in tests]
        names = {task.name for task in self.tasks}
        for function, _ in self.tests:
            if function.task not in names:
                raise InputError(f"{self.name}: {function.__name__} tests no task of TASKS")

    @property
    def reference_path(self):
        return self.folder / INSTRUCTOR / "reference.py"

    @property
    def title(self):
        first = (self.folder / "README.md").read_text(encoding="utf-8").splitlines()[0]
        return first.lstrip("# ")

    @property
    def points(self):
        return sum(task.points for task in self.tasks)


def _module(path, name, **beside):
    """The module in a file, under a name of its own; beside: modules that it may import, by name."""
    spec = importlib.util.spec_from_file_location(f"bnas.grading.loaded.{name}", path)
    module = importlib.util.module_from_spec(spec)
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    sys.modules.update(beside)
    try:
        spec.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = before
        for imported in beside:
            del sys.modules[imported]
    return module


def _tests_of(module):
    return [value for value in vars(module).values() if hasattr(value, "task") and callable(value)]


def known(folder=FOLDER):
    """The folders of all assignments, in order."""
    return sorted(path.parent for path in Path(folder).glob("*/public_tests.py"))


def number_of(folder):
    """The number that a folder's name begins with, or None."""
    digits = re.match("[0-9]*", folder.name)[0]
    return int(digits) if digits else None


def find(name, folder=FOLDER):
    """The folder of the assignment that is meant by a number, a path, a name or a part of one.

    Raises InputError if none is, or several are.
    """
    folders = known(folder)
    if name.isdecimal():
        meant = [path for path in folders if number_of(path) == int(name)]
    elif Path(name).is_dir():
        return Path(name).resolve()
    else:
        meant = [path for path in folders if name == path.name]
        meant = meant or [path for path in folders if name in path.name]
    if len(meant) == 1:
        return meant[0]
    if Path(name).is_dir():  # Assignment says what it lacks
        return Path(name)
    names = ", ".join(path.name for path in meant or folders) or f"there is none in {folder}"
    what = "several assignments" if meant else "no assignment"
    raise InputError(
        f"{name!r} names {what}; expected the path of one, its number or name: {names}"
    )


def starter_of(reference):
    """The text of a starter: that of the reference with every marked part replaced.

    In place of a part stands `raise NotImplementedError`, as deeply indented.
    Raises InputError if marks do not pair.
    """
    lines, kept, inside = reference.splitlines(keepends=True), [], False
    for number, line in enumerate(lines, 1):
        mark = line.strip()
        if mark in (BEGIN, END):
            if (mark == BEGIN) == inside:
                raise InputError(f"line {number} of the reference: {mark} without its other half")
            if not inside:
                kept.append(line.replace(mark, 'raise NotImplementedError("this part is yours")'))
            inside = not inside
        elif not inside:
            kept.append(line)
    if inside:
        raise InputError(f"the reference ends before {END}")
    return "".join(kept)


def hand_out(target, names=(), folder=FOLDER):
    """Copy assignments without the instructor's part into a new folder; returns the folders written.

    names: as `find` takes them; all if none. Raises InputError if the target exists and is not empty.
    """
    target, folder = Path(target), Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"{target} exists already; expected a folder that is new or empty")
    chosen = list(dict.fromkeys(find(name, folder) for name in names)) or known(folder)
    inside = [path for path in chosen if Path(path).resolve() in target.resolve().parents]
    if inside:
        raise InputError(
            f"{target} is within {inside[0]}; expected a folder outside the assignments"
        )
    if not chosen:
        raise InputError(
            f"there are no assignments in {folder}; run this in a clone of the repository, "
            "or name it with --assignments"
        )
    target.mkdir(parents=True, exist_ok=True)
    if (folder / "README.md").is_file():
        shutil.copyfile(folder / "README.md", target / "README.md")
    written = []
    for path in chosen:
        written.append(target / path.name)
        ignore = shutil.ignore_patterns(INSTRUCTOR, "__pycache__", ".*")
        shutil.copytree(path, written[-1], ignore=ignore)
    return written
