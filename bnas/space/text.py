"""Genotypes as text: what the literature prints, a run folder keeps and the command line takes.

Text is taken apart with `ast` and never evaluated.
"""

import ast

from bnas.errors import InputError
from bnas.runs.files import atomic_write
from bnas.space.genotype import Genotype, shorten, validate_genotype
from bnas.space.operations import COLLAPSED, WEIGHTLESS

HOW_TO_READ = """\
To read it: a line is a node, the sum of two operations on the states that their numbers name. 0 and 1 are
the outputs of the last cell but one and of the last cell, node 2 makes state 2, and so on."""
MAX_TEXT = 100_000  # characters; a genotype of 4 nodes takes about 600


def parse_genotype(text, own=()):
    """Read `Genotype(normal=[(op, predecessor), ...], normal_concat=..., reduce=..., ...)`.

    A `NAME =` before it is ignored, fields may be given by keyword or by position, and a concat
    may be a list or `range(2, 6)`, as the literature prints it. The text is taken apart with
    `ast` and never executed. own: as of `validate_genotype`. Raises InputError for anything else and for an
    invalid genotype.
    """
    if not isinstance(text, str):
        raise InputError(f"expected the text of a genotype, got {shorten(text)}")
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
    return validate_genotype(Genotype(**values), own)


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


def explain_genotype(genotype):
    """What a reader of `format_genotype` needs to know: how to read it, and how much of it learns nothing.

    It warns of a collapse, the known failure of differentiable search: skips and poolings, which have no
    weights, are good from the first step on and take the place of convolutions.
    """
    names = [name for name, _ in (*genotype.normal, *genotype.reduce)]
    idle = sum(name in WEIGHTLESS for name in names)
    lines = [
        HOW_TO_READ,
        f"Of {len(names)} operations, {idle} are skips and poolings, without weights.",
    ]
    if idle > COLLAPSED * len(names):
        lines.append(
            "Warning: that is a collapse. What such a network can do comes from its stem and from the 1x1\n"
            "convolutions at the inputs of its cells, which all genotypes have."
        )
    return "\n".join(lines)


def read_genotype(path, own=()):
    """The genotype in the text file `path`; InputError if there is none. own: as of `parse_genotype`."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(MAX_TEXT + 1)
    except OSError as error:
        raise InputError(f"cannot read the genotype file {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not a text file, so it holds no genotype") from None
    try:
        return parse_genotype(text, own)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def write_genotype(path, genotype):
    """Write the text of `genotype` to `path`, wholly or not at all; see `bnas.runs.atomic_write`.

    Raises InputError for an invalid genotype or a path that cannot be written.
    """
    atomic_write(path, format_genotype(genotype))
