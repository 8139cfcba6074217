"""Sweeps: each result once, whoever computes it, and whatever is killed."""

import json
import os
import random
import signal
import time
from importlib.util import find_spec

import pytest
from helpers import sweep_jobs
from helpers.processes import PIPE, run_python, start_python

from bnas.errors import InputError
from bnas.sweeps import Counts, read_failures, read_results, run_jobs

WORK = "helpers.sweep_jobs:work"
needs_dask = pytest.mark.skipif(find_spec("distributed") is None, reason="needs Dask")
SERIAL, PROCESSES = {"workers": 0}, {"workers": 2, "scheduler": "processes"}
DASK = {"workers": 2, "scheduler": "dask"}
SLOW_PROCESSES = pytest.param(PROCESSES, id="processes", marks=pytest.mark.slow)
SLOW_DASK = pytest.param(DASK, id="dask", marks=[pytest.mark.slow, needs_dask])
HERE = pytest.param(SERIAL, id="here")
HERE_AND_IN_PROCESSES = pytest.mark.parametrize("how", [HERE, SLOW_PROCESSES])


def numbered(count, **more):
    return {f"job{i}": {"number": i, **more} for i in range(count)}


def ran(log):
    """The numbers of the jobs that ran, in that order."""
    return [int(line.split()[0]) for line in log.read_text().splitlines()] if log.exists() else []


@HERE_AND_IN_PROCESSES
def test_each_job_runs_once_and_leaves_a_file(tmp_path, how):
    log = tmp_path / "log"
    jobs = numbered(5, log=str(log))
    assert run_jobs(sweep_jobs.work, jobs, tmp_path / "sweep", **how) == Counts(5, 0, 0)
    results = read_results(tmp_path / "sweep", jobs)
    assert list(results) == list(jobs)
    for number, (key, record) in enumerate(results.items()):
        assert record["job"] == jobs[key] and record["result"]["third"] == number / 3
        assert record["seconds"] > 0 and {"bnas", "numpy", "numba"} <= record["versions"].keys()
    more = {**jobs, "another": {"number": 9, "log": str(log)}}
    assert run_jobs(WORK, more, tmp_path / "sweep", **how) == Counts(1, 5, 0)
    assert sorted(ran(log)) == [0, 1, 2, 3, 4, 9]


@HERE_AND_IN_PROCESSES
def test_failures_are_kept_with_their_error_and_tried_again(tmp_path, how):
    jobs = numbered(4)
    jobs["job1"]["raise"], jobs["job2"]["exit"] = "no such luck", "gone"
    assert run_jobs(WORK, jobs, tmp_path, **how) == Counts(2, 0, 2)
    failures = read_failures(tmp_path)
    assert {k: (r["error"]["type"], r["error"]["message"]) for k, r in failures.items()} == {
        "job1": ("ValueError", "no such luck"),
        "job2": ("SystemExit", "gone"),
    }
    assert failures["job1"]["job"] == jobs["job1"]
    assert "in work" in failures["job1"]["error"]["traceback"]
    jobs = numbered(4)
    assert run_jobs(WORK, jobs, tmp_path, **how) == Counts(2, 2, 0)
    assert read_failures(tmp_path) == {} and len(read_results(tmp_path, jobs)) == 4


@pytest.mark.parametrize(
    "kind, error", [("nan", "ValueError"), ("array", "TypeError"), ("list", "TypeError")]
)
def test_a_result_that_json_cannot_hold_is_a_failure(tmp_path, kind, error):
    run_jobs(sweep_jobs.bad, {"one": {"kind": kind}}, tmp_path, workers=0)
    assert read_failures(tmp_path)["one"]["error"]["type"] == error


@pytest.mark.slow
@pytest.mark.parametrize("how", [SLOW_PROCESSES, SLOW_DASK])
def test_a_job_that_kills_its_worker_is_a_failure_and_the_rest_is_done(tmp_path, how):
    jobs = numbered(5, log=str(tmp_path / "log"))
    jobs["job1"]["die"], jobs["job3"]["die"] = "always", "once"
    assert run_jobs(WORK, jobs, tmp_path, **how) == Counts(4, 0, 1)
    assert read_failures(tmp_path)["job1"]["error"]["type"] == "Died"
    times = ran(tmp_path / "log")
    assert {number: times.count(number) for number in (0, 1, 3)} == {0: 1, 1: 2, 3: 2}
    for record in read_results(tmp_path).values():  # one thread, from the start and in the job
        assert record["result"]["threads"] == [1, 1, 1]


def test_a_job_here_computes_on_one_thread(tmp_path, two_threads):
    run_jobs(sweep_jobs.threads, {"one": {}}, tmp_path, workers=0)
    found = read_results(tmp_path)["one"]["result"]
    assert (found["numba"], found["blas"], found["process"]) == (1, 1, os.getpid())


@pytest.mark.parametrize("how", [SLOW_PROCESSES, SLOW_DASK])
def test_the_environment_is_as_it_was(tmp_path, monkeypatch, how):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    before = dict(os.environ)
    jobs = numbered(2, log=str(tmp_path / "log"))
    jobs["job1"]["die"] = "once"  # its worker is started anew
    assert run_jobs(WORK, jobs, tmp_path, **how) == Counts(2, 0, 0)
    assert dict(os.environ) == before


@pytest.mark.slow
def test_the_first_job_runs_alone_unless_others_warm_up(tmp_path):
    log = tmp_path / "log"
    jobs = numbered(3, log=str(log), sleep=0.1)
    run_jobs(WORK, jobs, tmp_path / "a", **PROCESSES)
    assert ran(log)[0] == 0
    processes = [line.split()[1] for line in log.read_text().splitlines()]
    assert processes[0] in processes[1:]  # the process that has it all compiled is used again
    log.unlink()
    warm = [{"number": 7, "log": str(log)}, {"number": 8, "log": str(log), "raise": "whatever"}]
    assert run_jobs(WORK, jobs, tmp_path / "b", **PROCESSES, warm=warm) == Counts(3, 0, 0)
    assert ran(log)[:2] == [7, 8] and sorted(ran(log)[2:]) == [0, 1, 2]
    assert (
        read_results(tmp_path / "b").keys() == jobs.keys() and read_failures(tmp_path / "b") == {}
    )


def test_a_folder_with_the_results_of_other_jobs_is_refused(tmp_path):
    run_jobs(WORK, numbered(2), tmp_path, workers=0)
    with pytest.raises(InputError, match=r"job1.json .* another job \(number: 1 there, 5 now\)"):
        run_jobs(WORK, {"job1": {"number": 5}}, tmp_path, workers=0)
    assert read_results(tmp_path)["job1"]["job"] == {"number": 1}


@pytest.mark.parametrize("text", ["", "{", '{"job": {}}', "[]"])
def test_a_damaged_result_is_named(tmp_path, text):
    run_jobs(WORK, numbered(1), tmp_path, workers=0)
    (tmp_path / "results/job0.json").write_text(text)
    with pytest.raises(InputError, match="job0.json"):
        run_jobs(WORK, numbered(1), tmp_path, workers=0)


def test_what_a_kill_left_half_written_is_removed(tmp_path):
    run_jobs(WORK, numbered(1), tmp_path, workers=0)
    (tmp_path / "results/.job1.json.12-34.tmp").write_text('{"job"')
    run_jobs(WORK, numbered(2), tmp_path, workers=0)
    assert sorted(p.name for p in (tmp_path / "results").iterdir()) == ["job0.json", "job1.json"]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"jobs": {"a/b": {}}}, "'a/b' names no job"),
        ({"jobs": {".a": {}}}, "names no job"),
        ({"jobs": {"": {}}}, "names no job"),
        ({"jobs": {"a": {}, "A": {}}}, "a and A are one file"),
        ({"function": "helpers.sweep_jobs:wrok"}, "there is no function 'helpers.sweep_jobs:wrok'"),
        ({"function": "helpers.nothing:work"}, "there is no function"),
        ({"function": "work"}, "there is no function 'work'"),
        ({"function": lambda job: job}, "expected a function at the top of a module"),
        ({"workers": -1}, "workers must be a whole number"),
        ({"workers": 1.5}, "workers must be a whole number"),
        ({"scheduler": "slurm"}, "must be processes, dask, or the address"),
        ({"scheduler": "tcp://127.0.0.1:1", "workers": 2}, "is for this machine"),
        ({"scheduler": "dask", "client": object()}, "got both"),
    ],
)
def test_what_cannot_be_run_is_told(tmp_path, change, message):
    given = {"function": WORK, "jobs": {"a": {}}, "folder": tmp_path / "sweep", **change}
    with pytest.raises(InputError, match=message):
        run_jobs(**given)
    assert not (tmp_path / "sweep").exists()


# Kills

SWEEP = f"""
import json, sys
from bnas.sweeps import run_jobs
if __name__ == "__main__":
    folder, jobs, how = sys.argv[1], *map(json.loads, sys.argv[2:])
    print(run_jobs("{WORK}", jobs, folder, **how).done)
"""


def start_sweep(folder, jobs, how, **options):
    """A process that runs a sweep, from a script."""
    script = folder.with_suffix(".py")
    script.write_text(SWEEP)
    path = {"PYTHONPATH": str(os.path.dirname(os.path.dirname(sweep_jobs.__file__)))}
    arguments = script, folder, json.dumps(jobs), json.dumps(how)
    return start_python(*arguments, environment={**os.environ, **path}, **options)


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def results_in(folder):
    return {path.name for path in (folder / "results").glob("[!.]*.json")}


def alive(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
def test_killed_at_twenty_points_no_job_is_lost_and_none_is_done_twice(tmp_path):
    folder, log, points = tmp_path / "sweep", tmp_path / "log", 20
    jobs, rng = numbered(6 * points, log=str(log), sleep=0.002), random.Random(0)
    for point in range(points):
        before, logged = results_in(folder), len(ran(log))
        how = PROCESSES if point % 4 == 0 else SERIAL  # those take longer to start
        with start_sweep(folder, jobs, how) as process:
            wait_for(lambda: len(results_in(folder)) > len(before))  # noqa: B023
            time.sleep(rng.uniform(0, 0.01))
            process.kill()
        assert before < results_in(folder), f"nothing new before kill {point}"
        again = {f"job{number}.json" for number in ran(log)[logged:]} & before
        assert not again, f"done again after kill {point}: {again}"
    finished, logged = results_in(folder), len(ran(log))
    with start_sweep(folder, jobs, PROCESSES) as process:
        assert int(process.communicate(timeout=60)[0]) == len(jobs) - len(finished)
    assert len(ran(log)) - logged == len(jobs) - len(finished)
    results = read_results(folder, jobs)
    assert len(results) == len(jobs)
    assert all(r["result"]["third"] == r["job"]["number"] / 3 for r in results.values())
    workers = {int(line.split()[1]) for line in log.read_text().splitlines()}
    wait_for(lambda: not any(map(alive, workers)))  # none outlives the sweep that was killed


@pytest.mark.slow
@pytest.mark.parametrize(
    "how",
    [SERIAL, PROCESSES, pytest.param(DASK, marks=needs_dask)],
    ids=["here", "processes", "dask"],
)
def test_ctrl_c_stops_all_and_keeps_what_is_done(tmp_path, how):
    folder, log = tmp_path / "sweep", tmp_path / "log"
    jobs = numbered(2, log=str(log)) | {"long": {"number": 2, "log": str(log), "sleep": 300}}
    with start_sweep(folder, jobs, how, start_new_session=True) as process:
        wait_for(lambda: len(results_in(folder)) == 2 and 2 in ran(log))
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all processes
        _, errors = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT and errors.count("Traceback") == 1, errors
    workers = {int(line.split()[1]) for line in log.read_text().splitlines()}
    wait_for(lambda: not any(map(alive, workers)))
    assert results_in(folder) == {"job0.json", "job1.json"}


@pytest.mark.slow
def test_two_sweeps_do_not_share_a_folder(tmp_path):
    pytest.importorskip("fcntl", reason="no locks on this platform")
    folder, log = tmp_path / "sweep", tmp_path / "log"
    with start_sweep(folder, numbered(1, log=str(log), sleep=60), SERIAL) as process:
        wait_for(lambda: ran(log))
        with pytest.raises(InputError, match="another process is writing to .*sweep"):
            run_jobs(WORK, numbered(1), folder, workers=0)
        process.kill()
    assert run_jobs(WORK, numbered(1), folder, workers=0) == Counts(1, 0, 0)


@pytest.mark.slow
def test_a_script_without_a_guard_is_told_so(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from bnas.sweeps import run_jobs\n"
        f"run_jobs('platform:node', {{'a': {{}}}}, {str(tmp_path)!r}, workers=1, scheduler='processes')\n"
    )
    done = run_python(script)
    assert done.returncode == 1 and '__name__ == "__main__"' in done.stderr.splitlines()[-1]


# Dask


@pytest.fixture(scope="module")
def cluster():
    """A Dask cluster that another program has started, whose workers set no threads."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
    ) as found:
        yield found


@pytest.mark.slow
@needs_dask
def test_a_scheduler_and_a_client_are_used_and_left_running(tmp_path, cluster):
    from distributed import Client

    address = cluster.scheduler_address
    run_jobs(sweep_jobs.threads, {"a": {}}, tmp_path / "a", scheduler=address)
    with Client(address, set_as_default=False) as client:
        run_jobs(sweep_jobs.threads, {"a": {}}, tmp_path / "b", client=client)
        assert client.submit(os.getpid).result()
    a, b = (read_results(tmp_path / name)["a"]["result"] for name in "ab")
    assert a["process"] == b["process"] != os.getpid() and (a["numba"], a["blas"]) == (1, 1)


@needs_dask
@pytest.mark.slow
def test_no_scheduler_is_told(tmp_path):
    import dask

    with dask.config.set({"distributed.comm.timeouts.connect": "1s"}):
        with pytest.raises(InputError, match="no Dask scheduler answers at tcp://127.0.0.1:9 "):
            run_jobs(WORK, numbered(1), tmp_path, scheduler="tcp://127.0.0.1:9")


@needs_dask
@pytest.mark.slow
def test_a_scheduler_that_goes_away_ends_the_sweep(tmp_path):
    folder, log = tmp_path / "sweep", tmp_path / "log"
    jobs = numbered(1) | {"long": {"number": 2, "log": str(log), "sleep": 300}}
    starter = (
        "from distributed import LocalCluster\n"
        "if __name__ == '__main__':\n"
        "    cluster = LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None)\n"
        "    print(cluster.scheduler_address, flush=True)\n    input()\n"
    )
    script = tmp_path / "cluster.py"
    script.write_text(starter)
    tests = {"PYTHONPATH": os.path.dirname(os.path.dirname(sweep_jobs.__file__))}
    with start_python(script, stdin=PIPE, environment={**os.environ, **tests}) as scheduler:
        address = scheduler.stdout.readline().strip()
        with start_sweep(folder, jobs, {"scheduler": address}) as process:
            wait_for(lambda: ran(log))
            scheduler.kill()
            _, errors = process.communicate(timeout=120)
    assert "InputError: the Dask scheduler has gone" in errors.splitlines()[-1]
    assert results_in(folder) == {"job0.json"}
