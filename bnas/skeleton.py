"""What supernet and found network have in common: a stem, a stack of cells, a classifier.

The skeleton stays real in a 1-bit network too: the stem, the 1×1 convolutions at each cell's two
inputs, and the classifier.
"""

import bnas.functional as F
from bnas import nn
from bnas.candidates import REAL, Candidate, FactorizedReduce, stage_of

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

    def inputs_in_lanes(self, older, newer, call):
        """The cell's two inputs, for Tensors in lanes; call: F.Call of its candidates."""
        real = call._replace(binary=False)
        return [self.input0.in_lanes(older, real), self.input1.in_lanes(newer, real)]

    def stride(self, predecessor):
        """Stride of an edge from state `predecessor`; 0 and 1 are the cell's inputs."""
        return 2 if self.reduction and predecessor < 2 else 1


class ReLUConvBN(Candidate):
    """ReLU, real 1×1 convolution, BN."""

    def __init__(self, in_channels, out_channels, affine, rng):
        self.conv = nn.Conv2d(in_channels, out_channels, 1, bias=False, rng=rng)
        self.bn = nn.BatchNorm2d(out_channels, affine=affine)

    def forward(self, x):
        return self.bn(self.conv(F.relu(x)))

    def stages(self, size):
        return stage_of((((1, 1), 1, (0, 0), 1, None),), (self.conv,), self.bn)


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

    def run(self, x, run_cell):
        """Logits (B, N) of images (B, C, H, W); run_cell(cell, older, newer) -> the cell's output."""
        return self.classifier(F.global_avg_pool2d(self._run_cells(self.stem(x), run_cell)))

    def run_in_lanes(self, x, run_cell, precision, binary_weights=True):
        """`run` where cells take and give Tensors in lanes.

        run_cell(cell, older, newer, call) has an F.Call besides, for candidates of that precision.
        Raises ValueError for a precision that does not run in lanes.
        """
        if not precision.runs_in_lanes:
            raise ValueError(f"no lanes for {precision}; set lanes = False to compute with it")
        call = F.Call(len(x), precision.binary, precision.surrogate, binary_weights)
        conv, bn = self.stem
        stages, weights = stage_of((), (), bn)
        stem = F.chain_norm(F.to_lanes(conv(x)), weights, call, stages)
        y = self._run_cells(stem, lambda *inputs: run_cell(*inputs, call))
        return self.classifier(F.mean_of_lanes(y, len(x)))

    def _run_cells(self, stem, run_cell):
        older = newer = stem
        for cell in self.cells:
            older, newer = newer, run_cell(cell, older, newer)
        return newer

    def reset_betas(self):
        """Let every learned β start from the closed form of the present ŵ."""
        for module in self.modules():
            if isinstance(module, nn.XnorConv2d):
                module.reset_beta()
