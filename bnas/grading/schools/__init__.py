"""What schools' systems need to grade with bnas, a file for each system.

Every file has `write`, which makes what an instructor uploads. Where the system runs the grader by itself,
the file also has `result`, a report in the form that the system reads, and `main`, which __main__.py calls
there and which leaves a result whatever happens.
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
WITH_SECRET = ("gradescope", "prairielearn")  # take the secret along
PUBLIC = ("classroom50", "github")  # run the public tests alone


def write(name, assignment, path, secret):
    """Write what the system of that name needs for an assignment; returns the paths.

    Raises InputError if `path` exists.
    """
    if path.exists():
        raise InputError(f"{path} exists already; expected a new one")
    path.parent.mkdir(parents=True, exist_ok=True)
    return NAMES[name].write(assignment, path, secret)
