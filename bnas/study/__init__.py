"""Is DCP-NAS better? Searches over the space of the table, compared with figures and tests.

statistics.py   regret, ranks, paired tests, anytime curves
experiments.py  what is asked: the experiments by name, from specs/
jobs.py         one search, as a job of a sweep
searches.py     what the searches found, looked up in the table; report.py has their page
ranking.py      how supernets rank architectures
optima.py       the objectives of Parent and Child over a plane of α
words.py        numbers and tables as the pages have them
commands.py     `bnas reproduce`
"""

from bnas.study.experiments import experiment, names

__all__ = ["experiment", "names"]
