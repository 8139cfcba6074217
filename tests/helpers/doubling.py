"""A small assignment to test the grader with: double numbers, and count them."""

from bnas.grading import starter_of

README = "# Assignment 1: doubling\n\nDouble numbers.\n"
REFERENCE = '''"""Doubling."""

import numpy as np


def double(x):
    """Twice x."""
    ### BEGIN SOLUTION
    return x + x
    ### END SOLUTION


def count(x):
    """How many there are."""
    ### BEGIN SOLUTION
    return x.size
    ### END SOLUTION
'''
PUBLIC = '''
import numpy as np
from bnas.grading import Task, close, equal, test

TASKS = [Task("double", "Task 1, double", points=10), Task("count", "Task 2, count", points=4)]

@test("double")
def small(student, rng):
    """Three numbers."""
    close(student.double(np.arange(3.0)), np.array([0.0, 2.0, 4.0]))

@test("count")
def three(student, rng):
    """Three numbers."""
    equal(student.count(np.arange(3.0)), 3)
'''
HIDDEN = '''
from bnas.grading import Race, close, race, test

@test("double")
def any_size(student, rng, reference):
    """Any size."""
    for size in (1, 2, 40):
        x = rng.standard_normal(size)
        close(student.double(x), reference.double(x), causes={"squared, not doubled": lambda: x * x})

@race("double")
def many(rng):
    """Many numbers."""
    return Race("double", [[rng.standard_normal(10)] for _ in range(3)])
'''


def write_doubling(folder):
    """Write the assignment below a folder of assignments; returns that folder."""
    own = folder / "01_double"
    (own / "instructor" / "alternatives").mkdir(parents=True)
    texts = {"README.md": README, "public_tests.py": PUBLIC, "starter.py": starter_of(REFERENCE)}
    texts |= {"instructor/reference.py": REFERENCE, "instructor/hidden_tests.py": HIDDEN}
    for name, text in texts.items():
        (own / name).write_text(text)
    return folder


def submission(folder, old="", new=""):
    """The reference as a file, with one text in place of another."""
    path = folder / "submission.py"
    path.write_text(REFERENCE.replace(old, new) if old else REFERENCE)
    return path
