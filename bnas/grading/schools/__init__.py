"""What schools' systems need to grade with bnas, a file for each system.

Every file has `result`, a report in the form that the system reads, and `write`, which makes what an
instructor uploads. Where the system runs the grader itself, the file is run as a module there:
`python -m bnas.grading.schools.gradescope` and so on. None of them can end without a result.
"""

from bnas.errors import InputError
from bnas.grading.schools import classroom50, github, gradescope, nbgrader, prairielearn

NAMES = {
    "gradescope": gradescope,
    "classroom50": classroom50,
    "prairielearn": prairielearn,
    "github": github,
    "nbgrader": nbgrader,
}


def write(name, assignment, path, secret):
    """Write what the system of that name needs for an assignment; returns the paths.

    Raises InputError if `path` exists.
    """
    if path.exists():
        raise InputError(f"{path} exists already; expected a new one")
    path.parent.mkdir(parents=True, exist_ok=True)
    return NAMES[name].write(assignment, path, secret)
