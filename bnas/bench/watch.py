"""Looking on while a step or a packed network computes: which kernels are called, and how long each takes.

What is put in place of our functions is taken away afterwards, whatever happens: nobody else pays for it.
"""

import sys
from contextlib import ExitStack, contextmanager
from time import perf_counter

from bnas.kernels import threads
from bnas.packed.plan import Plan


@contextmanager
def watched_tasks(see):
    """Within the body, see(kernel, arguments, seconds) after each call of `run_tasks`.

    arguments: those of the kernel, without the range of tasks. Modules that are imported for the first time
    within the body are not watched.
    """
    run_tasks = threads.run_tasks

    def run(kernel, work, tasks, *arguments):
        start = perf_counter()
        run_tasks(kernel, work, tasks, *arguments)
        see(kernel, arguments, perf_counter() - start)

    with ExitStack() as restore:
        for name, module in list(sys.modules.items()):
            if name.startswith("bnas.") and vars(module).get("run_tasks") is run_tasks:
                if module is not threads:
                    restore.callback(setattr, module, "run_tasks", run_tasks)
                    module.run_tasks = run
        yield


@contextmanager
def watched_plan(parts, see):
    """Within the body every Plan makes its calls part by part, and see(name, seconds) after each part.

    parts: pairs (name, range of calls), all calls of the plan in order. The seconds hold what Python does
    between two parts.
    """
    run_calls = Plan.run

    def run(plan):
        start = perf_counter()
        for name, calls in parts:
            run_calls(plan, calls)
            now = perf_counter()
            see(name, now - start)
            start = now

    Plan.run = run
    try:
        yield
    finally:
        del Plan.run  # and what it inherits is there again
