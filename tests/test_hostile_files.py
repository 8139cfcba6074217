"""Bad files of every kind that bnas reads: none ends in a traceback, and none is read as what it is not.

`pytest tests/test_hostile_files.py --fuzz=3000 -s` tries so many of each kind, in processes of their own, whose
crash would be seen, and prints what became of them.
"""

import json

import pytest
from helpers import ROOT, readers
from helpers.processes import run_python

COSTLY = {"drawn history": 30}  # how much longer one takes
SLOW = [n for n in readers.kinds() if n.startswith(("search", "train", "drawn", "digits", "idx g"))]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else [])
        for name in readers.kinds()
    ],
)
def test_bad_files_are_refused_or_read_as_what_they_are(name, request, tmp_path):
    count = request.config.getoption("--fuzz")
    if count:
        outcomes, faults = fuzz_alone(name, max(count // COSTLY.get(name, 1), 1))
        print(f"\n{name}: {sum(outcomes.values()):,} files, {outcomes}")
    else:
        outcomes, faults = readers.fuzz(name, max(60 // COSTLY.get(name, 1), 1), folder=tmp_path)
    assert not faults, f"{len(faults)} faults: {faults[:5]}"
    assert outcomes["refused"], outcomes


def fuzz_alone(name, count):
    """`readers.fuzz` in a process of its own, with limited memory."""
    process = run_python(
        "-W", "ignore", "-m", "helpers.readers", name, count, 0, cwd=ROOT / "tests", timeout=None
    )
    assert process.returncode == 0, process.stderr[-3000:]
    found = json.loads(process.stdout)
    return found["outcomes"], found["faults"]
