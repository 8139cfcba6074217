"""The files that a grader takes along to another machine, and the form of one that always answers."""

import re
import shutil
import traceback
from configparser import ConfigParser
from pathlib import Path

import bnas
from bnas.grading.assignment import INSTRUCTOR, Assignment
from bnas.grading.grade import bounded_memory, grade

PACKAGE = Path(bnas.__file__).resolve().parent
SECRET = "secret.txt"
SKIPPED = {"__pycache__", ".pytest_cache"}


def files_below(folder, prefix):
    """{path in the bundle: path here} of all files of a folder."""
    return {
        f"{prefix}/{path.relative_to(folder).as_posix()}": path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not SKIPPED & set(path.relative_to(folder).parts)
    }


def contents(assignment, hidden=True):
    """{path in the bundle: path here} of the package, and of what the grader needs of the assignment.

    hidden: with the reference and the hidden tests. Nothing else that lies in the folder goes along.
    """
    names = ["README.md", "public_tests.py", "starter.py"]
    if hidden:
        names += [f"{INSTRUCTOR}/{name}.py" for name in ("reference", "hidden_tests")]
    own = {f"{assignment.name}/{name}": assignment.folder / name for name in names}
    return files_below(PACKAGE, "bnas") | {
        name: path for name, path in own.items() if path.is_file()
    }


def copy(files, folder):
    """Copy files, as of `contents`, into a folder that is made for them."""
    for name, source in files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def requirements():
    """What bnas needs, as pip takes it, from its metadata."""
    from importlib.metadata import PackageNotFoundError, requires

    try:
        found = [text for text in requires("bnas") or () if "extra ==" not in text]
    except PackageNotFoundError:
        found = []
    if not found:  # a clone that is not installed
        parser = ConfigParser()
        parser.read(PACKAGE.parent / "setup.cfg", encoding="utf-8")
        found = parser["options"]["install_requires"].strip().splitlines()
    return [re.sub(r"\s", "", text) for text in found]


def graded(folder, submission, secret):
    """(the report, "") or (None, why there is none), whatever happens."""
    try:
        assignment = Assignment(folder)
        with bounded_memory():
            return grade(assignment, submission, secret), ""
    except Exception:  # the system has to get an answer, and the instructor the reason
        return None, traceback.format_exc()


def submitted(folder):
    """The file that a student has handed in: a folder's only Python file, else submission.py, else starter.py.

    Raises LookupError with a text for the student.
    """
    found = sorted(path for path in Path(folder).rglob("*.py") if path.is_file())
    named = [
        [path for path in found if path.name == name] for name in ("submission.py", "starter.py")
    ]
    for chosen in (found, *named):
        if len(chosen) == 1:
            return chosen[0]
    names = ", ".join(str(path.relative_to(folder)) for path in found) or "none"
    raise LookupError(f"hand in one Python file, or one called submission.py; found: {names}")


def secret_in(folder):
    path = Path(folder) / SECRET
    return path.read_text(encoding="utf-8").strip()
