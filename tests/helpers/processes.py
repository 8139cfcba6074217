"""Processes that a test starts: this Python with this checkout's bnas, as from a terminal."""

import os
import signal
import subprocess
import sys

from . import ROOT

PIPE, DEVNULL = subprocess.PIPE, subprocess.DEVNULL


def start_python(*arguments, variables=(), environment=None, before_start=None, **options):
    """Start Python with these arguments; what it prints comes as text through pipes.

    variables: of the environment, on top of `environment`, which is this process's own by default.
    before_start: called in the new process before Python is started.
    options: of subprocess.Popen.
    """
    environment = {**(os.environ if environment is None else environment)}
    paths = [str(ROOT), environment.get("PYTHONPATH")]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))

    def prepare():
        _take_every_signal()
        if before_start is not None:
            before_start()

    pipes = {"stdin": DEVNULL, "stdout": PIPE, "stderr": PIPE, "text": True}
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        env={**environment, **dict(variables)},
        preexec_fn=prepare,
        **{**pipes, **options},
    )


def _take_every_signal():
    """Undo what `nohup`, cron and `&` do: a signal that is ignored is so in every child as well."""
    for number in signal.valid_signals():
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def run_python(*arguments, timeout=300, **options):
    """Start Python likewise and wait for its end; a subprocess.CompletedProcess."""
    with start_python(*arguments, **options) as process:
        try:
            output, errors = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def bnas_options(settings):
    """Settings as the command line takes them."""
    return [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
