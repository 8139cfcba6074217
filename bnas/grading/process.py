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
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from bnas.grading import confine, wire

WORKER = Path(__file__).with_name("worker.py")
LARGEST_OUTPUT = 1 << 20  # bytes that a submission may print
STARTING = 60  # seconds to import NumPy and be confined, on a busy machine


@dataclass(frozen=True)
class Limits:
    """What one process of a submission may use: bytes, seconds of CPU, files."""

    memory: int = 4 << 30
    seconds: int = 120
    file_size: int = 64 << 20
    open_files: int = 64


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
    """A running submission.

    Args:
        path: the file. It is copied: nothing beside it is seen.
        forbidden: modules that it may not import, by name.
        limits: see Limits.

    Raises Stopped and Raised like every call.
    """

    def __init__(self, path, forbidden=(), limits=Limits()):
        self.functions, self.printed, self.started = [], bytearray(), False
        self.scratch = Path(tempfile.mkdtemp(prefix="grading-"))
        try:
            self._start(path, limits)
            self.in_force = self._answer(STARTING)["in_force"]
            self.started = True
            self._request(STARTING, do="load", forbidden=list(forbidden))
        except BaseException:
            self.close()
            raise

    def _start(self, path, limits):
        code = self.scratch / "submission.py"
        shutil.copyfile(path, code)
        code.chmod(0o644)
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            os.chown(self.scratch, confine.NOBODY, confine.NOBODY)
        requests, self.requests = os.pipe()
        self.replies, replies = os.pipe()
        settings = {"requests": requests, "replies": replies, "limits": asdict(limits)}
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-I", str(WORKER), json.dumps(settings)],
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
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.replies, selectors.EVENT_READ)
        self.selector.register(self.process.stdout, selectors.EVENT_READ)

    def _environment(self):
        """Nothing of the grader's own: paths and secrets may stand there."""
        one_thread = ("OMP", "OPENBLAS", "MKL", "NUMBA")
        kept = {name: os.environ[name] for name in ("SYSTEMROOT",) if name in os.environ}
        return kept | {
            "HOME": str(self.scratch),
            "TMPDIR": str(self.scratch),
            "NUMBA_CACHE_DIR": str(self.scratch),
            "PATH": os.defpath,
            "LC_ALL": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1",
            **{f"{name}_NUM_THREADS": "1" for name in one_thread},
        }

    def call(self, function, *arguments, seconds=20):
        """(result, numbers of arguments that it changed, numbers of arguments that the result is a view of)."""
        reply = self._request(seconds, do="call", function=function, arguments=list(arguments))
        return reply["result"], reply["changed"], reply["views"]

    def hold(self, key, *arguments):
        """Hand over the arguments of a timed call."""
        self._request(STARTING, do="hold", key=key, arguments=list(arguments))

    def run(self, key, function, seconds=20):
        """Seconds that the function takes for the arguments that were handed over."""
        start = time.perf_counter()
        self._request(seconds, do="run", key=key, function=function)
        return time.perf_counter() - start

    def result(self, key):
        """What a timed call returned."""
        return self._request(STARTING, do="give", key=key)["result"]

    def _request(self, seconds, **request):
        self.functions.clear()
        self._send(request, seconds)
        deadline = time.monotonic() + seconds
        while True:
            reply = self._answer(deadline - time.monotonic(), seconds)
            if "ask" in reply:
                self._send(self._asked(reply), seconds)
            elif "error" in reply:
                error = reply["error"]
                raise Raised(str(error["type"]), str(error["text"]), int(error["line"]))
            else:
                return reply

    def _asked(self, reply):
        """The answer to a submission that calls a function it was given."""
        try:
            return {"answer": self.functions[reply["ask"]](*reply["arguments"])}
        except Exception as error:  # whatever a submission hands over, it is to be told
            kind = "" if type(error) is TypeError else f"{type(error).__name__}: "
            return {"refused": f"{kind}{error}"}

    def _send(self, message, seconds):
        frame = memoryview(wire.encode(message, self._number))
        deadline = time.monotonic() + seconds
        os.set_blocking(self.requests, False)
        while frame:
            try:
                frame = frame[os.write(self.requests, frame) :]
            except BlockingIOError:
                self._drain(0.01)
                if time.monotonic() > deadline:
                    self._stop(f"took no input for {seconds} s")
            except OSError:
                self._stop(None)

    def _number(self, function):
        self.functions.append(function)
        return len(self.functions) - 1

    def _answer(self, left, seconds=None):
        """The next message of the process, within `left` seconds; `seconds` is what the text tells."""
        deadline = time.monotonic() + left
        told = f"did not finish within {seconds or left:.0f} s"
        try:
            tree, size = wire.lengths(self._bytes(wire.LENGTHS.size, deadline, told))
            tree = self._bytes(tree, deadline, told)
            reply = wire.decode(tree, self._bytes(size, deadline, told))
            if type(reply) is not dict:
                raise wire.WireError("no reply")
            return _checked(reply)
        except wire.WireError as error:
            return self._stop(f"sent what is no answer ({error})")

    def _bytes(self, count, deadline, told):
        parts = bytearray()
        while len(parts) < count:
            left = deadline - time.monotonic()
            if left <= 0:
                self._stop(told)
            if self._drain(left):
                part = os.read(self.replies, min(count - len(parts), 1 << 20))
                if not part:
                    self._stop(None)
                parts += part
        return bytes(parts)

    def _drain(self, seconds):
        """Wait for the process; whether there is something of a reply. What it prints is kept, up to a bound."""
        ready = [key.fileobj for key, _ in self.selector.select(seconds)]
        if self.process.stdout in ready:
            part = os.read(self.process.stdout.fileno(), 1 << 16)
            if not part:
                self.selector.unregister(self.process.stdout)
            self.printed += part
            if len(self.printed) > LARGEST_OUTPUT:
                self._stop(f"printed more than {LARGEST_OUTPUT >> 20} MiB")
        return self.replies in ready

    def _stop(self, why):
        """End the process and raise Stopped; `why` is None when it has ended by itself."""
        if why is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
            why = self._how_it_ended()
        self.close()
        raise Stopped(why)

    def _how_it_ended(self):
        code = self.process.returncode
        if code is None:
            return "closed its pipe"
        if not self.started:
            printed = self.printed.decode(errors="replace").strip().splitlines()
            return f"could not be started: {printed[-1] if printed else code}"
        if code == -signal.SIGXCPU:
            return "used up its seconds of CPU"
        if code < 0:
            return (
                f"was ended by the system ({signal.Signals(-code).name}); too much memory, perhaps"
            )
        return f"ended by itself, with exit status {code}"

    def close(self):
        """End the process, whatever it does, and remove its folder. May be called again."""
        if getattr(self, "process", None) is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.kill()
            self.process.wait()
            self.selector.close()
            self.process.stdout.close()
            for pipe in (self.requests, self.replies):
                os.close(pipe)
            self.process = None
        shutil.rmtree(self.scratch, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


def _checked(reply):
    """A reply that has the parts of one of the four that there are."""
    shapes = (
        {"in_force": list},
        {"ask": int, "arguments": list},
        {"error": dict},
        {"result": object, "changed": list, "views": list},
    )
    for shape in shapes:
        if reply.keys() == shape.keys() and all(
            isinstance(reply[name], kind) for name, kind in shape.items()
        ):
            if "error" not in reply or reply["error"].keys() == {"type", "text", "line"}:
                return reply
    if not reply:
        return reply
    raise wire.WireError("no reply")
