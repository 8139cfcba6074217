"""The process in which a submission runs: it imports the file, is told which function to call, and answers.

It is started by bnas.grading.process with two pipes. It holds no reference, no test and no points, so
nothing that a submission does to it can earn any. Only NumPy and the standard library are imported.
"""

import copy
import json
import os
import sys
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import confine  # noqa: E402
import numpy as np  # noqa: E402
import wire  # noqa: E402

sys.path.pop(0)
CODE = "submission.py"


class Forbidden:
    """A finder of modules that refuses some by name."""

    def __init__(self, names):
        self.names = names

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ImportError(f"{name} may not be imported here")
        return None


class Worker:
    """Answers requests until there are no more."""

    def __init__(self, requests, replies):
        self.requests, self.replies = requests, replies
        self.module, self.held = None, {}

    def serve(self):
        while True:
            request = self._read()
            if request is None:
                return
            try:
                frame = wire.encode(getattr(self, "_" + request.pop("do"))(**request))
            except Exception as error:
                frame = wire.encode({"error": self._told(error)})
            self._write(frame)

    def _load(self, forbidden):
        """Import the submission."""
        sys.meta_path.insert(0, Forbidden(forbidden))
        sys.path.insert(0, os.getcwd())
        import submission

        self.module = submission
        return {}

    def _call(self, function, arguments):
        """Call a function; its result, which arguments it changed, and whether the result is a view of one."""
        arrays, before = [list(_arrays(part)) for part in arguments], copy.deepcopy(arguments)
        result = self._function(function)(*arguments)
        pairs = enumerate(zip(arguments, before, strict=True))
        changed = [i for i, (now, then) in pairs if not _same(now, then)]
        returned = list(_arrays(result))
        views = [
            i
            for i, parts in enumerate(arrays)
            if any(np.shares_memory(part, array) for part in returned for array in parts)
        ]
        return {"result": result, "changed": changed, "views": views}

    def _hold(self, key, arguments):
        """Keep arguments for a timed call."""
        self.held[key] = arguments
        return {}

    def _run(self, key, function):
        """The timed call: nothing but the function."""
        self.held[key] = self._function(function)(*self.held[key])
        return {}

    def _give(self, key):
        """The result of a timed call."""
        return {"result": self.held.pop(key), "changed": [], "views": []}

    def _function(self, name):
        function = getattr(self.module, name, None)
        if not callable(function):
            own = [key for key, value in vars(self.module).items() if callable(value)]
            there = ", ".join(own) or "none"
            raise AttributeError(f"there is no function {name} in the file; its functions: {there}")
        return function

    def _asker(self, number):
        """A function of the grader's, as the submission sees it."""

        def ask(*arguments):
            self._write(wire.encode({"ask": number, "arguments": list(arguments)}))
            answer = self._read()
            if "refused" in answer:
                raise TypeError(answer["refused"])
            return answer["answer"]

        return ask

    def _told(self, error):
        lines = [
            frame.lineno for frame in traceback.extract_tb(error.__traceback__) if self._own(frame)
        ]
        if isinstance(error, SyntaxError) and os.path.basename(error.filename or "") == CODE:
            lines.append(error.lineno)
        try:
            text = str(error)[:2000]
        except Exception as another:
            text = f"its text cannot be had: {type(another).__name__}"
        return {"type": type(error).__name__, "text": text, "line": lines[-1] if lines else 0}

    @staticmethod
    def _own(frame):
        return os.path.basename(frame.filename) == CODE

    def _read(self):
        head = self._bytes(wire.LENGTHS.size)
        if head is None:
            return None
        tree, size = wire.lengths(head)
        return wire.decode(self._bytes(tree), self._bytes(size), self._asker)

    def _bytes(self, count):
        parts = bytearray()
        while len(parts) < count:
            part = os.read(self.requests, min(count - len(parts), 1 << 20))
            if not part:
                return None
            parts += part
        return bytes(parts)

    def _write(self, frame):
        frame = memoryview(frame)
        while frame:
            frame = frame[os.write(self.replies, frame) :]


def _arrays(value, depth=0):
    """The arrays in an argument or a result: itself, or those in lists, tuples and dicts, as deep as is sent."""
    if isinstance(value, np.ndarray):
        yield value
    elif type(value) in (list, tuple, dict) and depth <= wire.DEEPEST:
        for part in value.values() if type(value) is dict else value:
            yield from _arrays(part, depth + 1)


def _same(now, then):
    """Whether an argument is what its copy was, also within lists, tuples and dicts."""
    if type(now) is not type(then):
        return False
    if isinstance(now, np.ndarray):
        return np.array_equal(now, then, equal_nan=now.dtype.kind in "fc")
    if type(now) in (list, tuple):
        return len(now) == len(then) and all(map(_same, now, then))
    if type(now) is dict:
        return now.keys() == then.keys() and all(_same(now[key], then[key]) for key in now)
    return now is then or now == then


def main():
    settings = json.loads(sys.argv[1])
    worker = Worker(settings["requests"], settings["replies"])
    in_force = confine.confine(os.getcwd(), **settings["limits"])
    worker._write(wire.encode({"in_force": in_force}))
    worker.serve()


if __name__ == "__main__":
    main()
