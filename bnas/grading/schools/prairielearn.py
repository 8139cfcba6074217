"""PrairieLearn: a question that is graded externally, and /grade/results/results.json."""

import json
import shlex
import uuid
from pathlib import Path

from bnas.grading.schools import bundle

LARGEST = 1 << 20  # bytes of results.json
RUN = """\
#!/usr/bin/env bash
# The entry point; leaves results.json whatever happens.
mkdir -p /grade/results
chmod o= /grade/tests /grade/results
cd /grade/tests
python3 -m venv /opt/grading && /opt/grading/bin/pip install --quiet {requirements}
PYTHONPATH=/grade/tests /opt/grading/bin/python -m bnas.grading.schools prairielearn \\
    {name} /grade/student /grade/results/results.json || true
if [ ! -s /grade/results/results.json ]; then
    echo '{{"gradable": false, "score": 0, "message": "The grader itself failed."}}' > /grade/results/results.json
fi
"""
QUESTION = """\
<pl-question-panel>
  <p>{title}. The handout and the starter are below; hand in <code>submission.py</code>.</p>
  <p><pl-file-download file-name="README.md"></pl-file-download>
     <pl-file-download file-name="starter.py"></pl-file-download></p>
  <pl-file-upload file-names="submission.py"></pl-file-upload>
</pl-question-panel>
<pl-submission-panel>
  <pl-external-grader-results></pl-external-grader-results>
  <pl-file-preview></pl-file-preview>
</pl-submission-panel>
"""


def write(assignment, path, secret):
    """The folder of a question, to put into questions/ of a course."""
    info = {
        "uuid": str(uuid.uuid5(uuid.NAMESPACE_URL, f"bnas/{assignment.name}")),
        "title": assignment.title,
        "topic": "Binary neural networks",
        "type": "v3",
        "gradingMethod": "External",
        "singleVariant": True,
        "externalGradingOptions": {
            "enabled": True,
            "image": "python:3.12-slim",
            "entrypoint": "/grade/tests/run.sh",
            "timeout": 600,
            "enableNetworking": True,
        },
    }
    name, needed = assignment.name, shlex.join(bundle.requirements())
    texts = {
        "info.json": json.dumps(info, indent=4) + "\n",
        "question.html": QUESTION.format(title=assignment.title),
        "tests/run.sh": RUN.format(name=name, requirements=needed),
        f"tests/{bundle.SECRET}": secret + "\n",
    }
    files = {f"tests/{target}": source for target, source in bundle.contents(assignment).items()}
    for shown in ("README.md", "starter.py"):
        files[f"clientFilesQuestion/{shown}"] = assignment.folder / shown
    bundle.copy(files, path)
    for target, text in texts.items():
        (path / target).write_text(text, encoding="utf-8")
    (path / "tests" / "run.sh").chmod(0o755)
    return [path]


def result(report):
    """The content of results.json; the text of a test is shortened until all is below 1 MB."""
    return {
        "gradable": True,
        "score": report.earned / report.points,
        "message": f"{report.earned:g} of {report.points} points",
        "output": str(report)[: LARGEST // 4],
        "tests": [
            {
                "name": task.title,
                "description": f"{len(task.tests)} tests",
                "points": task.earned,
                "max_points": task.points,
                "message": task.fault,
                "output": "\n".join(
                    f"{test.description}\n{test.message}" for test in task.tests if test.share < 1
                )[: LARGEST // 4 // len(report.tasks)],
            }
            for task in report.tasks
        ],
    }


def main(arguments):
    """ASSIGNMENT SUBMISSION_FOLDER RESULTS.json, in the folder of the bundle."""
    folder, submission, results = map(Path, arguments)
    try:
        path = bundle.submitted(submission)
    except LookupError as error:
        content = {"gradable": False, "score": 0, "format_errors": [str(error)]}
    else:
        report, fault = bundle.graded(folder, path, bundle.secret_in("."))
        failed = {"gradable": False, "score": 0, "message": "The grader failed.", "output": fault}
        content = failed if report is None else result(report)
    results.write_text(json.dumps(content), encoding="utf-8")
