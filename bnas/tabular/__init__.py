"""A table of every architecture of a small space, trained: search strategies compared in seconds.

space.py        the space, and which of its genotypes are one architecture
"""

from bnas.tabular.space import NODES, OPERATIONS, all_genotypes, architectures, canonical

__all__ = ["NODES", "OPERATIONS", "all_genotypes", "architectures", "canonical"]
