"""Genotypes: the architecture of a cell as plain data, in the format of DARTS.

A genotype says, for every intermediate node of the normal and of the reduction cell, which two
earlier states it reads and through which operations. This module names the operations, reads and
writes genotypes as text (never by evaluating it), holds the published ones, and turns the
architecture logits alpha of a search into a genotype.
"""

import ast
import difflib
import math
import operator
import os
from typing import NamedTuple

import numpy as np

from bnas.errors import InputError

# The search space: axis M of alpha, in this order (section 4.4 of the book).
PRIMITIVES = (
    "none",
    "skip_connect",
    "dil_conv_3x3",
    "dil_conv_5x5",
    "max_pool_3x3",
    "avg_pool_3x3",
    "sep_conv_3x3",
    "sep_conv_5x5",
)

# Two more are never searched over, but NASNet and AmoebaNet use them.
OPERATIONS = PRIMITIVES + ("sep_conv_7x7", "conv_7x1_1x7")

MAX_TEXT = 100_000  # characters; a genotype of 4 nodes takes about 600


class Genotype(NamedTuple):
    """The two cells of a network.

    `normal` and `reduce` hold two pairs (operation, predecessor) per intermediate node, node
    after node. States 0 and 1 are the outputs of the last but one and of the last cell, state
    j + 2 is the j-th intermediate node. `normal_concat` and `reduce_concat` list the states whose
    channels are concatenated into the cell's output.
    """

    normal: tuple[tuple[str, int], ...]
    normal_concat: tuple[int, ...]
    reduce: tuple[tuple[str, int], ...]
    reduce_concat: tuple[int, ...]


def edges(nodes):
    """The edges (i, j), from state i to state j, in the order of axis E of alpha.

    `nodes` is the number of intermediate nodes; node 2 comes first with i = 0, 1, then node 3
    with i = 0, 1, 2, and so on: 14 edges for 4 nodes.
    """
    return tuple((i, j) for j in range(2, nodes + 2) for i in range(j))


def number_of_nodes(edge_count):
    """The number of intermediate nodes n of a cell with `edge_count` = n (n + 3) / 2 edges.

    Raises ValueError if no cell has that many edges.
    """
    nodes = (math.isqrt(9 + 8 * max(edge_count, 0)) - 3) // 2
    if nodes < 1 or nodes * (nodes + 3) // 2 != edge_count:
        raise ValueError(
            f"no cell has {edge_count} edges: 1, 2, 3, 4, 5, ... nodes have 2, 5, 9, 14, 20, ..."
        )
    return nodes


def validate_operations(operations):
    """`operations` as a tuple, if it can be a search space; InputError if not.

    It can if it holds distinct names, at least one of them other than `none`.
    """
    if isinstance(operations, str) or not all(isinstance(name, str) for name in operations):
        raise InputError(f"operations must be a tuple of names, got {_shorten(operations)}")
    operations = tuple(operations)
    twice = [name for k, name in enumerate(operations) if name in operations[:k]]
    if twice:
        raise InputError(f"operations lists {twice[0]!r} twice: every name must be another")
    if set(operations) <= {"none"}:
        raise InputError(
            f"operations are {operations}: expected at least one other than 'none' to keep"
        )
    return operations


def discretise(alpha, operations=PRIMITIVES):
    """The genotype that the architecture logits `alpha` stand for.

    Every node keeps the two incoming edges whose strongest operation other than `none` weighs
    most after the softmax of its edge, and on each of them that operation (Liu et al., DARTS,
    section 2.4). Of equals, the edge or operation with the lower index wins. The pairs of a node
    are ordered by predecessor, and the output concatenates all intermediate nodes.

    alpha: (2, E, M), any real dtype; cell 0 is normal, cell 1 the reduction cell. operations: the
    M names of the search space in the order of alpha's last axis; `none` may stand anywhere or be
    absent. Raises ValueError for another shape, NaN or infinity, InputError for repeated names or
    none other than `none`.
    """
    operations = validate_operations(operations)
    alpha = np.asarray(alpha, dtype=np.float64)
    if alpha.ndim != 3 or alpha.shape[0] != 2 or alpha.shape[2] != len(operations):
        raise ValueError(f"alpha has shape {alpha.shape}, expected (2, E, {len(operations)})")
    if not np.isfinite(alpha).all():
        raise ValueError("alpha holds NaN or infinity: the search that made it has diverged")
    nodes = number_of_nodes(alpha.shape[1])
    normal, reduce = (_strongest_pairs(logits, nodes, operations) for logits in alpha)
    concat = tuple(range(2, nodes + 2))
    return Genotype(normal, concat, reduce, concat)


def _strongest_pairs(logits, nodes, operations):
    """Two pairs (operation, predecessor) per node for the logits (E, M) of one cell."""
    # Logarithms, because small weights would underflow to equal zeros; sorted before the sum, so
    # that edges with the same logits in another order get the same weight to the last bit.
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_total = np.log(np.exp(np.sort(shifted, axis=1)).sum(axis=1))
    kept = np.array([m for m, operation in enumerate(operations) if operation != "none"])
    best = kept[shifted[:, kept].argmax(axis=1)]
    log_weight = np.take_along_axis(shifted, best[:, None], axis=1)[:, 0] - log_total

    pairs = []
    first = 0  # of the edges into this node
    for j in range(2, nodes + 2):
        by_weight = np.argsort(-log_weight[first : first + j], kind="stable")
        pairs += [(operations[best[first + i]], int(i)) for i in sorted(by_weight[:2])]
        first += j
    return tuple(pairs)


def validate_genotype(genotype):
    """`genotype` with its lists and ranges made tuples, or an InputError that says what is wrong.

    Wrong are: anything but four fields, an unknown operation or `none`, an odd number of pairs,
    a predecessor that does not come before its node, a concatenated state that is not an
    intermediate node or is listed twice, and empty cells.
    """
    if not isinstance(genotype, (tuple, list)) or len(genotype) != len(Genotype._fields):
        raise InputError(
            f"expected Genotype({', '.join(Genotype._fields)}), got {_shorten(genotype)}"
        )
    genotype = Genotype(*genotype)
    normal = _validate_pairs("normal", genotype.normal)
    reduce = _validate_pairs("reduce", genotype.reduce)
    return Genotype(
        normal,
        _validate_concat("normal_concat", genotype.normal_concat, len(normal) // 2),
        reduce,
        _validate_concat("reduce_concat", genotype.reduce_concat, len(reduce) // 2),
    )


def _validate_pairs(field, pairs):
    if not isinstance(pairs, (tuple, list)):
        raise InputError(
            f"{field} must be a list of (operation, predecessor) pairs, got {_shorten(pairs)}"
        )
    if len(pairs) == 0 or len(pairs) % 2:
        raise InputError(
            f"{field} has {len(pairs)} pairs: every node needs two, so expected 2, 4, 6, ..."
        )
    valid = []
    for k, pair in enumerate(pairs):
        where = f"{field}[{k}]"
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise InputError(
                f"{where} must be a pair (operation, predecessor), got {_shorten(pair)}"
            )
        operation, predecessor = pair[0], _integer(f"the predecessor of {where}", pair[1])
        _check_operation(where, operation)
        if not 0 <= predecessor <= k // 2 + 1:
            raise InputError(
                f"{where} reads state {_shorten(predecessor)}, but node {k // 2 + 2} "
                f"can only read the states 0 to {k // 2 + 1} before it"
            )
        valid.append((operation, predecessor))
    return tuple(valid)


def _check_operation(where, operation):
    if not isinstance(operation, str):
        raise InputError(
            f"the operation of {where} must be a name in quotes, got {_shorten(operation)}"
        )
    if operation == "none":
        raise InputError(f"{where} is 'none': a genotype keeps only edges that carry something")
    if operation not in OPERATIONS:
        known = OPERATIONS[1:]
        nearest = difflib.get_close_matches(operation[:40], known, n=1)
        hint = f" (did you mean {nearest[0]!r}?)" if nearest else ""
        raise InputError(
            f"{where} has the unknown operation {_shorten(operation)}{hint}; "
            f"known are {', '.join(known)}"
        )


def _validate_concat(field, states, nodes):
    if not isinstance(states, (tuple, list, range)):
        raise InputError(
            f"{field} must be a list of states or range(first, last + 1), got {_shorten(states)}"
        )
    valid = []
    for state in states:  # stops at the first bad one, so that no huge range is ever stored
        state = _integer(f"an entry of {field}", state)
        if not 2 <= state <= nodes + 1:
            raise InputError(
                f"{field} lists state {_shorten(state)}, but the intermediate nodes "
                f"are the states 2 to {nodes + 1}"
            )
        if state in valid:
            raise InputError(f"{field} lists state {state} twice")
        valid.append(state)
    if not valid:
        raise InputError(f"{field} is empty: the cell would have no output")
    return tuple(valid)


def _integer(what, value):
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise InputError(f"{what} must be an integer, got {_shorten(value)}") from None


def _shorten(value):
    """`repr(value)` cut to a length that fits into an error message."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of too many digits, or too deep a nesting
        return f"<{type(value).__name__} too large to print>"
    return text if len(text) <= 60 else text[:57] + "..."


def parse_genotype(text):
    """Read `Genotype(normal=[(op, predecessor), ...], normal_concat=..., reduce=..., ...)`.

    A `NAME =` before it is ignored, fields may be given by keyword or by position, and a concat
    may be a list or `range(2, 6)`, as the literature prints it. The text is taken apart with
    `ast` and never executed. Raises InputError for anything else and for an invalid genotype.
    """
    if not isinstance(text, str):
        raise InputError(f"expected the text of a genotype, got {_shorten(text)}")
    if len(text) > MAX_TEXT:
        raise InputError(
            f"a text of {len(text)} characters is not a genotype: expected at most {MAX_TEXT}"
        )
    try:
        statements = ast.parse(text.strip()).body
    except SyntaxError as error:
        raise InputError(
            f"the genotype is not valid syntax: {error.msg} (line {error.lineno or 1})"
        ) from None
    except (ValueError, RecursionError, MemoryError):  # null bytes, or too deep a nesting
        raise InputError("the genotype is not valid syntax") from None

    call = _only_call(statements)
    if len(call.args) > len(Genotype._fields):
        raise InputError(f"Genotype takes {len(Genotype._fields)} fields, got {len(call.args)}")
    fields = list(zip(Genotype._fields, call.args))
    fields += [(keyword.arg, keyword.value) for keyword in call.keywords]
    values = {}
    for name, node in fields:
        if name not in Genotype._fields:
            raise InputError(
                f"Genotype has no field {name or '**'!r}; "
                f"its fields are {', '.join(Genotype._fields)}"
            )
        if name in values:
            raise InputError(f"the genotype gives {name} twice")
        values[name] = _literal(name, node)
    missing = [name for name in Genotype._fields if name not in values]
    if missing:
        raise InputError(f"the genotype lacks {', '.join(missing)}")
    return validate_genotype(Genotype(**values))


def _only_call(statements):
    """The call node of the one statement `Genotype(...)` or `NAME = Genotype(...)`."""
    if len(statements) == 1:
        statement = statements[0]
        named = isinstance(statement, ast.Assign) and (
            len(statement.targets) == 1 and isinstance(statement.targets[0], ast.Name)
        )
        if named or isinstance(statement, ast.Expr):
            call = statement.value
            if (
                isinstance(call, ast.Call)
                and isinstance(call.func, ast.Name)
                and call.func.id == "Genotype"
            ):
                return call
    raise InputError(
        "expected one Genotype(normal=[...], normal_concat=[...], reduce=[...], "
        "reduce_concat=[...]) and nothing else"
    )


def _literal(field, node):
    """The value of a literal, or of `range` with literal integers; nothing else is understood."""
    try:
        is_range = (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "range"
            and not node.keywords
        )
        if is_range:
            return range(*(ast.literal_eval(argument) for argument in node.args))
        return ast.literal_eval(node)
    except (ValueError, TypeError, RecursionError, MemoryError):
        raise InputError(
            f"{field} must be written out as a list of literals"
            f"{' or range(first, last + 1)' if 'concat' in field else ''}"
        ) from None


def format_genotype(genotype):
    """The genotype as text of one line per node, which `parse_genotype` reads back."""
    genotype = validate_genotype(genotype)
    lines = ["Genotype("]
    for cell in ("normal", "reduce"):
        pairs = getattr(genotype, cell)
        lines.append(f"    {cell}=[")
        for k in range(0, len(pairs), 2):
            (a, i), (b, j) = pairs[k : k + 2]
            lines.append(f'        ("{a}", {i}), ("{b}", {j}),  # node {k // 2 + 2}')
        lines.append("    ],")
        lines.append(f"    {cell}_concat={list(getattr(genotype, f'{cell}_concat'))},")
    return "\n".join(lines) + "\n)\n"


def read_genotype(path):
    """The genotype in the text file `path`; InputError if there is none."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(MAX_TEXT + 1)
    except OSError as error:
        raise InputError(f"cannot read the genotype file {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not a text file, so it holds no genotype") from None
    try:
        return parse_genotype(text)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def write_genotype(path, genotype):
    """Write the text of `genotype` to `path`, replacing the file in one step.

    Raises InputError for an invalid genotype or a path that cannot be written.
    """
    text = format_genotype(genotype)
    unfinished = f"{os.fspath(path)}.{os.getpid()}.tmp"
    try:
        with open(unfinished, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(unfinished, path)
    except OSError as error:
        if os.path.exists(unfinished):
            os.remove(unfinished)
        raise InputError(f"cannot write the genotype file {path}: {error.strerror}") from None


def _cell(*pairs):
    """Pairs from words such as "sep_conv_3x3:0"."""
    words = (pair.split(":") for pair in pairs)
    return tuple((operation, int(predecessor)) for operation, predecessor in words)


# Facts from the literature: Liu et al., DARTS: Differentiable Architecture Search (ICLR 2019,
# arXiv 1806.09055), which also restates NASNet-A (Zoph et al., CVPR 2018) and AmoebaNet-A (Real et
# al., AAAI 2019) in this format.
PUBLISHED = {
    "DARTS_V1": Genotype(
        _cell(
            "sep_conv_3x3:1",
            "sep_conv_3x3:0",
            "skip_connect:0",
            "sep_conv_3x3:1",
            "skip_connect:0",
            "sep_conv_3x3:1",
            "sep_conv_3x3:0",
            "skip_connect:2",
        ),
        (2, 3, 4, 5),
        _cell(
            "max_pool_3x3:0",
            "max_pool_3x3:1",
            "skip_connect:2",
            "max_pool_3x3:0",
            "max_pool_3x3:0",
            "skip_connect:2",
            "skip_connect:2",
            "avg_pool_3x3:0",
        ),
        (2, 3, 4, 5),
    ),
    "DARTS_V2": Genotype(
        _cell(
            "sep_conv_3x3:0",
            "sep_conv_3x3:1",
            "sep_conv_3x3:0",
            "sep_conv_3x3:1",
            "sep_conv_3x3:1",
            "skip_connect:0",
            "skip_connect:0",
            "dil_conv_3x3:2",
        ),
        (2, 3, 4, 5),
        _cell(
            "max_pool_3x3:0",
            "max_pool_3x3:1",
            "skip_connect:2",
            "max_pool_3x3:1",
            "max_pool_3x3:0",
            "skip_connect:2",
            "skip_connect:2",
            "max_pool_3x3:1",
        ),
        (2, 3, 4, 5),
    ),
    "NASNet": Genotype(
        _cell(
            "sep_conv_5x5:1",
            "sep_conv_3x3:0",
            "sep_conv_5x5:0",
            "sep_conv_3x3:0",
            "avg_pool_3x3:1",
            "skip_connect:0",
            "avg_pool_3x3:0",
            "avg_pool_3x3:0",
            "sep_conv_3x3:1",
            "skip_connect:1",
        ),
        (2, 3, 4, 5, 6),
        _cell(
            "sep_conv_5x5:1",
            "sep_conv_7x7:0",
            "max_pool_3x3:1",
            "sep_conv_7x7:0",
            "avg_pool_3x3:1",
            "sep_conv_5x5:0",
            "skip_connect:3",
            "avg_pool_3x3:2",
            "sep_conv_3x3:2",
            "max_pool_3x3:1",
        ),
        (4, 5, 6),
    ),
    "AmoebaNet": Genotype(
        _cell(
            "avg_pool_3x3:0",
            "max_pool_3x3:1",
            "sep_conv_3x3:0",
            "sep_conv_5x5:2",
            "sep_conv_3x3:0",
            "avg_pool_3x3:3",
            "sep_conv_3x3:1",
            "skip_connect:1",
            "skip_connect:0",
            "avg_pool_3x3:1",
        ),
        (4, 5, 6),
        _cell(
            "avg_pool_3x3:0",
            "sep_conv_3x3:1",
            "max_pool_3x3:0",
            "sep_conv_7x7:2",
            "sep_conv_7x7:0",
            "avg_pool_3x3:1",
            "max_pool_3x3:0",
            "max_pool_3x3:1",
            "conv_7x1_1x7:0",
            "sep_conv_3x3:5",
        ),
        (3, 4, 6),
    ),
}
