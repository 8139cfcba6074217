"""How far a run is, for who waits for it: a bar in a terminal, a line an epoch in a log file."""

import sys

from tqdm import tqdm


class Progress:
    """A report for `bnas.runs.jobs.run`: phase, epoch, loss, accuracy, time left of the whole job.

    Args:
        job: has `epochs` and `steps` an epoch.
        done: epochs done before, by a run that is resumed.
    """

    def __init__(self, job, done):
        self.steps = job.steps
        self.bar = tqdm(
            desc="starting (the first run compiles)" if done < job.epochs else "finished before",
            total=job.epochs * job.steps, initial=done * job.steps,
            dynamic_ncols=True, disable=None,  # None: where stderr is no terminal
            bar_format="{desc} {percentage:3.0f}%|{bar}| {elapsed}, {remaining} left{postfix}",
        )  # fmt: skip
        self.count = 0

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.bar.close()

    def step(self, label, loss, accuracy):
        """Called after every step with the epoch's label and the running means over it."""
        figures = f"loss {loss:.3f}, accuracy {100 * accuracy:.1f} %"
        self.count += 1
        if self.bar.disable and self.count % self.steps == 0:
            print(f"{label}: {figures}", file=sys.stderr, flush=True)
        self.bar.set_description_str(label, refresh=False)
        self.bar.set_postfix_str(figures, refresh=False)
        self.bar.update()
