"""Assignments that grade themselves: `bnas handout`, `bnas grade`.

assignment.py   what an assignment's folder holds, and what students get of it
suite.py        what tests are written with
grade.py        a submission graded, task by task; report.py what comes of it
imports.py      what a submission may import
process.py      the process in which a submission runs; worker.py, wire.py and confine.py run inside it;
                scratch.py removes what it leaves
"""

from bnas.grading.assignment import Assignment, find, hand_out, known, starter_of
from bnas.grading.grade import grade
from bnas.grading.suite import Failure, Race, Task, close, equal, race, test

__all__ = [
    "Assignment",
    "Failure",
    "Race",
    "Task",
    "close",
    "equal",
    "find",
    "grade",
    "hand_out",
    "known",
    "race",
    "starter_of",
    "test",
]
