"""The command line, run in this process."""

import contextlib
import io
import os
import re
from unittest import mock

from bnas.cli import main

TINY = ("--quick", "--channels", "2", "--layers", "2", "--limit", "96", "--batch-size", "64")


def bnas(*arguments):
    """Run the command line in this process; (status, output, errors)."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        with mock.patch.dict(os.environ):  # --threads sets variables for the rest of a process
            try:
                status = main([str(argument) for argument in arguments])
            except SystemExit as stop:  # how argparse ends
                status = stop.code
    return status, out.getvalue(), err.getvalue()


def succeed(*arguments):
    status, out, err = bnas(*arguments)
    assert status == 0, err
    return out


def fail(*arguments, says, status=2):
    """Run a command that must fail with a short message that matches every pattern in `says`."""
    actual, out, err = bnas(*arguments)
    assert actual == status, err
    *progress, message = err.splitlines()
    assert message.startswith("bnas: ") and out == ""
    assert all(re.match(r"epoch \d+ of \d+.*: loss|.* \.\.\.$", line) for line in progress)
    for pattern in [says] if isinstance(says, str) else says:
        assert re.search(pattern, message), message
    return message
