"""From a plain network to one that trains fast: each part by its type, from outside.

The network knows nothing of this. A part that `lowering` knows becomes stages of fused kernels; any other (an
operation of one's own, a 7×1 convolution, a learned β, the tanh surrogate) is computed by its own `forward` in
NCHW, inside an otherwise fused network.
"""

import bnas.functional as F
from bnas import nn
from bnas.autodiff import Tensor
from bnas.functional.regularise import path_factors
from bnas.fused import kernels
from bnas.fused.chains import REAL
from bnas.fused.edges import ChainPart, GivenPart, fused_edge
from bnas.fused.layout import from_lanes, mean_of_lanes, pool_lanes, to_lanes
from bnas.fused.lowering import Lowered, lower
from bnas.nn import is_exactly
from bnas.space.genotype import edges
from bnas.space.network import FixedCell, Network
from bnas.space.operations import Skip, Zero
from bnas.space.supernet import MixedCell, Supernet

IDENTITY = ChainPart(REAL, (), 0)


def compile(model):
    """A callable of the same arguments and results as `model`, several times as fast in training.

    It stands in for the model wherever a Module is wanted: its parts, Parameters, running statistics and
    attributes are the model's, so it is trained, evaluated, saved and loaded through either alike. Results agree
    with the model's but for the order of summation. What the parts are is settled here: compile anew after one of
    them has been replaced, or given another `forward`, window, surrogate or β. Values, modes and
    `binary_weights` may change at any time.

    Args:
        model: Supernet or Network. Any other Module is returned as it is.
    """
    for kind, compiled in ((Supernet, FusedSupernet), (Network, FusedNetwork)):
        if is_exactly(model, kind):
            return compiled(model)
    return model


class Compiled(nn.Module):
    """A Module that stands in for another, its `model`; subclasses say how they compute.

    What is not its own, such as `alpha` or `training`, is read from the model, and set in it.
    """

    OWN = ("model", "fused_stem", "fused_cells")

    def __init__(self, model, kind, fused_kind):
        """kind: the class of cells that is known here; fused_kind: what computes such a cell."""
        self.model = model
        self.fused_stem = FusedStem(model.stem)
        self.fused_cells = [
            fused_kind(cell) if is_exactly(cell, kind) else UnknownCell(cell)
            for cell in model.cells
        ]

    def __getattribute__(self, name):
        if name == "training":  # which every Module has
            return self.model.training
        return super().__getattribute__(name)

    def __getattr__(self, name):
        if name == "model":  # not set yet: a copy in the making
            raise AttributeError(name)
        return getattr(self.model, name)

    def __setattr__(self, name, value):
        if name in self.OWN:
            super().__setattr__(name, value)
        else:
            setattr(self.model, name, value)

    def named_modules(self, prefix="", remove_duplicate=True):
        return self.model.named_modules(prefix, remove_duplicate)

    def modules(self):
        return self.model.modules()


class FusedSupernet(Compiled):
    """A Supernet whose cells compute in lanes, an edge at a time."""

    def __init__(self, model):
        super().__init__(model, MixedCell, FusedMixedCell)

    def forward(self, x, alpha=None):
        """Logits (B, N); arguments as of Supernet."""
        model, batch = self.model, len(x)
        if batch == 0:
            return model(x, alpha)
        weights = model.mixing_weights(model.alpha if alpha is None else alpha)
        rows = [weights[..., row, :, :] for row in range(len(model.alpha))]
        older = newer = self.fused_stem(x)
        for cell, fused_cell in zip(model.cells, self.fused_cells):
            own = rows[model.row(cell)]
            older, newer = newer, fused_cell(older, newer, batch, own, *model.active(cell))
        return model.classifier(mean_of_lanes(newer, batch))


class FusedNetwork(Compiled):
    """A Network that trains in lanes. In evaluation it is the network, whose bits a packed one repeats."""

    def __init__(self, model):
        super().__init__(model, FixedCell, FusedFixedCell)

    def forward(self, x):
        """Logits (B, N) of images (B, C, H, W)."""
        model, batch = self.model, len(x)
        if not model.training or batch == 0:
            return model(x)
        older = newer = self.fused_stem(x)
        for cell in self.fused_cells:
            older, newer = newer, cell(older, newer, batch, model)
        return model.classifier(mean_of_lanes(newer, batch))


# ------------------------------------------------------------------------------------------ cells


class State:
    """A state of a cell in lanes, with what several of its edges need of it made once."""

    def __init__(self, x, batch):
        self.x, self.batch = x, batch
        self._images, self._pooled = None, {}

    @property
    def images(self):
        """The state in NCHW, a Tensor (B, C, H, W)."""
        if self._images is None:
            self._images = from_lanes(self.x, self.batch)
        return self._images

    def pooled(self, pooling, training):
        """(the Tensor that a pooling makes of it, its moments if they are wanted)."""
        if pooling not in self._pooled:
            self._pooled[pooling] = pool_lanes(self.x, *pooling), None
        y, moments = self._pooled[pooling]
        if training and moments is None:
            moments = kernels.moments(y.data)
            self._pooled[pooling] = y, moments
        return y, moments


class FusedStem:
    """A stem, of images to its output in lanes; the norm at its end is fused with nothing else."""

    def __init__(self, stem):
        parts = list(stem)
        known = (
            len(parts) == 2
            and is_exactly(stem, nn.Sequential)
            and is_exactly(parts[1], nn.BatchNorm2d)
        )
        self.first = parts[0] if known else stem
        self.norm = Lowered((), ((),), (parts[1],)) if known else None

    def __call__(self, x):
        x = x if isinstance(x, Tensor) else Tensor(x)
        y = to_lanes(self.first(x))
        return y if self.norm is None else self.norm.chain(y, len(x))


class UnknownCell:
    """A cell that computes by its own `forward`, in NCHW."""

    def __init__(self, cell):
        self.cell = cell

    def __call__(self, older, newer, batch, *rest):
        """rest: the weights of the mixed operations and which are active, or the Network of the drop path."""
        images = (from_lanes(x, batch) for x in (older, newer))
        rest = [part.drop if isinstance(part, Network) else part for part in rest]
        return to_lanes(self.cell(*images, *rest))


class FusedCell:
    """What the cells share: their two inputs, and how operations that stand alone are computed."""

    def __init__(self, cell):
        self.cell = cell
        self.inputs = lower(cell.input0), lower(cell.input1)

    def input_states(self, older, newer, batch):
        """The two input States."""
        parts = zip(self.inputs, (self.cell.input0, self.cell.input1), (older, newer))
        return [State(_apply(*part, State(x, batch)), batch) for *part, x in parts]


class FusedMixedCell(FusedCell):
    """MixedCell.forward, an edge at a time."""

    def __init__(self, cell):
        super().__init__(cell)
        self.edges = [
            [(operation, lower(operation)) for operation in candidates] for candidates in cell.edges
        ]

    def __call__(self, older, newer, batch, weights, active=None):
        states, incoming = self.input_states(older, newer, batch), None
        for e, ((i, j), candidates) in enumerate(zip(edges(self.cell.nodes), self.edges)):
            row = weights[..., e, :]
            if active is not None:
                candidates, row = [candidates[m] for m in active[e]], row[..., active[e]]
            parts, tensors = _edge(candidates, states[i])
            if any(part is not None for part in parts):
                incoming = fused_edge(row, incoming, states[i].x, tensors, batch, parts)
            elif parts and incoming is None:
                # Zeros, should nothing else arrive, of which α learns 0.
                incoming = _apply(None, candidates[0][0], states[i]) + 0 * row.sum()
            if i == j - 1:
                states.append(State(incoming, batch))
                incoming = None
        return F.concat([state.x for state in states[2:]], axis=1)


def _edge(candidates, state):
    """(parts, their tensors) of the candidates of an edge from `state`, for `fused_edge`."""
    parts, tensors = [], []
    for operation, lowered in candidates:
        arithmetic = None if lowered is None else lowered.arithmetic()
        if is_exactly(operation, Zero):
            parts.append(None)
        elif is_exactly(operation, Skip):
            parts.append(IDENTITY)
        elif arithmetic is None or lowered.affine:
            parts.append(GivenPart())
            tensors.append(_apply(lowered, operation, state))
        elif lowered.pooling is not None:
            norm = lowered.stages[0].norm
            y, moments = state.pooled(lowered.pooling, norm.training)
            parts.append(GivenPart(norm, moments))
            tensors.append(y)
        else:
            weights = lowered.weights()
            parts.append(ChainPart(arithmetic, lowered.stages, len(weights)))
            tensors += weights
    return tuple(parts), tensors


class FusedFixedCell(FusedCell):
    """FixedCell.forward, an operation at a time."""

    def __init__(self, cell):
        super().__init__(cell)
        self.operations = [(lower(operation), operation) for operation in cell.operations]

    def __call__(self, older, newer, batch, network):
        def keep(operation):
            rate = network.drop_rate(operation)
            return path_factors(batch, older.dtype, rate, network.path_rng)

        states = self.input_states(older, newer, batch)
        arriving = iter(zip(self.operations, self.cell.predecessors))
        for (lowered, operation), i in arriving:
            first = _apply(lowered, operation, states[i], None, keep(operation))
            (lowered, operation), i = next(arriving)
            states.append(
                State(_apply(lowered, operation, states[i], first, keep(operation)), batch)
            )
        return F.concat([states[i].x for i in self.cell.concat], axis=1)


def _apply(lowered, operation, state, base=None, keep=None):
    """base + keep ∘ operation(state), a Tensor in lanes; keep: None or a factor (B,) for each sample."""
    if is_exactly(operation, Skip):  # which is never dropped
        return state.x if base is None else base + state.x
    if lowered is not None and lowered.arithmetic() is not None:
        x = state.x
        if lowered.pooling is not None:
            x, _ = state.pooled(lowered.pooling, False)
        return lowered.chain(x, state.batch, base, keep)
    y = operation(state.images)
    if keep is not None:
        y = y * Tensor(keep.reshape(-1, 1, 1, 1))
    y = to_lanes(y)
    return y if base is None else base + y
