"""A table of every architecture of a small space, trained: search strategies compared in seconds.

space.py        the space, and which of its genotypes are one architecture
entries.py      the trainings of the table: their settings, and how one is done
costs.py        what a network costs, without training
build.py        all of them, written to files
files.py        the table on disk
table.py        questions to it
simulate.py     strategies that ask it instead of training
statistics.py   what it can tell: spread, noise, who ranks alike
"""

from bnas.tabular.simulate import BudgetSpent, Simulation, Trajectory, simulate
from bnas.tabular.space import NODES, OPERATIONS, all_genotypes, architectures, canonical
from bnas.tabular.statistics import Landscape, landscape, ndcg, rank_correlation
from bnas.tabular.table import Costs, Entry, Table, load

__all__ = [
    "NODES",
    "OPERATIONS",
    "BudgetSpent",
    "Costs",
    "Landscape",
    "Entry",
    "Simulation",
    "Table",
    "Trajectory",
    "all_genotypes",
    "architectures",
    "canonical",
    "landscape",
    "load",
    "ndcg",
    "rank_correlation",
    "simulate",
]
