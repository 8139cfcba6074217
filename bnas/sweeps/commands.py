"""What `bnas sweep` does: a function of the options that bnas.options has read."""

import sys

from bnas.sweeps.spec import read_spec
from bnas.sweeps.sweep import folder_of
from bnas.sweeps.sweep import sweep as run_sweep


def sweep(options):
    """Run a sweep, or list its jobs.

    Returns the exit status: 1 if jobs failed.
    """
    folder = folder_of(options.spec, options.out)
    if options.dry_run:
        spec = read_spec(options.spec)
        print(*spec.jobs, sep="\n")
        print(
            f"{len(spec.jobs)} jobs: {len(spec.configurations)} configurations, {len(spec.seeds)} seeds; "
            f"results would go into {folder}",
            file=sys.stderr,
        )
        return 0
    found = run_sweep(options.spec, folder, options.workers, options.scheduler)
    print(found)
    print(f"\nThe results are in {folder / 'results'}.")
    for key, record in found.failures.items():
        error = record["error"]
        line = f"{error['type']}: {error['message']}".splitlines()[0]
        print(f"{key} failed: {line:.200}", file=sys.stderr)
    if found.failures:
        print(
            f"{folder / 'failures'} tells more; the same command tries them again", file=sys.stderr
        )
    return int(bool(found.failures))
