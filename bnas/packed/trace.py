"""What a network computes in evaluation: the graph of one forward pass, as a list of operations with names."""

from copy import deepcopy
from typing import NamedTuple

import numpy as np

from bnas.autodiff import Context, Tensor, sources
from bnas.errors import InputError


class Traced(NamedTuple):
    """An operation of a forward pass.

    Attributes:
        module: the dotted name of the module that called it; "" for the network itself.
        context: its bnas.autodiff.Context.
        inputs: for each input of the operation the number of the operation that made it, counted from 1, or 0
            for the images; None for what was not computed from the images.
    """

    module: str
    context: Context
    inputs: tuple

    @property
    def name(self):
        return self.context.function.__name__

    def __str__(self):
        where = f"{self.module!r}" if self.module else "the forward of the network"
        return f"{where} ({self.name})"


def trace(network, images):
    """The operations by which a Module makes its result of `images`, an array (N, C, H, W), in evaluation mode.

    The network itself stays as it is: a copy runs. Returns (operations in order, shape of the result).

    Raises:
        InputError: the network does not take such images, or its result is no Tensor computed from them.
    """
    network = deepcopy(network).eval()
    for parameter in network.parameters():
        parameter.requires_grad = True  # so that the graph tells them from constants
    x, modules = Tensor(images, requires_grad=True), {}
    _note_callers(network, modules)
    try:
        with np.errstate(all="ignore"):  # what comes out does not matter
            y = network(x)
    except ValueError as error:
        raise InputError(
            f"the network does not take images of shape {images.shape[1:]} (channels, height, width): {error}"
        ) from error
    if not isinstance(y, Tensor):
        raise InputError(f"the network returns a {type(y).__name__}, expected a Tensor of logits")
    nodes = [source for source in sources(y.node) if isinstance(source, Context)]
    nodes.sort(key=lambda node: node.order)
    numbers, operations = {x: 0}, []
    for node in nodes:
        inputs = tuple(numbers.get(source) for source in node.inputs)
        if any(number is not None for number in inputs):
            operations.append(Traced(modules.get(node, ""), node, inputs))
            numbers[node] = len(operations)
    if y is not x and y.node not in numbers:
        raise InputError(
            "the network's result was not computed from the images by operations that are recorded; compute "
            "it with Modules and with the operations of bnas.functional alone, not with arrays"
        )
    return operations, y.shape


def _note_callers(network, found):
    """Make the network note, in the dict `found`, the name of the innermost module that made each node."""
    calling = [""]

    def note(values):
        for value in values:
            if isinstance(value, Tensor):
                found.update(dict.fromkeys(sources(value.node, found), calling[-1]))

    def noting(forward, name):
        def call(*args, **kwargs):
            note((*args, *kwargs.values()))
            calling.append(name)
            try:
                y = forward(*args, **kwargs)
                note((y,))
            finally:
                calling.pop()
            return y

        return call

    for name, module in network.named_modules():
        module.forward = noting(module.forward, name)
