"""The search space: operations, genotypes, the supernet and the network of a genotype, in plain NCHW.

These modules are the only definition of a network. They know nothing of how it is made fast:
`bnas.fused` compiles a network for training, `bnas.packed` for inference, both from outside.
"""

from bnas.config import PRIMITIVES
from bnas.space.baselines import random_genotype, skip_genotype
from bnas.space.genotype import Genotype, discretise, edges, validate_genotype
from bnas.space.network import Network
from bnas.space.operations import (
    BINARY,
    OPERATIONS,
    REAL,
    Operation,
    Precision,
    make_operation,
    register_operation,
    search_space,
)
from bnas.space.published import PUBLISHED
from bnas.space.supernet import Supernet
from bnas.space.text import (
    explain_genotype,
    format_genotype,
    parse_genotype,
    read_genotype,
    write_genotype,
)

__all__ = [
    "BINARY",
    "OPERATIONS",
    "PRIMITIVES",
    "PUBLISHED",
    "REAL",
    "Genotype",
    "Network",
    "Operation",
    "Precision",
    "Supernet",
    "discretise",
    "edges",
    "explain_genotype",
    "format_genotype",
    "make_operation",
    "parse_genotype",
    "random_genotype",
    "read_genotype",
    "register_operation",
    "search_space",
    "skip_genotype",
    "validate_genotype",
    "write_genotype",
]
