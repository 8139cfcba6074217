"""A notebook for nbgrader: the starter to complete, and a cell for each task that grades it.

Cell metadata: nbgrader, schema 3. A task's cell ends with the points, a float, which nbgrader takes as partial
credit; nothing is written to stderr, which would be none. The submission is graded in a process of its own,
as everywhere, so bnas and the assignment's folder have to be where nbgrader runs.
"""

import json

from bnas.grading.grade import DEFAULT_SECRET, SECRET_VARIABLE

SAVE = "%%writefile submission.py\n"
TASK = """\
# {title}
from bnas.grading import Assignment, grade

assignment = Assignment({folder!r}, hidden=False)
secret = {secret!r}
### BEGIN HIDDEN TESTS
import os

assignment = Assignment({folder!r})
secret = os.environ.get({variable!r}, secret)
### END HIDDEN TESTS
assignment.tasks = [task for task in assignment.tasks if task.name == {name!r}]
report = grade(assignment, "submission.py", secret)
print(report)
report.earned
"""


def write(assignment, path, secret):
    """The instructor's version of the notebook, for source/ASSIGNMENT/ of an nbgrader course."""
    folder = assignment.folder
    reference = assignment.reference_path.read_text(encoding="utf-8")
    cells = [
        _cell("handout", (folder / "README.md").read_text(encoding="utf-8"), locked=True),
        _cell("answer", SAVE + reference, solution=True),
    ]
    known = {"folder": str(folder), "variable": SECRET_VARIABLE, "secret": DEFAULT_SECRET}
    for task in assignment.tasks:
        text = TASK.format(title=task.title, name=task.name, **known)
        cells.append(_cell(f"task-{task.name}", text, locked=True, points=task.points, code=True))
    notebook = {
        "cells": cells,
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    path.write_text(json.dumps(notebook, indent=1) + "\n", encoding="utf-8")
    return [path]


def _cell(name, text, locked=False, solution=False, points=None, code=False):
    kind = "code" if code or solution else "markdown"
    metadata = {
        "schema_version": 3,
        "grade": points is not None,
        "grade_id": name,
        "locked": locked,
        "solution": solution,
        "task": False,
        "cell_type": kind,
    }
    if points is not None:
        metadata["points"] = points
    cell = {
        "cell_type": kind,
        "id": name,
        "metadata": {"nbgrader": metadata},
        "source": text.splitlines(keepends=True),
    }
    if kind == "code":
        cell |= {"execution_count": None, "outputs": []}
    return cell
