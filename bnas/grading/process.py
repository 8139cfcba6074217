"""A submission in a process of its own: started with limits, called over pipes, and ended for certain."""

import contextlib
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bnas.errors import InputError
from bnas.grading import confine, wire
from bnas.grading.scratch import remove

WORKER = Path(__file__).with_name("worker.py")
LARGEST_OUTPUT = 1 << 20  # bytes that a submission may print
LONGEST_TEXT = 2000  # characters of what a submission says in an exception
STARTING = 60  # seconds to import NumPy and be confined, on a busy machine
ENDING = 2  # seconds to wait for killed processes, which end by themselves after that
LONGEST_WAIT = 0.5  # seconds until an interruption is seen
NO_ANSWER = "sent what is no answer"
NOTHING, ANSWER = set(), {"result", "changed", "views"}  # parts of replies


@dataclass(frozen=True)
class Limits:
    """What one process of a submission may use.

    memory, file_size: bytes; seconds: of CPU; call, total: seconds by the clock for one call, and for all it does.
    interrupted: once it is set, whoever waits for the process gets KeyboardInterrupt, as Ctrl-C reaches the main
    thread alone.
    """

    memory: int = 4 << 30
    seconds: int = 120
    file_size: int = 64 << 20
    open_files: int = 64
    call: float = 20
    total: float = 300
    interrupted: threading.Event | None = None


class Stopped(Exception):
    """The process ended, or was ended, before it answered; the text says why. It answers no more."""


class Raised(Exception):
    """The submission raised an exception.

    Attributes: kind, its type's name; text; line of the submission's file, 0 if unknown.
    """

    def __init__(self, kind, text, line):
        super().__init__(f"{kind}: {text}")
        self.kind, self.text, self.line = kind, text, line


class Process:
    """A process for a submission, confined; the file is run by `load`, and its functions by `call`.

    Args:
        path: the file. It is copied: nothing beside it is seen.
        limits: see Limits.
        user: number of the user that it runs as, where the grader is root.

    Attributes: in_force, what confines it, a list of texts.

    Raises InputError if it does not start, which is no fault of the submission. All that is asked of it may raise
    Stopped and Raised.
    """

    def __init__(self, path, limits=Limits(), user=confine.NOBODY):
        self.functions, self.printed, self.in_force = [], bytearray(), None
        self.process, self.pipes, self.limits, self.user, self.used = None, (), limits, user, 0.0
        self.scratch = Path(tempfile.mkdtemp(prefix="grading-"))
        try:
            self._start(path)
            self.in_force = self._in_force()
        except Stopped as stopped:
            raise InputError(f"no submission can be run here: the process {stopped}") from None
        except BaseException:
            self.close()
            raise

    def _start(self, path):
        code = self.scratch / "submission.py"
        shutil.copyfile(path, code)
        code.chmod(0o644)
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            os.chown(self.scratch, self.user, self.user)
        requests, self.requests = os.pipe()
        self.replies, replies = os.pipe()
        self.pipes = self.requests, self.replies
        os.set_blocking(self.requests, False)
        names = ("memory", "seconds", "file_size", "open_files")
        limits = {name: getattr(self.limits, name) for name in names} | {"user": self.user}
        settings = {"requests": requests, "replies": replies, "limits": limits}
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-B", "-X", "utf8", str(WORKER), json.dumps(settings)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=self.scratch,
                env=self._environment(),
                pass_fds=(requests, replies),
                start_new_session=True,
            )
        finally:
            os.close(requests)
            os.close(replies)
        self.sending, self.receiving = selectors.DefaultSelector(), selectors.DefaultSelector()
        self.sending.register(self.requests, selectors.EVENT_WRITE)
        self.receiving.register(self.replies, selectors.EVENT_READ)
        for selector in (self.sending, self.receiving):
            selector.register(self.process.stdout, selectors.EVENT_READ)

    def _environment(self):
        """Nothing of the grader's own: paths and secrets may stand there."""
        one_thread = ("OMP", "OPENBLAS", "MKL", "NUMBA")
        return {
            "HOME": str(self.scratch),
            "TMPDIR": str(self.scratch),
            "NUMBA_CACHE_DIR": str(self.scratch),
            "PATH": os.defpath,
            **{f"{name}_NUM_THREADS": "1" for name in one_thread},
        }

    def _in_force(self):
        """What the process says of its confinement, before it meets the submission."""
        told = f"did not start within {STARTING} s"
        reply = self._answer(time.monotonic() + STARTING, told)
        return reply["in_force"] if "in_force" in reply else self._stop(NO_ANSWER)

    def load(self, forbidden=()):
        """Run the file, which may not import the modules of these names."""
        self._request(self.limits.call, NOTHING, do="load", forbidden=list(forbidden))

    def call(self, function, *arguments):
        """(result, numbers of arguments that it changed, numbers of arguments that the result is a view of)."""
        request = {"do": "call", "function": function, "arguments": list(arguments)}
        reply = self._request(self.limits.call, ANSWER, **request)
        for numbers in (reply["changed"], reply["views"]):
            if not all(type(n) is int and 0 <= n < len(arguments) for n in numbers):
                self._stop(NO_ANSWER)
        return reply["result"], reply["changed"], reply["views"]

    def hold(self, key, *arguments):
        """Hand over the arguments of a timed call."""
        self._request(self.limits.call, NOTHING, do="hold", key=key, arguments=list(arguments))

    def run(self, key, function):
        """The timed call, for the arguments that were handed over."""
        self._request(3 * self.limits.call, NOTHING, do="run", key=key, function=function)

    def result(self, key):
        """What a timed call returned."""
        return self._request(self.limits.call, ANSWER, do="give", key=key)["result"]

    def _request(self, seconds, parts, **request):
        """The reply to a request, which has these parts."""
        if self.process is None:
            raise Stopped("has ended")
        self.functions.clear()
        start, told = time.monotonic(), f"did not finish within {seconds:g} s"
        if seconds > self.limits.total - self.used:
            seconds = self.limits.total - self.used
            told = f"took more than {self.limits.total:g} s altogether"
        try:
            return self._replied(wire.encode(request, self._number), parts, start + seconds, told)
        finally:
            self.used += time.monotonic() - start

    def _replied(self, frame, parts, deadline, told):
        self._send(frame, deadline, told)
        while True:
            reply = self._answer(deadline, told)
            if "ask" in reply:
                self._send(self._asked(reply), deadline, told)
            elif "error" in reply:
                error = reply["error"]
                kind, text = legible(error["type"], 100), legible(error["text"], LONGEST_TEXT)
                raise Raised(kind, text, error["line"])
            elif reply.keys() == parts:
                return reply
            else:
                self._stop(NO_ANSWER)

    def _asked(self, reply):
        """The answer, a frame, to a submission that calls a function it was given."""
        try:
            with np.errstate(all="ignore"):  # whatever it is called with
                answer = self.functions[reply["ask"]](*reply["arguments"])
            return wire.encode({"answer": answer})
        except Exception as error:  # whatever a submission hands over, it is to be told
            kind = "" if type(error) is TypeError else f"{type(error).__name__}: "
            return wire.encode({"refused": legible(f"{kind}{error}", LONGEST_TEXT)})

    def _number(self, function):
        self.functions.append(function)
        return len(self.functions) - 1

    def _send(self, frame, deadline, told):
        frame = memoryview(frame)
        while frame:
            try:
                frame = frame[os.write(self.requests, frame) :]
            except BlockingIOError:
                self._wait(self.sending, deadline, told)
            except OSError:
                self._stop(None)

    def _answer(self, deadline, told):
        """The next message of the process, a dict with the parts of one of those that there are."""
        try:
            tree, size = wire.lengths(self._bytes(wire.LENGTHS.size, deadline, told))
            tree = self._bytes(tree, deadline, told)
            reply = wire.decode(tree, self._bytes(size, deadline, told))
        except wire.WireError:
            reply = None
        return reply if _is_reply(reply) else self._stop(NO_ANSWER)

    def _bytes(self, count, deadline, told):
        parts = bytearray()
        while len(parts) < count:
            if self._wait(self.receiving, deadline, told):
                part = os.read(self.replies, min(count - len(parts), 1 << 20))
                if not part:
                    self._stop(None)
                parts += part
        return parts

    def _wait(self, selector, deadline, told):
        """Wait for the process; whether the pipe of the selector is ready.

        What the process prints meanwhile is kept, up to a bound, as it would wait for ever otherwise.
        """
        left = deadline - time.monotonic()
        if left <= 0:
            self._stop(told)
        ready = [key.fileobj for key, _ in selector.select(min(left, LONGEST_WAIT))]
        output = self.process.stdout
        if self.limits.interrupted is not None and self.limits.interrupted.is_set():
            raise KeyboardInterrupt
        if output in ready:
            ready.remove(output)
            part = os.read(output.fileno(), 1 << 16)
            if not part:
                self.sending.unregister(output)
                self.receiving.unregister(output)
            self.printed += part
            if len(self.printed) > LARGEST_OUTPUT:
                self._stop(f"printed more than {LARGEST_OUTPUT >> 20} MiB")
        return bool(ready)

    def _stop(self, why):
        """End the process and raise Stopped; `why` is None when it has ended by itself."""
        if why is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(1)
            why = self._how_it_ended()
        self.close()
        raise Stopped(why)

    def _how_it_ended(self):
        code = self.process.returncode
        if code is None:
            return "closed its pipe"
        if self.in_force is None:
            printed = self.printed.decode(errors="replace").strip().splitlines()
            return f"could not be started: {legible(printed[-1], 500) if printed else code}"
        if code == -signal.SIGXCPU:
            return "used up its seconds of CPU"
        if code < 0:
            names = {number.value: number.name for number in signal.Signals}
            name = names.get(-code, f"signal {-code}")
            hint = "; too much memory, perhaps" if code == -signal.SIGKILL else ""
            return f"was ended by the system ({name}){hint}"
        return f"ended by itself, with exit status {code}"

    def close(self):
        """End the process, whatever it does, and remove its folder. May be called again."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.kill()
            self.process.wait()
            self._outlive_its_own()
            self.sending.close()
            self.receiving.close()
            self.process.stdout.close()
            self.process = None
        for pipe in self.pipes:
            os.close(pipe)
        self.pipes = ()
        if self.scratch.exists():
            with contextlib.suppress(OSError):
                remove(self.scratch)

    def _outlive_its_own(self):
        """Wait until what the process has started is gone, too; a signal is sent before it has worked."""
        deadline = time.monotonic() + ENDING
        with contextlib.suppress(ProcessLookupError, PermissionError):
            while time.monotonic() < deadline:
                os.killpg(self.process.pid, 0)
                time.sleep(0.002)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


def _is_reply(reply):
    """Whether this is a reply, with the parts of one of those that there are."""
    if type(reply) is not dict:
        return False
    kinds = {name: type(value) for name, value in reply.items()}
    if kinds.keys() == ANSWER:
        return kinds["changed"] is kinds["views"] is list
    if kinds == {"error": dict}:
        error = {name: type(value) for name, value in reply["error"].items()}
        return error == {"type": str, "text": str, "line": int}
    return kinds in ({}, {"in_force": list}, {"ask": int, "arguments": list})


def legible(text, most):
    """A text of a submission as one can print it: no more than `most` characters, none that a terminal obeys."""
    kept = "".join(
        c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text[:most]
    )
    return kept + ("..." if len(text) > most else "")
