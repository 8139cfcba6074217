"""The plan of a packed network for one size of images: its buffers, and its kernel calls in order.

A plan computes one image at a time. Everything that does not depend on its pixels is done when the plan is made:
weights are laid out for its size, and every result is assigned a buffer. A buffer is used again once its contents
are no longer needed. Running a plan allocates nothing.
"""

from itertools import count

import numpy as np

from bnas.packed.calls import Calls
from bnas.packed.images import Floats
from bnas.packed.layers import (
    BitConv,
    PackedAffine,
    PackedConcat,
    PackedPool,
    PackedSkip,
    PackedSteps,
    PackedSum,
    PackedWindowPool,
    PackedZero,
    RealConv,
    Threshold,
)


class Plan(Calls):
    """A packed network made ready for an image of `shape` (C, H, W).

    Attributes:
        input: float32 (C, H, W); write the image here.
        logits: float32 (classes,); read the results here.
        calls: the kernel calls that `run` makes, (kernel, arguments) in order.
        bits: {name of a 1-bit convolution: (number of calls after which its input is complete, list of the
            Bits that hold its channels)}.
    """

    def __init__(self, model, shape):
        super().__init__(shape)
        self._model = model
        if isinstance(model, PackedSteps):
            self._head(model, self._steps(model.steps))
        else:
            self._head(model, self._cells(model))
        self._ready()

    def __reduce__(self):
        """A copy, by copy.deepcopy or pickle, is a new plan: a program holds addresses."""
        return Plan, (self._model, self.input.shape)

    # Cells

    def _cells(self, model):
        """The output of the last cell."""
        conv = model.stem[0][0]
        size = conv.window.out_size(self.input.shape[1:])
        older = newer = self._floats("stem", conv.w.shape[0], size)
        self._stem(conv, newer)
        for i, cell in enumerate(model.cells):
            older, newer = newer, self._cell(cell, older, newer, f"cell {i % 3}")
        return newer

    def _cell(self, cell, older, newer, use):
        inputs = [
            self._branches(branches, x, f"input {i}")
            for i, (branches, x) in enumerate(zip(cell.inputs, (older, newer)))
        ]
        first = _out_size(cell.edges[0], inputs[0].size)
        channels = inputs[0].channels
        out = self._floats(use, len(cell.concat) * channels, first)
        states, made = inputs, {}
        for node in range(len(cell.edges) // 2):
            number = node + 2
            if number in cell.concat:
                target = out.part(cell.concat.index(number) * channels, channels)
            else:
                target = self._floats(f"state {number}", channels, first)
            for edge in (2 * node, 2 * node + 1):
                source = cell.predecessors[edge]
                self._edge(cell, edge, states[source], target, made, edge % 2)
            states.append(target)
        return out

    def _edge(self, cell, edge, x, target, made, add):
        """One edge into a node: each of its branches computes its part of the channels.

        made: what several edges from one state read, its bits or its pooling before a batch norm.
        """
        source, first = cell.predecessors[edge], 0
        for branch in cell.edges[edge]:
            layer = branch[0]
            channels = x.channels if len(cell.edges[edge]) == 1 else branch[-1].w.shape[0]
            part = target.part(first, channels)
            if isinstance(layer, BitConv):
                if source not in made:
                    made[source] = self._pack(x, f"bits {source}", _margin(cell, source))
                self._bit_convs(branch, made[source], part, add)
            elif isinstance(layer, PackedPool) and _poolings(cell, source, layer) > 1:
                key = source, layer.kind, layer.stride
                if key not in made:
                    made[key] = self._floats(("pooled", *key), channels, target.size)
                    ones, zeros = np.ones(channels, np.float32), np.zeros(channels, np.float32)
                    self._pool(layer._replace(scale=ones, shift=zeros), x, made[key])
                self._scale(made[key], layer.scale, layer.shift, part, add)
            else:
                self._branch(layer, x, part, add)
            first += channels

    def _bit_convs(self, branch, bits, target, add):
        for i, conv in enumerate(branch[:-1]):
            following = branch[i + 1].window.padding
            bits = self._bits_to_bits(conv, bits, following, f"between {i % 2}")
        self._bits_to_floats(branch[-1], bits, target, add)

    def _branch(self, layer, x, target, add):
        if isinstance(layer, PackedPool):
            self._pool(layer, x, target, add)
        elif isinstance(layer, PackedSkip):
            self._copy(x, target, add)
        elif isinstance(layer, PackedZero) and not add:
            nothing = target._replace(
                buffer=self._buffer("nothing", target.buffer.size, np.float32)
            )
            self._copy(nothing, target, add)

    # Steps

    def _steps(self, steps):
        """The result of the last step, in panels.

        Results are in slots, of which each has buffers; a slot is used again after the last step that reads it.
        """
        last = {source: i for i, step in enumerate(steps, 1) for source in step.sources}
        made, slots = {}, {}
        for i, (sources, layer) in enumerate(steps, 1):
            if 0 in sources and 0 not in made and not isinstance(layer, RealConv):
                made[0] = self._image_panels()
            done = [source for source in slots if last[source] == i]
            in_place = isinstance(layer, (PackedSum, PackedAffine)) and sources[0] in done
            slots[i] = next(n for n in count() if n not in slots.values())
            if in_place:
                slots[i] = slots[sources[0]]
            made[i] = self._step(i, steps, made, slots)
            for source in done:
                del slots[source]
        return made[len(steps)] if steps else self._image_panels()

    def _step(self, i, steps, made, slots):
        """Compute step i: its result, Floats or Bits."""
        sources, layer = steps[i - 1]
        if isinstance(layer, BitConv):
            return self._bit_step(i, steps, made, slots)
        if isinstance(layer, RealConv):
            size = made[sources[0]].size if sources[0] else self.input.shape[1:]
            channels, size = layer.w.shape[0], layer.window.out_size(size)
        else:
            x = made[sources[0]]
            channels, size = x.channels, x.size
        if isinstance(layer, PackedWindowPool):
            size = layer.window.out_size(size)
        elif isinstance(layer, PackedConcat):
            channels = sum(made[source].channels for source in sources)
        target = self._floats(f"step {slots[i]}", channels, size)
        if isinstance(layer, RealConv) and not sources[0]:
            self._stem(layer, target)
        elif isinstance(layer, RealConv):
            self._real_conv(layer, x=made[sources[0]], target=target)
        elif isinstance(layer, PackedWindowPool):
            self._pool(layer, x, target)
        elif isinstance(layer, PackedAffine):
            self._affine(layer, x, target)
        elif isinstance(layer, PackedSum):
            if slots.get(sources[0]) != slots[i]:
                self._copy(x, target, 0)
            self._copy(made[sources[1]], target, 1)
        else:
            first = 0
            for source in sources:
                self._copy(made[source], target.part(first, made[source].channels), 0)
                first += made[source].channels
        return target

    def _bit_step(self, i, steps, made, slots):
        """A 1-bit convolution, whose input is packed unless it is bits already or has been packed before."""
        (source,), layer = steps[i - 1]
        x, use = made[source], f"bits {slots.get(source, 'of images')}"
        target = None
        if not isinstance(layer.finish, Threshold):
            size = layer.window.out_size(x.size)
            target = self._floats(f"step {slots[i]}", layer.w.shape[0], size)
            if layer.groups > 1:
                self._grouped_to_floats(layer, x, target, use)
                return target
        key = source, "bits"
        if isinstance(x, Floats) and key not in made:
            made[key] = self._pack(x, use, _step_margin(steps, source))
        bits = made.get(key, x)
        if target is not None:
            self._bits_to_floats(layer, bits, target, 0)
            return target
        return self._bits_to_bits(layer, bits, _step_margin(steps, i), f"bits {slots[i]}")


def _out_size(branches, size):
    """(height, width) of an edge's output."""
    for layer in branches[0]:
        if isinstance(layer, BitConv):
            size = layer.window.out_size(size)
        elif isinstance(layer, (PackedPool, PackedZero)):
            size = tuple(-(-n // layer.stride) for n in size)
    return size


def _poolings(cell, state, layer):
    """How many edges from a state do the same pooling."""
    return sum(
        source == state
        and isinstance(branches[0][0], PackedPool)
        and branches[0][0][:2] == layer[:2]
        for branches, source in zip(cell.edges, cell.predecessors)
    )


def _margin(cell, state):
    """The margin that a packed state needs: the widest padding of the edges that start from it."""
    paddings = [
        branch[0].window.padding
        for edge, source in zip(cell.edges, cell.predecessors)
        for branch in edge
        if source == state and isinstance(branch[0], BitConv)
    ]
    return tuple(map(max, zip(*paddings)))


def _step_margin(steps, source):
    """The margin that the bits of a step's result need: the widest padding of what reads them."""
    paddings = [
        step.layer.window.padding
        for step in steps
        if source in step.sources and isinstance(step.layer, BitConv)
    ]
    return tuple(map(max, zip(*paddings)))
