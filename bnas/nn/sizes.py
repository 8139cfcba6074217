"""What a Module costs to store, and where."""

import numpy as np

from bnas.nn.containers import ModuleList, Sequential
from bnas.nn.convolutions import Convolution, XnorConv2d
from bnas.nn.layers import BatchNorm1d, BatchNorm2d, Linear
from bnas.nn.module import Parameter, own_values

FLOAT_BITS = 32  # what a real-valued number costs in a stored network
_KINDS = {
    Convolution: "real convolutions",
    (BatchNorm1d, BatchNorm2d): "batch norms",
    Linear: "linear layers",
}


def size_in_bits(module):
    """Bits needed to store `module` for inference.

    A weight of a 1-bit convolution costs one bit, its scale β 32 bits for each output channel;
    everything else, running statistics included, 32 bits a number. What several parts share is stored once,
    and as 32 bits a number if one of them needs it so.
    """
    return sum(sum(kinds.values()) for kinds in bits_by_part(module).values())


def bits_by_part(module):
    """{part: {kind: bits}}: where the `size_in_bits` of `module` are.

    The parts are those that the module has itself, by their names; in place of a list of parts that have
    parts of their own (the cells of a network) its members; and "" for what belongs to the module itself.
    The kinds are "1-bit weights", "scales β", "real convolutions", "batch norms", "linear layers" and
    "other". What is shared counts where it comes first.
    """
    owners = {}
    for name, top in _parts(module):
        for part in top.modules():
            owners.setdefault(part, name)
    stored = {}  # {id of an array: (part, {kind: bits})}
    for part in module.modules():
        owner = owners.get(part, "")
        if isinstance(part, XnorConv2d) and part.binary_weights:
            w = part.weight
            kinds = {"1-bit weights": w.size, "scales β": FLOAT_BITS * w.shape[0]}
            stored.setdefault(id(w), (owner, kinds))
            continue
        kind = next((kind for types, kind in _KINDS.items() if isinstance(part, types)), "other")
        for _, value in own_values(part, (Parameter, np.ndarray)):
            first, _ = stored.get(id(value), (owner, None))
            stored[id(value)] = first, {kind: FLOAT_BITS * value.size}
    table = {}
    for owner, kinds in stored.values():
        row = table.setdefault(owner, {})
        for kind, bits in kinds.items():
            row[kind] = row.get(kind, 0) + bits
    return table


def _parts(module):
    """(name, Module) of what `bits_by_part` calls a part."""
    for name, child in module.named_children():
        members = child.named_children() if isinstance(child, (ModuleList, Sequential)) else []
        if any(member.children() for _, member in members):
            yield from ((f"{name}.{n}", member) for n, member in members)
        else:
            yield name, child
