"""The engine itself: what accumulates, what is freed, what is refused, and in which words."""

import weakref

import numpy as np
import pytest

import bnas.functional as F
from bnas.autodiff import Function, Tensor, frozen, grad, no_grad, unbroadcast
from bnas.nn import Parameter
from bnas.optim import SGD


def leaf(*values, dtype=np.float32):
    return Tensor(np.array(values, dtype), requires_grad=True)


def custom(backward, broadcasts=False):
    """The identity on one input, with a backward of the test's choosing."""
    members = {
        "forward": staticmethod(lambda ctx, x: x.copy()),
        "backward": staticmethod(backward),
        "broadcasts": broadcasts,
    }
    return type("Custom", (Function,), members)


@pytest.mark.parametrize("constant", [np.float32([2, 3]), [2.0, 3.0], None])
@pytest.mark.parametrize("first", [True, False])
def test_a_tensor_beside_an_array_or_nothing_keeps_its_gradient(constant, first):
    members = {
        "forward": staticmethod(lambda ctx, a, b: (b if a is None else a).copy()),
        "backward": staticmethod(lambda ctx, dy: (5 * dy, 5 * dy)),
    }
    x = leaf(1.0, 4.0)
    inputs = (x, constant) if first else (constant, x)
    type("Custom", (Function,), members).apply(*inputs).sum().backward()
    np.testing.assert_array_equal(x.grad, np.float32([5, 5]), strict=True)


# ------------------------------------------------------------------------------------ accumulation


def test_a_value_used_several_times_gets_the_sum():
    x = leaf(3.0)
    y = x * x  # 2x
    z = y * y + x  # a diamond: 4x³ + 1
    z.backward()
    assert x.grad == pytest.approx(4 * 27 + 1)


def test_a_ladder_of_diamonds_is_walked_once_per_node():
    """2⁶⁰ paths: a walk along paths, instead of over nodes, would not end."""
    x = leaf(1.0, dtype=np.float64)
    y = x
    for _ in range(60):
        y = y + y
    y.backward()
    assert x.grad == 2.0**60


def test_a_long_and_a_short_path_meet_in_the_right_order():
    """The newest first: y's gradient must be whole before y's own backward runs."""
    x = leaf(2.0)
    y = x * 3.0
    slow = ((y * y) * y) + y
    (slow + y).backward()
    assert x.grad == pytest.approx(3 * (3 * 36 + 2))


def test_leaves_accumulate_over_calls():
    x = leaf(1.0, 2.0)
    (x * 3.0).sum().backward()
    (x * 4.0).sum().backward()
    np.testing.assert_array_equal(x.grad, [7, 7])


def test_interior_tensors_keep_no_gradient():
    x = leaf(1.0, 2.0)
    y = x * 3.0
    y.sum().backward()
    assert y.grad is None and x.grad is not None


def test_backward_of_a_leaf_copies_the_cotangent():
    x, cotangent = leaf(1.0, 2.0), np.ones(2, np.float32)
    x.backward(cotangent)
    cotangent[:] = 5
    np.testing.assert_array_equal(x.grad, [1, 1])


def test_a_given_cotangent_is_contracted():
    x = leaf(1.0, 2.0, 3.0)
    (x * x).backward(np.array([1.0, 0.0, -1.0]))
    np.testing.assert_array_equal(x.grad, [2, 0, -6])
    assert x.grad.dtype == np.float32


def test_gradients_of_two_leaves_share_no_memory():
    """Add hands the same dy to both inputs; a gradient clipped in place must not clip the other."""
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    cotangent = np.ones(2, np.float32)
    (a + b).backward(cotangent)
    first, second = grad(a + b, [a, b], cotangent)
    for one, other in ((a.grad, b.grad), (first, second), (a.grad, cotangent), (first, cotangent)):
        assert not np.shares_memory(one, other)
    c = leaf(1.0, 2.0, 3.0)
    c.sum().backward()
    c.grad *= 2  # a broadcast view would be read-only
    np.testing.assert_array_equal(c.grad, [2, 2, 2])


@pytest.mark.parametrize("shape", [(), (1,), (2, 3)])
def test_sums_of_many_gradients_are_written_into_no_array_of_an_operation(shape):
    """Add returns the dy that it got, twice, Reshape a view of it, sum a read-only one."""
    rng = np.random.default_rng(0)
    a, b = (Tensor(rng.standard_normal(shape), requires_grad=True) for _ in range(2))
    cotangent = rng.standard_normal(shape)
    given = cotangent.copy()
    late = a * 5.0  # the oldest: its gradient reaches a last
    y = a + b
    z = (((y + a) + a) + y) + y.reshape(-1).reshape(shape) + a.reshape(shape) + b
    z = z + y.sum() + y.sum() + y.sum() + late
    for _ in range(2):  # nothing that a graph keeps has changed
        da, db = grad(z, [a, b], cotangent, retain_graph=True)
        total = 3 * given.sum()
        np.testing.assert_allclose(da, (3 + 3 + 5) * given + total, rtol=1e-12)
        np.testing.assert_allclose(db, (3 + 1) * given + total, rtol=1e-12)
        np.testing.assert_array_equal(cotangent, given)
        assert not np.shares_memory(da, db) and da.flags.writeable


def test_a_gradient_that_the_operation_keeps_is_not_added_to():
    kept = np.array([1.0, 2.0], np.float32)
    function = custom(lambda ctx, dy: (kept,))
    x = leaf(0.0, 0.0)
    for value in (x, x * 1.0):
        y = function.apply(value) + value + value + value
        assert grad(y, [x], np.ones(2))[0].tolist() == [4, 5]
        assert kept.tolist() == [1, 2]


@pytest.mark.parametrize("twice", [True, False])
def test_a_gradient_that_nobody_else_holds_is_added_to_in_place(twice):
    made, arrived = [], []

    def make(ctx, dy):
        made.append(2 * dy)
        return (made[-1],)

    def arrive(ctx, dy):
        arrived.append(dy)
        return (dy.copy(),)

    function = custom(make)
    function.makes = (0,)
    x = leaf(1.0, 2.0)
    y = custom(arrive).apply(x)
    z = function.apply(y) + function.apply(y) if twice else function.apply(y) + y
    z.backward(np.ones(2))
    assert arrived[0] is made[0] and x.grad.tolist() == ([4, 4] if twice else [3, 3])


def test_a_sum_that_add_hands_on_belongs_to_both_its_inputs():
    """y's gradient is a sum of the engine's own; a's and b's both start as that array."""
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    older = a * 7.0
    inner = a * 1.0 + b * 1.0
    y = inner + b
    z = y * 2.0 + y * 3.0 + y * 4.0 + older
    da, db = grad(z, [a, b], np.ones(2))
    assert da.tolist() == [16, 16] and db.tolist() == [18, 18]


def test_an_optimiser_step_after_the_forward_does_not_change_the_gradient():
    w, x = leaf(2.0, 3.0), leaf(5.0, 7.0)
    loss = (w * x).sum()
    w.grad = np.ones(2, np.float32)
    SGD([w], lr=1.0).step()
    np.testing.assert_array_equal(w.data, [1, 2])
    np.testing.assert_array_equal(grad(loss, [x])[0], [2, 3])


# ------------------------------------------------------------------------------- freeing and depth


def test_a_second_backward_names_the_remedy():
    x = leaf(2.0)
    y = x * x
    y.backward()
    with pytest.raises(RuntimeError, match="Mul was freed .* retain_graph=True"):
        y.backward()
    with pytest.raises(RuntimeError, match="freed"):  # also when only a part of it was freed
        (y + 1.0).backward()
    assert x.grad == 4


def test_retain_graph_doubles_the_leaf_and_nothing_else():
    """An interior gradient that survived the first call would make it three times."""
    x = leaf(2.0)
    y = (x * x) * 3.0
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad == 24


@pytest.mark.slow
def test_deep_graphs_run_backward():
    x = leaf(1.0)
    y = x
    for _ in range(100_000):
        y = y + 1.0
    y.backward()
    assert x.grad == 1


@pytest.mark.slow
def test_deep_graphs_can_be_dropped():
    y = leaf(1.0)
    for _ in range(100_000):
        y = y + 1.0
    del y  # recursive deallocation would overflow the C stack here


def test_freeing_drops_what_the_forward_saved():
    x = leaf(1.0, 2.0)
    y = x.exp()
    context = y.node
    assert hasattr(context, "y")
    y.backward(np.ones(2))
    assert not hasattr(context, "y") and context.inputs == ()


def test_what_has_been_added_up_is_gone_before_the_next_backward_runs():
    made, alive = [], []

    def add(ctx, dy):
        dx = 2 * dy
        made.append(weakref.ref(dx))
        return (dx,)

    def look(ctx, dy):
        alive.extend(part() is not None for part in made)
        return (dy,)

    x = leaf(1.0)
    y = custom(look).apply(x)
    (custom(add).apply(y) + custom(add).apply(y)).backward()
    assert x.grad == 4 and alive == [False, False]


# ------------------------------------------------------------------------------------ what counts


def test_no_grad_records_nothing_and_ends_after_an_error():
    x = leaf(1.0)
    with pytest.raises(KeyError), no_grad():
        y = x * 2.0
        raise KeyError
    assert y.node is None and not y.requires_grad
    assert (x * 2.0).requires_grad


def test_frozen_leaves_are_constants_inside_only():
    x, w, constant = leaf(2.0), leaf(3.0), Tensor([1.0])
    with pytest.raises(KeyError), frozen([w, constant]):
        y = x * w
        raise KeyError
    assert w.requires_grad and not constant.requires_grad
    y.backward()
    assert x.grad == 3 and w.grad is None


def test_needs_tell_the_backward_what_to_skip():
    seen = []
    function = custom(lambda ctx, dy: seen.append(list(ctx.needs)) or (dy,))
    function.apply(leaf(1.0)).backward()
    assert seen == [[True]]
    assert function.apply(Tensor([1.0])).node is None


def test_detach_and_constants_stop_the_flow():
    x = leaf(2.0)
    (x * x.detach()).backward()
    assert x.grad == 2
    with pytest.raises(RuntimeError, match="nothing here requires a gradient"):
        (x.detach() * 3.0).backward()


def test_grad_leaves_the_attribute_alone():
    x, w = leaf(2.0), leaf(5.0)
    x.grad = np.array([9], np.float32)
    dw, dx = grad(x * w, [w, x])
    assert (dw, dx) == (2, 5)
    assert x.grad == 9 and w.grad is None


def test_grad_refuses_inputs_without_influence():
    x, other = leaf(2.0), leaf(1.0)
    y = x * 2.0
    with pytest.raises(ValueError, match=r"input 1 of shape \(1,\).*requires_grad=True"):
        grad(y * y, [x, other])
    y = x * 2.0
    with pytest.raises(ValueError, match="input 0 .* leaf tensors"):
        grad(y * y, [y])


def test_backward_refuses_missing_and_wrong_cotangents():
    x = leaf(1.0, 2.0)
    with pytest.raises(ValueError, match=r"shape \(2,\), not one element"):
        (x * 2.0).backward()
    with pytest.raises(ValueError, match=r"gradient has shape \(3,\), the output \(2,\)"):
        (x * 2.0).backward(np.ones(3))


# ------------------------------------------------------------------------------------ broadcasting


@pytest.mark.parametrize(
    "shape", [(), (1,), (4,), (3, 1), (1, 4), (2, 1, 1), (1, 1, 1, 1), (2, 3, 4), (2, 1, 4)]
)
@pytest.mark.parametrize("operation", [F.add, F.sub, F.mul, F.div])
def test_gradients_are_summed_back_to_the_input(operation, shape):
    """Against the same operation on operands that were stretched by hand."""
    rng = np.random.default_rng(0)
    small, big = rng.uniform(1, 2, shape), rng.uniform(1, 2, (2, 3, 4))
    full = np.broadcast_shapes(shape, big.shape)
    dy = rng.standard_normal(full)
    for swap in (False, True):
        operands = [Tensor(a, requires_grad=True) for a in (small, big)]
        whole = [Tensor(np.broadcast_to(a, full).copy(), requires_grad=True) for a in (small, big)]
        got = grad(operation(*operands[:: -1 if swap else 1]), operands, dy)
        want = grad(operation(*whole[:: -1 if swap else 1]), whole, dy)
        for ours, theirs, operand in zip(got, want, operands):
            lead = theirs.reshape((-1, *theirs.shape[theirs.ndim - operand.ndim :])).sum(axis=0)
            stretched = tuple(i for i, n in enumerate(operand.shape) if n == 1)
            np.testing.assert_allclose(ours, lead.sum(axis=stretched, keepdims=True), rtol=1e-12)
            assert ours.shape == operand.shape


def test_unbroadcast_handles_empty_arrays():
    assert unbroadcast(np.ones((0, 3)), (1, 3)).shape == (1, 3)
    assert unbroadcast(np.ones((2, 0)), (0,)).shape == (0,)


# -------------------------------------------------------------------------- checks of each backward


@pytest.mark.parametrize(
    "backward, message",
    [
        (lambda ctx, dy: (dy[:1],), r"Custom.backward .* shape \(1,\) .* input of shape \(2,\)"),
        (lambda ctx, dy: (dy.astype(np.float64),), "Custom.backward .* float64 .* float32"),
        (lambda ctx, dy: dy, "Custom.backward must return a tuple of 1"),
        (lambda ctx, dy: (dy, dy), "Custom.backward must return a tuple of 1"),
    ],
)
def test_a_bad_backward_is_named(backward, message):
    with pytest.raises(RuntimeError, match=message):
        custom(backward).apply(leaf(1.0, 2.0)).backward(np.ones(2))


def test_a_gradient_is_not_broadcast_unless_declared():
    def backward(ctx, dy):
        return (np.stack([dy, dy]),)

    with pytest.raises(RuntimeError, match=r"shape \(2, 2\)"):
        custom(backward).apply(leaf(1.0, 2.0)).backward(np.ones(2))
    x = leaf(1.0, 2.0)
    custom(backward, broadcasts=True).apply(x).backward(np.ones(2))
    np.testing.assert_array_equal(x.grad, [2, 2])


def test_errors_of_a_forward_name_the_operation_and_the_shapes():
    with pytest.raises(ValueError, match=r"^Add: .*\(inputs of shape \(2,\), \(3,\)\)"):
        leaf(1.0, 2.0) + leaf(1.0, 2.0, 3.0)
    with pytest.raises(ValueError, match=r"^Reshape: .*\(2,\)"):
        leaf(1.0, 2.0).reshape(3)
    with pytest.raises(IndexError, match=r"^Slice: .*\(2,\)"):
        leaf(1.0, 2.0)[5]


# ---------------------------------------------------------------------------- dtypes and attributes


def test_mixed_dtypes_are_refused():
    with pytest.raises(TypeError, match="Mul: inputs of dtype float32 and float64.*dtype="):
        leaf(1.0) * leaf(1.0, dtype=np.float64)


@pytest.mark.parametrize("low", [True, False])
def test_astype_converts_and_its_backward_converts_back(low):
    """Two dtypes in one graph, and a leaf that is used in both."""
    x = leaf(0.1, 2.0, dtype=np.float32 if low else np.float64)
    other = np.float64 if low else np.float32
    y = x.astype(other)
    assert y.dtype == other and y.data.tolist() == x.data.astype(other).tolist()
    factors = Tensor(np.array([3.0, 5.0], other))
    total = (y * factors).sum().astype(x.dtype) + (x * 2.0).sum()
    assert total.dtype == x.dtype
    total.backward()
    assert x.grad.dtype == x.dtype and x.grad.tolist() == [5, 7]
    cotangent = np.array([0.1, 0.2], other)
    (dx,) = grad(x.astype(other), [x], cotangent)
    np.testing.assert_array_equal(dx, cotangent.astype(x.dtype), strict=True)


def test_astype_to_its_own_dtype_is_the_tensor_itself():
    x = leaf(1.0)
    assert x.astype(np.float32) is x and x.astype("float32") is x


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.float16, bool, object, np.complex128])
def test_other_arrays_are_refused_with_advice(dtype):
    array = np.ones(2, dtype)
    with pytest.raises(TypeError, match=r"float32 or float64, got .*astype\(np.float32\)"):
        Tensor(array)
    for call in (
        lambda: leaf(1.0, 2.0) + array,
        lambda: array + leaf(1.0, 2.0),
        lambda: F.relu(array),
    ):
        with pytest.raises(TypeError, match=r"\w+: expected .*astype\(np.float32\)"):
            call()


def test_python_numbers_become_float32_and_arrays_stay():
    assert Tensor([[1, 2], [3, 4]]).dtype == np.float32
    assert Tensor(2).shape == ()
    assert Tensor([1.0], dtype=np.float64).dtype == np.float64
    array = np.zeros(3)
    assert Tensor(array).data is array and Tensor(Tensor(array)).data is array
    assert Tensor(array, dtype=np.float32).dtype == np.float32


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scalar", [3, 2.5, True, np.float64(2.5), np.float32(2.5), np.int64(3)])
def test_plain_numbers_take_the_dtype_of_the_tensor(scalar, dtype):
    x = leaf(2.0, 4.0, dtype=dtype)
    s = float(scalar)
    expected = {
        "add": (x + scalar, x.data + s),
        "radd": (scalar + x, s + x.data),
        "sub": (x - scalar, x.data - s),
        "rsub": (scalar - x, s - x.data),
        "mul": (x * scalar, x.data * s),
        "rmul": (scalar * x, s * x.data),
        "div": (x / scalar, x.data / s),
        "rdiv": (scalar / x, s / x.data),
        "pow": (x**scalar, x.data**s),
        "clip": (x.clip(scalar, None), np.maximum(x.data, s)),
    }
    for name, (got, want) in expected.items():
        assert isinstance(got, Tensor) and got.dtype == dtype, name
        np.testing.assert_allclose(got.data, want, rtol=1e-6, err_msg=name)
        assert grad(got, [x], np.ones(2))[0].dtype == dtype


def test_an_array_on_the_left_makes_one_tensor():
    """Without __array_ufunc__ = None NumPy would build an object array of Tensors."""
    x, array = leaf(1.0, 2.0), np.array([10.0, 20.0], np.float32)
    for got, want in (
        (array + x, [11, 22]),
        (array - x, [9, 18]),
        (array * x, [10, 40]),
        (array / x, [10, 10]),
    ):
        assert isinstance(got, Tensor)
        np.testing.assert_array_equal(got.data, want)
    matrix = np.ones((3, 2), np.float32)
    assert isinstance(matrix @ x, Tensor) and (matrix @ x).shape == (3,)


def test_tensors_are_hashed_by_identity():
    """== compares values, so two equal Tensors must not be one key, nor one that changes another."""
    a, b = leaf(1.0, 2.0), leaf(1.0, 2.0)
    c, d = Parameter(np.ones(1, np.float32)), Parameter(np.ones(1, np.float32))
    assert len({a, b, c, d}) == 4 and hash(a) != hash(b)
    a.data = a.data + 1
    assert {a: 5}[a] == 5 and a in {a} and b not in {a}
    assert list(dict.fromkeys([c, d, c])) != [] and len(dict.fromkeys([c, d, c])) == 2


def test_equal_leaves_get_their_own_gradients():
    a, b = leaf(1.0, 2.0), leaf(1.0, 2.0)
    da, db = grad((a * 2.0 + b * 3.0).sum(), [a, b])
    assert da.tolist() == [2, 2] and db.tolist() == [3, 3]
    with pytest.raises(ValueError, match="input 0"):
        grad((a * 2.0).sum(), [b])


def test_attribute_typos_raise():
    x = leaf(1.0)
    with pytest.raises(AttributeError):
        x.gard
    with pytest.raises(AttributeError):
        x.requires_gard = False


def test_repr_and_item():
    x = leaf(1.5)
    assert "requires_grad=True" in repr(x) and "from=Mul" in repr(x * x)
    assert x.item() == 1.5 and isinstance(x.item(), float)
    assert len(leaf(1.0, 2.0)) == 2 and [row.item() for row in leaf(1.0, 2.0)] == [1, 2]


@pytest.mark.parametrize("name", ["freed", "free", "shape", "x", "data"])
def test_a_forward_may_save_under_any_name_of_its_own(name):
    def forward(ctx, x):
        setattr(ctx, name, 3.0)
        return 3 * x

    def backward(ctx, dy):
        return (getattr(ctx, name) * dy,)

    members = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    x = leaf(2.0)
    type("Triple", (Function,), members).apply(F.exp(x)).backward()
    assert x.grad == pytest.approx(3 * np.exp(2))


@pytest.mark.parametrize(
    "name", ["function", "inputs", "needs", "shapes", "dtype", "order", "params"]
)
def test_a_forward_that_overwrites_what_the_engine_needs_is_stopped(name):
    def forward(ctx, x):
        setattr(ctx, name, 3.0)

    members = {"forward": staticmethod(forward)}
    with pytest.raises(AttributeError, match=name):
        type("Rude", (Function,), members).apply(leaf(2.0))
