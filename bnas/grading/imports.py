"""What a submission may import, read from its text before it is run.

The text is read in a process of its own, which this file is run in as a program: Python 3.10 itself ends in
the middle of a text that is nested deeply enough. What a submission imports while it runs, by other means than
the statement, is held by what confines its process.
"""

import ast
import subprocess
import sys

# NumPy, Numba, and of the standard library what has to do with computing.
ALLOWED = {
    "__future__",
    "abc",
    "bisect",
    "cmath",
    "collections",
    "copy",
    "dataclasses",
    "enum",
    "fractions",
    "functools",
    "heapq",
    "itertools",
    "math",
    "numba",
    "numbers",
    "numpy",
    "operator",
    "random",
    "statistics",
    "struct",
    "typing",
    "warnings",
}
FORBIDDEN = ("bnas",)
SECONDS = 60  # to read a text, on a busy machine


def refusal(content):
    """The first import that a submission may not have, as a text, or None; also what is no Python.

    content: of the file, bytes.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", __file__],
            input=content,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired:
        return f"Python did not finish reading the file within {SECONDS} s"
    if done.returncode:
        return "Python cannot read the file; something in it is nested too deeply"
    return done.stdout.decode() or None


def _first_forbidden(content):
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        return f"the file is not UTF-8: {error}"
    try:
        tree = ast.parse(
            content
        )  # bytes, as a mark of the encoding counts when they are imported, too
    except (SyntaxError, ValueError) as error:
        return f"line {getattr(error, 'lineno', 0)}: {error}"
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = ["." * node.level + (node.module or "")]
        for name in names:
            if name.partition(".")[0] not in ALLOWED:
                return (
                    f"line {node.lineno} imports {name[:50]}; allowed are NumPy, Numba and what the "
                    "standard library has for computing (math, itertools, functools, ...)"
                )
    return None


if __name__ == "__main__":
    found = _first_forbidden(sys.stdin.buffer.read()) or ""
    sys.stdout.buffer.write(found.encode("utf-8", "replace"))
