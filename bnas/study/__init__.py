"""Is DCP-NAS better? Searches over the space of the table, compared with figures and tests.

statistics.py   regret, ranks, paired tests, anytime curves
experiments.py  what is asked: the experiments by name, from specs/
jobs.py         one search, as a job of a sweep
searches.py     what the searches found, looked up in the table
report.py       the page of an experiment
commands.py     `bnas reproduce`
"""

from bnas.study.experiments import experiment, names

__all__ = ["experiment", "names"]
