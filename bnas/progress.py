"""How far a run is: a bar in a terminal, a line an epoch in a log file."""

import sys
import time

from tqdm import tqdm

ESTIMATED = 2  # steps after which the time of a whole run can be told; the first may compile


def announce(what, end=" ..."):
    """Say in a line what begins and may take a while, where no bar moves."""
    print(f"{what}{end}", file=sys.stderr, flush=True)


class Progress:
    """A report for `bnas.runs.run`: phase, epoch, loss, accuracy, time left of the whole job.

    Args:
        job: has `epochs`, `steps` an epoch, and `config`.
        done: epochs done before, by a run that is resumed.
    """

    def __init__(self, job, done):
        self.steps, self.engine = job.steps, job.config.engine
        self.bar = tqdm(
            desc="starting (the first run compiles)" if done < job.epochs else "finished before",
            total=job.epochs * job.steps,
            initial=done * job.steps,
            dynamic_ncols=True,
            disable=None,  # None: where stderr is no terminal
            bar_format="{desc} {percentage:3.0f}%|{bar}| {elapsed}, {remaining} left{postfix}",
        )
        self.count, self.left = 0, (job.epochs - done) * job.steps
        self.started = time.perf_counter()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.bar.close()

    def step(self, label, loss, accuracy):
        """Called after every step with the epoch's label and the running means over it."""
        figures = f"loss {loss:.3f}, training accuracy {100 * accuracy:.1f} %"
        self.count += 1
        if self.engine == "plain" and self.count <= ESTIMATED:
            self._estimate()
        if self.bar.disable and self.count % self.steps == 0:
            print(f"{label}: {figures}", file=sys.stderr, flush=True)
        self.bar.set_description_str(label, refresh=False)
        self.bar.set_postfix_str(figures, refresh=False)
        self.bar.update()

    def note(self, text):
        """Print a line, above the bar where there is one."""
        tqdm.write(text, file=sys.stderr)

    def _estimate(self):
        """Say how long the plain engine will take, from its last step; a Child's takes up to twice as long."""
        now = time.perf_counter()
        seconds, self.started, left = now - self.started, now, self.left - self.count
        if self.count == ESTIMATED and left:
            print(
                f"engine plain: {seconds:.2g} s a step, so {_duration(left * seconds)} to "
                f"{_duration(2 * left * seconds)} for the {left} steps to come; --engine fused is faster",
                file=sys.stderr,
                flush=True,
            )


def _duration(seconds):
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
