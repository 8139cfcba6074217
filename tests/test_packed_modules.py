"""Networks that users write with bnas.nn, packed: the same bits and predictions, or a refusal that names the part."""

import numpy as np
import pytest
from helpers import packed_twin
from helpers.arrays import images, seeds
from helpers.modules import ENDS, KINDS, random_module
from hypothesis import given, settings
from hypothesis import strategies as st

from bnas import nn
from bnas.autodiff import Tensor
from bnas.evaluation import predict
from bnas.packed import PackedNetwork


def pack(network, shape):
    return PackedNetwork.pack(network, shape, np.zeros(shape[0]), np.ones(shape[0]))


def input_bits(network, x):
    """{name: input bits of a 1-bit convolution}, as the network itself computes."""
    names = {module: name for name, module in network.named_modules()}
    forward, bits = nn.XnorConv2d.forward, {}

    def recorded(module, x):
        bits[names[module]] = Tensor(x).data > 0
        return forward(module, x)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.XnorConv2d, "forward", recorded)
        predict(network, x)
    return bits


def assert_same(network, shape, count=3, seed=1):
    packed, x = pack(network, shape), images(count, *shape, seed=seed)
    logits, ours, bits = predict(network, x), packed(x), packed.activations(x)
    assert (ours.shape, ours.dtype) == (logits.shape, np.float32)
    for name, want in input_bits(network, x).items():
        np.testing.assert_array_equal(bits[name], want, err_msg=name)
    scale = np.abs(logits).max()
    assert np.abs(ours - logits).max() <= 1e-5 * scale
    np.testing.assert_array_equal(packed.predict(x), logits.argmax(axis=1))
    assert np.abs(packed_twin.logits(packed.model, x) - logits).max() <= 1e-4 * scale
    return packed


networks = st.builds(
    random_module,
    st.lists(st.sampled_from(KINDS), max_size=6),
    st.sampled_from(ENDS),
    st.sampled_from([(1, 1), (2, 7), (5, 5), (8, 8), (11, 3), (9, 13)]),
    seeds,
)


@settings(max_examples=60, deadline=None)
@given(networks, st.integers(1, 9), seeds)
def test_packed_modules_are_the_modules(case, count, seed):
    assert_same(*case, count, seed)
