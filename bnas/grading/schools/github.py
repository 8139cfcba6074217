"""A workflow for GitHub Actions that grades a student's repository with the public tests."""

WORKFLOW = """\
# Grades {name} with the public tests at every push. Put this into .github/workflows/ of the
# repository that students start from, beside the folder {name} of `bnas handout`.
name: grade {name}
on: [push, workflow_dispatch]
permissions:
  contents: read
env:
  # Where pip finds bnas: a repository that the runner can read.
  BNAS: "bnas @ git+https://github.com/OWNER/bnas"
jobs:
  grade:
    runs-on: ubuntu-latest
    timeout-minutes: 10
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-python@v5
        with:
          python-version: "3.12"
      - run: pip install "$BNAS"
      - name: Grade
        run: |
          set -o pipefail
          status=0
          echo '```' >> "$GITHUB_STEP_SUMMARY"
          bnas grade {name} {name}/starter.py --public --json report.json \\
              | tee -a "$GITHUB_STEP_SUMMARY" || status=$?
          echo '```' >> "$GITHUB_STEP_SUMMARY"
          exit $status
      - uses: actions/upload-artifact@v4
        if: always()
        with:
          name: report
          path: report.json
"""


def write(assignment, path, secret):
    """The workflow, a YAML file; it has no secret, as students can read it."""
    path.write_text(WORKFLOW.format(name=assignment.name), encoding="utf-8")
    return [path]
