"""Ctrl-C at chosen places of the code, one after another."""

import sys
from itertools import count


def interrupted_at_every_line(action, *modules):
    """Call `action` again and again, with a KeyboardInterrupt before the first line, the second and so on.

    Lines are counted as this thread executes them in the files of `modules`, which should hold no `with lock:`,
    since its end counts as a line, before which no real Ctrl-C arrives. Yields after each call that the
    interrupt ended; a call that ends otherwise raises what it raises. Stops where action() has no more lines.
    """
    files = {module.__file__ for module in modules}
    for number in count(1):
        if not _interrupted(action, number, files):
            assert number > 1, "not one line was executed"
            return
        yield number


def _interrupted(action, number, files):
    left = number

    def trace(frame, event, _):
        nonlocal left
        if frame.f_code.co_filename not in files:
            return None
        if event == "line":
            left -= 1
            if left == 0:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        action()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    assert left > 0, f"the interrupt before line {number} was swallowed"
    return False
