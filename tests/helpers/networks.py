"""Small networks with random numbers in them."""

from typing import NamedTuple

import numpy as np

from bnas import nn
from bnas.space import BINARY, Genotype, Network, Precision, Supernet, make_operation

from .arrays import normal, rng

# A supernet, and a batch for it

IMAGES, LABELS = normal(8, 5, 1, 8, 8), np.array([0, 2, 1, 1, 0])


def supernet(precision, dtype=np.float64, seed=0):
    """Training mode, 2 nodes, 3 cells (a normal one and two reductions), α of size 1."""
    net = Supernet(1, 3, 2, 3, 2, precision, rng(seed)).astype(dtype)
    net.alpha.data = normal(7, *net.alpha.shape, dtype=dtype)
    return net


# Networks to pack

CLASSES = 4
LEARNED = Precision(True, beta="learned")
MIXED = Genotype(
    (("sep_conv_3x3", 0), ("max_pool_3x3", 1), ("dil_conv_5x5", 2), ("skip_connect", 0)),
    (2, 3),
    (("skip_connect", 0), ("avg_pool_3x3", 1), ("conv_7x1_1x7", 0), ("sep_conv_5x5", 2)),
    (3, 2),
)


class Case(NamedTuple):
    """A 1-bit network as training might leave it, and the shape of its images."""

    network: Network
    shape: tuple


def case(genotype, channels, cells, shape, precision=BINARY, seed=0, absent=()):
    """A Case with random numbers everywhere; the operations numbered in `absent` become `none`."""
    generator = rng(seed)
    network = Network(genotype, shape[0], CLASSES, channels, cells, precision, generator)
    scramble(network, generator)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and generator.random() < 0.2:
            module.bias = None
            module.weight = module.weight if generator.random() < 0.7 else None
    for cell in network.cells:
        for i, source in enumerate(cell.predecessors):
            if i in absent:  # no genotype may hold it, so it is put in place afterwards
                stride = cell.stride(source)
                nothing = make_operation("none", channels, stride, precision, True, generator)
                setattr(cell.operations, str(i), nothing)
    return Case(network.eval(), shape)


def scramble(network, generator):
    """Zeros, negative scales, channels that always or never fire."""

    def draw(n, *factors):
        return (generator.standard_normal(n) * generator.choice(factors, n)).astype(np.float32)

    for module in network.modules():
        if isinstance(module, nn.XnorConv2d):
            weight = module.weight.data
            weight *= generator.random(weight.shape) > 0.1  # sign 0 is -1
            weight *= generator.random((len(weight), 1, 1, 1)) > 0.1  # β is 0 in closed form
            if module.beta is not None:
                module.beta.data = draw(len(weight), 0, 1, 1, 3)
        elif isinstance(module, nn.BatchNorm2d):
            n = module.running_mean.size
            module.running_mean = draw(n, 0, 1, 1, 4, 100)
            module.running_var = (10 ** generator.uniform(-3, 3, n)).astype(np.float32)
            module.weight.data, module.bias.data = draw(n, 0, 1, 1, 3), draw(n, 0, 1, 1, 50)
