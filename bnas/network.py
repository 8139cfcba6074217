"""The network of a Genotype: the same skeleton, with the chosen operations alone."""

import bnas.functional as F
from bnas import nn
from bnas.autodiff import Tensor
from bnas.candidates import Skip, make_candidate
from bnas.genotypes import validate_genotype
from bnas.skeleton import Cell, Skeleton


class FixedCell(Cell):
    """A cell of chosen operations: node j adds the two edges that the genotype gives it."""

    def __init__(
        self, channels_before, channels, reduction, reduced_before, genotype, precision, rng
    ):
        super().__init__(channels_before, channels, reduction, reduced_before, True, rng)
        chosen = genotype.reduce if reduction else genotype.normal
        self.concat = genotype.reduce_concat if reduction else genotype.normal_concat
        self.predecessors = [predecessor for _, predecessor in chosen]
        self.out_channels = len(self.concat) * channels
        self.operations = nn.Sequential(
            *(
                make_candidate(name, channels, self.stride(predecessor), precision, True, rng)
                for name, predecessor in chosen
            )
        )

    def forward(self, older, newer, drop_path):
        states = [self.input0(older), self.input1(newer)]
        arriving = iter(zip(self.operations, self.predecessors))
        for operation, predecessor in arriving:
            first = drop_path(operation, operation(states[predecessor]))
            operation, predecessor = next(arriving)
            states.append(first + drop_path(operation, operation(states[predecessor])))
        return F.concat([states[i] for i in self.concat], axis=1)

    def in_lanes(self, older, newer, call, keep):
        """`forward` for Tensors in lanes; keep(operation) -> None, or its factors (B,) of drop path."""
        states = self.inputs_in_lanes(older, newer, call)
        arriving = iter(zip(self.operations, self.predecessors))
        for operation, predecessor in arriving:
            first = operation.in_lanes(states[predecessor], call, None, keep(operation))
            operation, predecessor = next(arriving)
            states.append(operation.in_lanes(states[predecessor], call, first, keep(operation)))
        return F.concat([states[i] for i in self.concat], axis=1)


class Network(Skeleton):
    """The fixed network of a genotype, real or 1-bit.

    Args:
        genotype: bnas.genotypes.Genotype, found or published.
        in_channels, classes: of the data.
        channels: of the first cell's states; every reduction doubles them.
        layers: number of cells.
        precision: bnas.candidates.REAL, BINARY or another.
        rng: numpy.random.Generator for the initial weights.
        drop_path: probability of dropping an operation (never an identity) for a sample in training.

    Attributes:
        path_rng: numpy.random.Generator of drop path; the training loop sets it for each epoch.
        lanes: whether to train in lanes (see `bnas.kernels.lanes`), not operation by operation; the
            results agree but for rounding. That takes as long as whole blocks of 16 images do. Evaluation
            never does: a packed network repeats its bits. Nor does training with real weights in some
            1-bit layers and not in others.
    """

    def __init__(
        self, genotype, in_channels, classes, channels, layers, precision, rng, drop_path=0.0
    ):
        genotype = validate_genotype(genotype)

        def make_cell(channels_before, channels, reduction, reduced_before):
            return FixedCell(
                channels_before, channels, reduction, reduced_before, genotype, precision, rng
            )

        super().__init__(in_channels, classes, channels, layers, make_cell, rng)
        self.drop_path, self.path_rng = drop_path, rng
        self.precision = precision
        operations = [operation for cell in self.cells for operation in cell.operations]
        self.lanes = precision.runs_in_lanes and all(o.runs_in_lanes for o in operations)

    def forward(self, x):
        """Logits (B, N) of images (B, C, H, W)."""

        def rate(operation):
            return self.drop_path if self.training and not isinstance(operation, Skip) else 0.0

        def drop(operation, y):
            return F.drop_path(y, rate(operation), rng=self.path_rng)

        def keep(operation):
            return F.path_factors(x, rate(operation), self.path_rng)

        x = x if isinstance(x, Tensor) else Tensor(x)
        layers = (m.binary_weights for m in self.modules() if isinstance(m, nn.XnorConv2d))
        binary_weights = set(layers) or {True}
        if self.training and self.lanes and len(binary_weights) == 1:
            return self.run_in_lanes(
                x,
                lambda cell, *inputs: cell.in_lanes(*inputs, keep),
                self.precision,
                *binary_weights,
            )
        return self.run(x, lambda cell, *inputs: cell(*inputs, drop))

    def binarise_weights(self, on):
        """Switch the 1-bit convolutions between real (False) and 1-bit weights (True)."""
        for module in self.modules():
            if isinstance(module, nn.XnorConv2d):
                module.binary_weights = on

    def set_temperature(self, temperature):
        """Set the temperature of every tanh surrogate."""
        for module in self.modules():
            if isinstance(module, nn.XnorConv2d):
                module.temperature = temperature
