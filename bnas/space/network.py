"""The network of a Genotype: the same skeleton, with the chosen operations alone."""

import bnas.functional as F
from bnas import nn
from bnas.autodiff import Tensor
from bnas.space.genotype import validate_genotype
from bnas.space.operations import Skip, make_operation
from bnas.space.skeleton import Cell, Skeleton


class FixedCell(Cell):
    """A cell of chosen operations: node j adds the two edges that the genotype gives it.

    Attributes:
        operations: those of the edges, two for each node, in turn.
        predecessors: the state that each of them reads.
        concat: the states that make up the output.
    """

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
                make_operation(name, channels, self.stride(predecessor), precision, True, rng)
                for name, predecessor in chosen
            )
        )

    def forward(self, older, newer, drop_path=lambda operation, y: y):
        """Output (B, len(concat)·C, H, W); drop_path(operation, its result) -> what is left of it."""
        states = [self.input0(older), self.input1(newer)]
        arriving = iter(zip(self.operations, self.predecessors))
        for operation, predecessor in arriving:
            first = drop_path(operation, operation(states[predecessor]))
            operation, predecessor = next(arriving)
            states.append(first + drop_path(operation, operation(states[predecessor])))
        return F.concat([states[i] for i in self.concat], axis=1)


class Network(Skeleton):
    """The fixed network of a genotype, real or 1-bit.

    Args:
        genotype: bnas.Genotype, found or published.
        in_channels, classes: of the data.
        channels: of the first cell's states; every reduction doubles them.
        layers: number of cells.
        precision: bnas.space.REAL, BINARY or another.
        rng: numpy.random.Generator for the initial weights.
        drop_path: probability of dropping an operation (never an identity) for a sample in training.

    Attributes:
        path_rng: numpy.random.Generator of drop path; the training loop sets it for each epoch.
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

    def forward(self, x):
        """Logits (B, N) of images (B, C, H, W)."""
        older = newer = self.stem(x if isinstance(x, Tensor) else Tensor(x))
        for cell in self.cells:
            older, newer = newer, cell(older, newer, self.drop)
        return self.classify(newer)

    def drop(self, operation, y):
        """Drop path of an operation's result."""
        return F.drop_path(y, self.drop_rate(operation), rng=self.path_rng)

    def drop_rate(self, operation):
        """The probability of dropping an operation for a sample: 0 in evaluation and for an identity."""
        return 0.0 if not self.training or isinstance(operation, Skip) else self.drop_path

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
