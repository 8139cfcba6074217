"""`sweep`, which is `bnas.sweep`, and the Sweep that it returns."""

from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

from bnas.errors import InputError, argument
from bnas.sweeps.engine import read_failures, read_results, run_jobs
from bnas.sweeps.jobs import warm_up
from bnas.sweeps.spec import Spec, key_of, read_spec


@dataclass(frozen=True)
class Sweep:
    """What a sweep has come to.

    Attributes:
        folder: where it is, a Path.
        spec: bnas.sweeps.spec.Spec.
        results: {key: {"job", "result", "seconds", "versions", "host"}}; a key is NAME-seedSEED.
        failures: {key: {"job", "error", ...}}, "error" with "type", "message" and "traceback".
    """

    folder: Path
    spec: Spec
    results: dict
    failures: dict

    def values(self, name, figure):
        """{seed: the figure} of the configuration `name`, such as "test_accuracy", where there is one.

        The figures of a search that trains what it found are those of that training, but for
        "validation_accuracy", which is that of the search.
        """
        found = {}
        for seed in self.spec.seeds:
            record = self.results.get(key_of(name, seed))
            if record is not None:
                result = record["result"]
                value = {**(result.get("training") or {}), **result}.get(figure)
                if value is not None:
                    found[seed] = value
        return found

    def __str__(self):
        """A table: of each configuration the seeds done, mean ± standard deviation, and failures."""
        names = self.spec.configurations
        wide = max(map(len, ("configuration", *names)))
        lines = [f"{'configuration':<{wide}}  seeds  {'validation':>14}  {'test':>14}  failed"]
        for name in names:
            keys = [key_of(name, seed) for seed in self.spec.seeds]
            done = sum(key in self.results for key in keys)
            failed = sum(key in self.failures for key in keys)
            shares = [_spread(self.values(name, f"{s}_accuracy")) for s in ("validation", "test")]
            lines.append(
                f"{name:<{wide}}  {done:>5}  {shares[0]:>14}  {shares[1]:>14}  {failed or '-':>6}"
            )
        return "\n".join(lines)


def _spread(values):
    """Mean ± standard deviation over seeds, in per cent."""
    shares = [100 * value for value in values.values()]
    if len(shares) < 2:
        return f"{shares[0]:.2f} %" if shares else "-"
    return f"{mean(shares):.2f} ± {stdev(shares):.2f} %"


def sweep(spec, folder=None, workers=None, scheduler=None, client=None, progress=True):
    """Search or train every configuration of a sweep with every seed, on many workers.

    What is finished in the folder is not done again, so the same call goes on after a kill; with more seeds or
    more configurations, it does what is missing.

    Args:
        spec: path of a TOML file, or a dict that holds the same; docs/sweeps.md describes it.
        folder: for the results; that of the file without .toml unless given.
        workers, scheduler, client, progress: as for `bnas.sweeps.run_jobs`.

    Returns:
        Sweep.

    Raises:
        InputError: the spec has a mistake, the folder belongs to another sweep, or another process is at it; and
            what `run_jobs` raises.
    """
    folder, checked = folder_of(spec, folder), read_spec(spec)
    jobs = checked.jobs
    if (folder / "results").is_dir():
        others = sorted(read_results(folder).keys() - jobs.keys())
        if others:
            raise InputError(
                f"{folder} holds results of another sweep ({others[0]}, ...), which the spec given lacks; "
                "choose another folder with ",
                argument("out"),
            )
    function = f"bnas.sweeps.jobs:{checked.kind}"
    warm = warm_up(jobs.values())
    run_jobs(function, jobs, folder, workers, scheduler, client, warm, progress)
    return load(checked, folder)


def load(spec, folder):
    """The Sweep in a folder as it is now, finished or not; spec: a Spec."""
    jobs, folder = spec.jobs, Path(folder)
    results = read_results(folder, jobs)
    failures = {
        key: record
        for key, record in read_failures(folder).items()
        if key in jobs and key not in results
    }
    return Sweep(folder, spec, results, failures)


def folder_of(spec, folder):
    """The folder of a sweep: `folder`, or that of the file of the spec without .toml."""
    if folder is not None:
        return Path(folder)
    if isinstance(spec, dict):
        raise InputError("a sweep from a dict needs a folder for its results; give one")
    if not Path(spec).suffix:
        raise InputError(f"{spec}: expected a file that ends in .toml, or a folder for the results")
    return Path(spec).with_suffix("")
