"""Genotypes from the literature, to train, draw and compare with."""

from bnas.space.genotype import Genotype


def _cell(words):
    """Pairs from words such as "sep_conv_3x3:0"."""
    words = (word.split(":") for word in words.split())
    return tuple((operation, int(predecessor)) for operation, predecessor in words)


# Facts from the literature: Liu et al., DARTS: Differentiable Architecture Search (ICLR 2019,
# arXiv 1806.09055), which also restates NASNet-A (Zoph et al., CVPR 2018) and AmoebaNet-A (Real et
# al., AAAI 2019) in this format.
DARTS_V1 = Genotype(
    _cell(
        "sep_conv_3x3:1 sep_conv_3x3:0 "
        "skip_connect:0 sep_conv_3x3:1 "
        "skip_connect:0 sep_conv_3x3:1 "
        "sep_conv_3x3:0 skip_connect:2"
    ),
    (2, 3, 4, 5),
    _cell(
        "max_pool_3x3:0 max_pool_3x3:1 "
        "skip_connect:2 max_pool_3x3:0 "
        "max_pool_3x3:0 skip_connect:2 "
        "skip_connect:2 avg_pool_3x3:0"
    ),
    (2, 3, 4, 5),
)
DARTS_V2 = Genotype(
    _cell(
        "sep_conv_3x3:0 sep_conv_3x3:1 "
        "sep_conv_3x3:0 sep_conv_3x3:1 "
        "sep_conv_3x3:1 skip_connect:0 "
        "skip_connect:0 dil_conv_3x3:2"
    ),
    (2, 3, 4, 5),
    _cell(
        "max_pool_3x3:0 max_pool_3x3:1 "
        "skip_connect:2 max_pool_3x3:1 "
        "max_pool_3x3:0 skip_connect:2 "
        "skip_connect:2 max_pool_3x3:1"
    ),
    (2, 3, 4, 5),
)
NASNet = Genotype(
    _cell(
        "sep_conv_5x5:1 sep_conv_3x3:0 "
        "sep_conv_5x5:0 sep_conv_3x3:0 "
        "avg_pool_3x3:1 skip_connect:0 "
        "avg_pool_3x3:0 avg_pool_3x3:0 "
        "sep_conv_3x3:1 skip_connect:1"
    ),
    (2, 3, 4, 5, 6),
    _cell(
        "sep_conv_5x5:1 sep_conv_7x7:0 "
        "max_pool_3x3:1 sep_conv_7x7:0 "
        "avg_pool_3x3:1 sep_conv_5x5:0 "
        "skip_connect:3 avg_pool_3x3:2 "
        "sep_conv_3x3:2 max_pool_3x3:1"
    ),
    (4, 5, 6),
)
AmoebaNet = Genotype(
    _cell(
        "avg_pool_3x3:0 max_pool_3x3:1 "
        "sep_conv_3x3:0 sep_conv_5x5:2 "
        "sep_conv_3x3:0 avg_pool_3x3:3 "
        "sep_conv_3x3:1 skip_connect:1 "
        "skip_connect:0 avg_pool_3x3:1"
    ),
    (4, 5, 6),
    _cell(
        "avg_pool_3x3:0 sep_conv_3x3:1 "
        "max_pool_3x3:0 sep_conv_7x7:2 "
        "sep_conv_7x7:0 avg_pool_3x3:1 "
        "max_pool_3x3:0 max_pool_3x3:1 "
        "conv_7x1_1x7:0 sep_conv_3x3:5"
    ),
    (3, 4, 6),
)

PUBLISHED = {"DARTS_V1": DARTS_V1, "DARTS_V2": DARTS_V2, "NASNet": NASNet, "AmoebaNet": AmoebaNet}
