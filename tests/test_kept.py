"""What a 1-bit layer keeps of its weights: right after any change, and made anew only when there was one."""

import copy
import pickle
import weakref

import numpy as np
import pytest
from helpers.arrays import images, rng

import bnas.functional as F
from bnas import kernels, nn, optim
from bnas.autodiff import Tensor, no_grad
from bnas.backend import using

X = images(2, 6, 5, 5)


def a_layer(groups=1, **options):
    return nn.XnorConv2d(6, 6, 3, padding=1, groups=groups, rng=rng(), **options)


def answer(layer):
    with no_grad():
        return layer(X).data


def flip(array):
    array[...] = -array


def through_a_buffer(layer):
    flip(np.asarray(memoryview(layer.weight.data)))


CHANGES = {
    "in place": lambda layer: flip(layer.weight.data),
    "one weight": lambda layer: layer.weight.data.__setitem__((0, 0, 0, 0), 9),
    "another array": lambda layer: setattr(layer.weight, "data", -layer.weight.data),
    "numpy()": lambda layer: flip(layer.weight.numpy()),
    "detach()": lambda layer: flip(layer.weight.detach().data),
    "a row as a Tensor": lambda layer: flip(layer.weight[1].data),
    "reshaped": lambda layer: flip(layer.weight.reshape(-1).data),
    "item of a Tensor": lambda layer: layer.weight.__setitem__(0, 9.0),
    "memoryview": through_a_buffer,
    "a state": lambda layer: layer.load_state_dict(
        {name: -value for name, value in layer.state_dict().items()}
    ),
    "another Parameter": lambda layer: setattr(layer, "weight", nn.Parameter(-layer.weight.data)),
    "a constant": lambda layer: setattr(layer, "weight", Tensor(-layer.weight.data)),
}


@pytest.mark.parametrize("groups", [1, 6])
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_the_weights_is_noticed(change, groups):
    layer = a_layer(groups)
    answer(layer)
    before = answer(layer)
    with no_grad():
        CHANGES[change](layer)
    after = answer(layer)
    assert not np.array_equal(before, after)
    want = F.xnor_conv2d(X, Tensor(layer.weight.data.copy()), None, *layer.settings())
    assert after.tobytes() == want.data.tobytes()


HOLD = {
    "the array": lambda layer: layer.weight.data,
    "a view": lambda layer: layer.weight.data[2:],
    "a Tensor": lambda layer: layer.weight.detach(),
    "a buffer": lambda layer: memoryview(layer.weight.data),
    "what it is a view of": None,
}


@pytest.mark.parametrize("hold", HOLD)
def test_a_change_through_what_was_held_before_is_noticed(hold):
    layer = a_layer()
    if HOLD[hold] is None:
        held = np.array(layer.weight.data).reshape(-1)
        layer.weight.data = held.reshape(layer.weight.shape)
    else:
        held = HOLD[hold](layer)
    before = [answer(layer) for _ in range(3)]
    flip(np.asarray(held.data if isinstance(held, Tensor) else held))
    assert not np.array_equal(before[-1], answer(layer))


@pytest.mark.parametrize("groups", [1, 6])
def test_one_layer_takes_images_of_several_sizes_in_turn(groups):
    layer = a_layer(groups)
    for height, width in [(5, 5), (7, 4), (5, 5), (4, 7), (1, 1), (5, 5)]:
        x = images(2, 6, height, width)
        with no_grad():
            found, want = (
                layer(x).data,
                a_layer(groups)(x).data,
            )  # one with weights that nobody asked for
        assert found.tobytes() == want.tobytes()


def test_packed_once_and_again_after_a_change(monkeypatch):
    packed, pack = [], kernels.pack_weights
    monkeypatch.setattr(kernels, "pack_weights", lambda *a: packed.append(1) or pack(*a))
    layer = a_layer()

    def times(calls=5):
        packed.clear()
        for _ in range(calls):
            answer(layer)
        return len(packed)

    assert (times(), times()) == (1, 0)
    flip(layer.weight.data)
    assert (times(), times()) == (1, 0)
    held = layer.weight.data  # whoever has it may write at any time
    assert times() == 5
    del held
    assert (times(), times()) == (1, 0)


def test_two_layers_with_one_parameter_both_notice():
    one, other = a_layer(), a_layer()
    other.weight = one.weight
    for _ in range(2):
        answer(one), answer(other)
    flip(one.weight.data)
    assert np.array_equal(answer(one), answer(other))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_a_copy_has_weights_of_its_own(copied):
    layer = a_layer()
    before = answer(layer)
    other = copied(layer)
    flip(other.weight.data)
    assert np.array_equal(answer(layer), before)
    assert not np.array_equal(answer(other), before)


def test_each_backend_keeps_its_own():
    layer = a_layer()
    compiled = answer(layer)
    with using("numpy"):
        np.testing.assert_array_equal(answer(layer), compiled)
    np.testing.assert_array_equal(answer(layer), compiled)


@pytest.mark.parametrize("surrogate", ["clip", "tanh"])
@pytest.mark.parametrize("beta", ["closed", "learned"])
@pytest.mark.parametrize("groups", [1, 2, 6])
def test_the_bits_are_those_of_a_call_that_is_recorded(groups, beta, surrogate):
    layer = a_layer(groups, beta=beta, surrogate=surrogate)
    assert answer(layer).tobytes() == layer(X).data.tobytes()


def test_inputs_that_do_not_fit_are_refused_as_when_recorded():
    layer = a_layer()
    wrong = {ValueError: X[:, :5], TypeError: X.astype(np.float64)}
    for error, x in wrong.items():
        with pytest.raises(error):
            layer(x)
        with no_grad(), pytest.raises(error, match="xnor_conv2d"):
            layer(x)


def test_after_an_error_nothing_old_is_answered():
    layer = a_layer()
    answer(layer)
    layer.weight.data = layer.weight.data[0].copy()
    for _ in range(2):
        with pytest.raises(ValueError, match="Cout"):
            answer(layer)


def test_a_change_through_a_weak_reference_is_noticed():
    layer = a_layer()
    held = weakref.ref(layer.weight.data)
    before = answer(layer)
    flip(held())
    assert not np.array_equal(answer(layer), before)


def test_weights_that_an_optimiser_has_moved_are_kept(monkeypatch):
    layer, packed = nn.Sequential(a_layer(), a_layer()), []
    layer(X).sum().backward()
    optim.SGD(layer.parameters(), 0.1).step()
    pack = kernels.pack_weights
    monkeypatch.setattr(kernels, "pack_weights", lambda *a: packed.append(a) or pack(*a))
    for _ in range(3):
        answer(layer)
    assert len(packed) == 2
