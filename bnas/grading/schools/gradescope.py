"""Gradescope: a zip with setup.sh and run_autograder at its root, and results.json for every submission.

Format: gradescope-autograders, "Autograder Specifications".
"""

import json
import shlex
import zipfile
from pathlib import Path

from bnas.grading.schools import bundle

SETUP = """\
#!/usr/bin/env bash
# Run once, when Gradescope builds the image of the assignment.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
apt-get update
apt-get install -y --no-install-recommends python3 python3-venv
python3 -m venv /opt/grading
/opt/grading/bin/pip install --no-cache-dir {requirements}
chmod -R o= /autograder/source
"""
RUN = """\
#!/usr/bin/env bash
# Run for every submission; leaves results.json whatever happens.
results=/autograder/results/results.json
mkdir -p /autograder/results
chmod o= /autograder/source /autograder/results
cd /autograder/source
PYTHONPATH=/autograder/source /opt/grading/bin/python -m bnas.grading.schools gradescope \\
    {name} /autograder/submission "$results" || true
if [ ! -s "$results" ]; then
    echo '{{"score": 0, "output": "The grader itself failed; please tell your instructor."}}' > "$results"
fi
"""


def write(assignment, path, secret):
    """The zip to upload under "Configure Autograder"."""
    texts = {
        "setup.sh": SETUP.format(requirements=shlex.join(bundle.requirements())),
        "run_autograder": RUN.format(name=assignment.name),
        bundle.SECRET: secret + "\n",
    }
    files = bundle.contents(assignment)
    with zipfile.ZipFile(path, "x", zipfile.ZIP_DEFLATED) as file:
        for name, text in texts.items():
            entry = zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0))
            entry.external_attr = (0o100600 if name == bundle.SECRET else 0o100755) << 16
            file.writestr(entry, text, zipfile.ZIP_DEFLATED)
        for name, source in files.items():
            file.write(source, name)
    return [path]


def result(report):
    """The content of results.json."""
    tests = []
    for number, task in enumerate(report.tasks, 1):
        if task.fault or not task.tests:
            tests.append(
                _test(f"{number}", task.title, 0.0, task.points, task.fault or "no test was run")
            )
            continue
        points = task.points / len(task.tests)
        for position, test in enumerate(task.tests, 1):
            tests.append(
                _test(
                    f"{number}.{position}",
                    f"{task.title}: {test.description}",
                    round(points * test.share, 2),
                    round(points, 2),
                    test.message,
                )
            )
    return {
        "score": report.earned,
        "output": f"{report.title}: {report.earned:g} of {report.points} points",
        "output_format": "text",
        "stdout_visibility": "hidden",
        "tests": tests,
    }


def _test(number, name, score, most, output):
    return {
        "score": score,
        "max_score": most,
        "status": "passed" if score == most else "failed",
        "name": name,
        "number": number,
        "output": output,
        "output_format": "text",
        "visibility": "visible",
    }


def main(arguments):
    """ASSIGNMENT SUBMISSION_FOLDER RESULTS.json, in the folder of the bundle."""
    folder, submission, results = map(Path, arguments)
    try:
        report, fault = bundle.graded(folder, bundle.submitted(submission), bundle.secret_in("."))
    except (LookupError, OSError) as error:
        report, fault = None, str(error)
    if report is None:
        told = "The submission could not be graded.\n" + fault
        content = {"score": 0, "output": told, "output_format": "text"}
    else:
        content = result(report)
    results.write_text(json.dumps(content, indent=1), encoding="utf-8")
