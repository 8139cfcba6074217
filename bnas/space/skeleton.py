"""What supernet and found network have in common: a stem, a stack of cells, a classifier.

The skeleton stays real in a 1-bit network too: the stem, the 1×1 convolutions at each cell's two
inputs, and the classifier.
"""

import bnas.functional as F
from bnas import nn
from bnas.space.operations import REAL, FactorizedReduce, ReLUConvBN

STEM_MULTIPLIER = 3  # as in DARTS


def reduction_layers(layers):
    """The cells that halve the image and double the channels: at one third and two thirds."""
    return {layers // 3, 2 * layers // 3}


class Cell(nn.Module):
    """The inputs of a cell: the outputs of the two previous cells, brought to its shape.

    Args:
        channels_before: channels of the outputs of the last cell but one, and of the last.
        channels: channels of each of the cell's states.
        reduction: whether the edges from the inputs have stride 2.
        reduced_before: whether the last cell was a reduction; the output of the one before it is
            then twice as large and is halved here.
    """

    def __init__(self, channels_before, channels, reduction, reduced_before, affine, rng):
        self.reduction = reduction
        older, newer = channels_before
        if reduced_before:
            self.input0 = FactorizedReduce(older, channels, REAL, affine, rng)
        else:
            self.input0 = ReLUConvBN(older, channels, affine, rng)
        self.input1 = ReLUConvBN(newer, channels, affine, rng)

    def stride(self, predecessor):
        """Stride of an edge from state `predecessor`; 0 and 1 are the cell's inputs."""
        return 2 if self.reduction and predecessor < 2 else 1


class Skeleton(nn.Module):
    """Stem, `layers` cells, global average pooling, linear classifier.

    Args:
        in_channels, classes: of the data.
        channels: of the first cell's states; every reduction doubles them.
        layers: number of cells.
        make_cell(channels_before, channels, reduction, reduced_before) -> Cell with `out_channels`.
        rng: numpy.random.Generator for the initial weights.
    """

    def __init__(self, in_channels, classes, channels, layers, make_cell, rng):
        stem_channels = STEM_MULTIPLIER * channels
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, stem_channels, 3, padding=1, bias=False, rng=rng),
            nn.BatchNorm2d(stem_channels),
        )
        before, reduced_before, cells = (stem_channels, stem_channels), False, []
        for layer in range(layers):
            reduction = layer in reduction_layers(layers)
            channels *= 2 if reduction else 1
            cell = make_cell(before, channels, reduction, reduced_before)
            cells.append(cell)
            before, reduced_before = (before[1], cell.out_channels), reduction
        self.cells = nn.Sequential(*cells)
        self.classifier = nn.Linear(before[1], classes, rng=rng)

    def classify(self, features):
        """Logits (B, N) of the last cell's output (B, C, H, W)."""
        return self.classifier(F.global_avg_pool2d(features))

    def active_modules(self):
        """The modules that take part: all, but for a supernet of which some candidates are left out."""
        return self.modules()

    def reset_betas(self):
        """Let every learned β start from the closed form of the present ŵ."""
        for module in self.modules():
            if isinstance(module, nn.XnorConv2d):
                module.reset_beta()
