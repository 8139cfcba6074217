"""What a Module costs: bits to store, and where; multiply-adds to compute."""

from functools import partial

import numpy as np

from bnas.autodiff import no_grad
from bnas.nn.containers import ModuleList, Sequential
from bnas.nn.convolutions import Convolution, XnorConv2d
from bnas.nn.layers import BatchNorm1d, BatchNorm2d, Linear
from bnas.nn.module import Parameter, evaluating, own_values

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


def multiply_adds(module, image_shape):
    """{"1-bit": n, "real": n}: the multiply-adds of a forward pass of one image (C, H, W), in evaluation.

    Those of convolutions and linear layers; 1-bit are those of weights and inputs that are both signs. Each
    output counts as many as its window has weights, whether or not they lie on the border's padding.
    """
    counts = {"1-bit": 0, "real": 0}
    layers = [part for part in module.modules() if isinstance(part, (Convolution, Linear))]

    def counting(layer, x):
        y = type(layer).forward(layer, x)
        binary = isinstance(layer, XnorConv2d) and layer.binary_weights
        counts["1-bit" if binary else "real"] += y.size * layer.weight[0].size
        return y

    for layer in layers:
        layer.forward = partial(counting, layer)
    try:
        with evaluating(module), no_grad():
            module(np.zeros((1, *image_shape), np.float32))
    finally:
        for layer in layers:
            del layer.forward
    return counts


def _parts(module):
    """(name, Module) of what `bits_by_part` calls a part."""
    for name, child in module.named_children():
        members = child.named_children() if isinstance(child, (ModuleList, Sequential)) else []
        if any(member.children() for _, member in members):
            yield from ((f"{name}.{n}", member) for n, member in members)
        else:
            yield name, child
