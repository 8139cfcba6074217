"""Several runs in one table: groups of seeds, and their differences seed by seed."""

from bnas.comparison.groups import Difference, Group, bootstrap_interval
from bnas.comparison.table import Comparison, compare, require_own_table

__all__ = [
    "Comparison",
    "Difference",
    "Group",
    "bootstrap_interval",
    "compare",
    "require_own_table",
]
