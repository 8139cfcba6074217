"""The fixed network of a genotype, real and 1-bit."""

import numpy as np
import pytest
from helpers.arrays import images, rng

import bnas.functional as F
from bnas import fused, nn
from bnas.autodiff import Tensor
from bnas.space import PUBLISHED, Genotype
from bnas.space.network import Network
from bnas.space.operations import BINARY, REAL, Skip

both = pytest.mark.parametrize("precision", [REAL, BINARY], ids=["real", "binary"])


TINY = Genotype(
    (("sep_conv_3x3", 0), ("skip_connect", 1)),
    (2,),
    (("max_pool_3x3", 0), ("dil_conv_5x5", 1)),
    (2,),
)


@both
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_genotypes_build_and_learn(name, precision):
    network = Network(PUBLISHED[name], 3, 10, 2, 3, precision, rng(), drop_path=0.2)
    logits = network(images(2, 3, 8, 8))
    assert logits.shape == (2, 10)
    F.cross_entropy(logits, np.array([1, 9])).backward()
    # A cell may compute a state that its output leaves out (NASNet, AmoebaNet's reduction).
    used = [p for p in network.parameters() if p.grad is not None]
    assert len(used) > 0.6 * len(network.parameters())
    assert all(np.isfinite(p.grad).all() for p in used)
    cell = network.cells[-1]
    assert cell.out_channels == len(PUBLISHED[name].reduce_concat) * 8


@both
@pytest.mark.parametrize("layers", [1, 2, 5])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_network_of_any_size_gives_logits(precision, layers, channels):
    for size in (7, 1):
        network = Network(TINY, 1, 4, channels, layers, precision, rng())
        assert network(images(2, 1, size, size)).shape == (2, 4)


def test_a_fixed_cell_is_the_sum_of_its_two_edges():
    network = Network(TINY, 1, 4, 2, 3, REAL, rng()).eval()
    cell = network.cells[0]
    older, newer = Tensor(images(2, 6, 5, 5)), Tensor(images(2, 6, 5, 5))
    y = cell(older, newer, lambda operation, y: y).data
    a, b = cell.input0(older), cell.input1(newer)
    np.testing.assert_allclose(y, (cell.operations[0](a) + b).data, atol=1e-6)
    assert isinstance(cell.operations[1], Skip)


def test_drop_path_acts_in_training_only_and_is_its_generators():
    dropped = Network(TINY, 1, 4, 2, 3, REAL, rng(), drop_path=0.9)
    whole = Network(TINY, 1, 4, 2, 3, REAL, rng())
    x = images(8, 1, 8, 8)
    dropped.path_rng = rng(5)
    first = dropped(x).data
    dropped.path_rng = rng(5)
    np.testing.assert_array_equal(dropped(x).data, first)
    assert not np.allclose(first, whole(x).data)
    dropped.load_state_dict(whole.state_dict())
    np.testing.assert_array_equal(dropped.eval()(x).data, whole.eval()(x).data)


@pytest.mark.parametrize(
    "prepare", [lambda network: network, fused.compile], ids=["plain", "fused"]
)
def test_drop_path_spares_identities(prepare):
    drawn = []

    class Generator:
        def random(self, shape):
            drawn.append(np.zeros(shape).size)
            return np.ones(shape)

    network = Network(TINY, 1, 4, 2, 3, REAL, rng(), drop_path=0.3)
    network.path_rng = Generator()
    prepare(network)(images(2, 1, 8, 8))
    assert drawn == [2] * (1 + 2 * 2)  # a normal cell with an identity, two reductions without


def test_binarise_weights_switches_every_1_bit_convolution():
    network = Network(TINY, 1, 4, 2, 3, BINARY, rng()).eval()
    x = images(2, 1, 8, 8)
    layer = next(m for m in network.modules() if isinstance(m, nn.XnorConv2d))
    one_bit = network(x).data
    network.binarise_weights(False)
    assert layer.kernel() is layer.weight.data and not np.allclose(network(x).data, one_bit)
    network.binarise_weights(True)
    np.testing.assert_array_equal(network(x).data, one_bit)
