"""Classroom 50: a folder autograders/ASSIGNMENT whose autograder.py writes result.json, `classroom50/result/v1`.

The bundle is readable by students, so it holds the public tests alone: the hidden ones are for
`bnas grade all` on the instructor's machine.
"""

import datetime
import json
import os
from pathlib import Path

from bnas.grading.grade import DEFAULT_SECRET
from bnas.grading.schools import bundle

SCHEMA = "classroom50/result/v1"
# The fields of a result that say what was graded, and the variables that hold them there.
FIELDS = {
    "classroom": "CLASSROOM",
    "assignment": "ASSIGNMENT",
    "submission": "SUBMISSION_TAG",
    "commit": "COMMIT_URL",
    "release": "RELEASE_URL",
    "review": "REVIEW_URL",
}
AUTOGRADER = '''\
"""Grade the submission in the current folder with the public tests of {name}; writes result.json."""

import os
import subprocess
import sys

bundle = os.environ["CLASSROOM50_BUNDLE_DIR"]
subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", {requirements}])
environment = {{**os.environ, "PYTHONPATH": bundle}}
command = [sys.executable, "-m", "bnas.grading.schools", "classroom50"]
command += [os.path.join(bundle, "{name}"), "."]
sys.exit(subprocess.run(command, env=environment).returncode)
'''


def write(assignment, path, secret):
    """The folder to put into CLASSROOM/autograders/, under the name of the assignment there."""
    bundle.copy(bundle.contents(assignment, hidden=False), path)
    needed = ", ".join(map(repr, bundle.requirements()))
    text = AUTOGRADER.format(name=assignment.name, requirements=needed)
    (path / "autograder.py").write_text(text, encoding="utf-8")
    return [path / "autograder.py", path]


def result(report, environment=os.environ):
    """The content of result.json; what the run is of comes from the variables that Classroom 50 sets."""
    tests = [_test(task) for task in report.tasks]
    return _frame(environment) | {
        "score": sum(test["score"] for test in tests),
        "max-score": sum(test["max-score"] for test in tests),
        "tests": tests,
    }


def _frame(environment):
    known = {field: environment.get(name, "") for field, name in FIELDS.items()}
    known["review"] = known["review"] or known["commit"]
    now = datetime.datetime.now(datetime.timezone.utc)
    return {"schema": SCHEMA, **known, "datetime": now.strftime("%Y-%m-%dT%H:%M:%SZ")}


def _test(task):
    """Scores are whole numbers: a task's points are rounded down."""
    return {
        "test-name": task.title,
        "passed": task.earned == task.points,
        "score": int(task.earned),
        "max-score": task.points,
    }


def main(arguments):
    """ASSIGNMENT SUBMISSION_FOLDER: prints the report, writes result.json here; the exit status is 0."""
    folder, submission = map(Path, arguments)
    try:
        report, fault = bundle.graded(folder, bundle.submitted(submission), DEFAULT_SECRET)
    except (LookupError, OSError) as error:
        report, fault = None, str(error)
    print(report or f"The submission could not be graded.\n{fault}")
    failed = {"score": 0, "max-score": 0, "tests": []}
    content = _frame(os.environ) | failed if report is None else result(report)
    Path("result.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
