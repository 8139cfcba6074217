"""The engine: a Tensor that remembers how it was made, and the walk back through that memory.

Every operation is a `Function`: a forward and a backward on plain NumPy arrays, side by side. What
all operations need is done here once: recording the graph, visiting it in reverse order, summing
the gradients of a value used twice, undoing broadcasting, checking every gradient, freeing memory.
Operators such as `a + b` live one floor up, in `bnas.functional`.
"""

from contextlib import contextmanager
from itertools import count
from operator import attrgetter

import numpy as np

from bnas.kernels.buffers import empty
from bnas.kernels.sums import accurate_sum

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))

_recording = True
_creation_order = count()


@contextmanager
def no_grad():
    """Inside this context nothing is recorded: results do not require gradients."""
    global _recording
    before, _recording = _recording, False
    try:
        yield
    finally:
        _recording = before


@contextmanager
def frozen(tensors):
    """Inside this context the leaf `tensors` count as constants: no gradient is computed for them."""
    tensors = list(tensors)
    before = [tensor.requires_grad for tensor in tensors]
    for tensor in tensors:
        tensor.requires_grad = False
    try:
        yield
    finally:
        for tensor, requires_grad in zip(tensors, before):
            tensor.requires_grad = requires_grad


class Tensor:
    """A float32 or float64 array in a computation graph.

    Args:
        data: a NumPy array of float32 or float64 (kept, not copied), another Tensor, or Python
            numbers in nested lists (stored as float32 unless `dtype` says otherwise).
        requires_grad: whether `backward` is to leave a gradient in `.grad`.
        dtype: float32 or float64; converts.

    Attributes:
        data: the NumPy array.
        grad: None, or a NumPy array of the shape and dtype of `data`; successive calls of
            `backward` add to it, as in PyTorch. Only leaves (tensors that no operation made) have one.

    Raises:
        TypeError: `data` is an array of another dtype (integers, float16, objects).
    """

    __slots__ = ("data", "grad", "requires_grad", "node", "__weakref__")
    __array_ufunc__ = None  # so that ndarray + Tensor is handed to Tensor.__radd__
    __hash__ = object.__hash__  # by identity: == compares values, and gradients are kept by Tensor

    def __init__(self, data, requires_grad=False, dtype=None):
        if isinstance(data, Tensor):
            data = data.data
        if type(data) is not np.ndarray or dtype is not None:
            if dtype is None and not isinstance(data, (np.ndarray, np.generic)):
                dtype = np.float32
            data = np.asarray(data, dtype=dtype)
        if data.dtype not in FLOATS:
            raise TypeError(
                f"Tensor holds float32 or float64, got {data.dtype}; "
                "convert first, for instance with array.astype(np.float32)"
            )
        self.data = data
        self.grad = None
        self.requires_grad = requires_grad
        self.node = None

    @property
    def shape(self):
        return self.data.shape

    @property
    def dtype(self):
        return self.data.dtype

    @property
    def ndim(self):
        return self.data.ndim

    @property
    def size(self):
        return self.data.size

    def __len__(self):
        return len(self.data)

    def __repr__(self):
        values = np.array2string(self.data, precision=4, threshold=20, prefix="Tensor(")
        if self.node is not None:
            return f"Tensor({values}, from={self.node.function.__name__})"
        return f"Tensor({values}{', requires_grad=True' if self.requires_grad else ''})"

    def item(self):
        """The value of a Tensor of one element, as a Python float."""
        return self.data.item()

    def numpy(self):
        """The underlying NumPy array (not a copy)."""
        return self.data

    def detach(self):
        """The same array as a constant: nothing flows back through it."""
        return Tensor(self.data)

    def backward(self, gradient=None, retain_graph=False):
        """Add d(self)/d(leaf), contracted with `gradient`, to the `.grad` of every leaf.

        Args:
            gradient: array of the shape of `self`, the cotangent; may be left out for one element.
            retain_graph: keep what the operations saved, so that `backward` can run again.

        Raises:
            RuntimeError: nothing here requires a gradient, or the graph was freed by an earlier call.
            ValueError: `gradient` is missing or of another shape.
        """
        for leaf, gradient in _leaf_gradients(self, gradient, retain_graph).items():
            leaf.grad = gradient if leaf.grad is None else leaf.grad + gradient


def grad(output, inputs, gradient=None, retain_graph=False):
    """Gradients of `output` for the leaf Tensors `inputs`, as a list of arrays; `.grad` stays as it is.

    Raises:
        ValueError: an input is not a leaf on which `output` depends.
    """
    gradients = _leaf_gradients(output, gradient, retain_graph)
    for position, tensor in enumerate(inputs):
        if tensor not in gradients:
            raise ValueError(
                f"grad: the output does not depend on input {position} of shape {tensor.shape}; "
                "give leaf tensors with requires_grad=True that were used to compute the output"
            )
    return [gradients[tensor] for tensor in inputs]


class Function:
    """An operation: `forward` and `backward` on arrays, adjacent so that both can be read together.

    forward(ctx, *arrays, **params) -> array. It leaves on `ctx` exactly what `backward` reads.
    backward(ctx, dy) -> one gradient per input (a tuple), or None where none flows. It may consult
    `ctx.needs`, one bool per input, to skip work, and `ctx.shapes`, the inputs' shapes. What it returns
    may be dy itself, a view, or an array that it keeps: the engine writes into sums of its own alone.

    An operation whose inputs broadcast against each other sets `broadcasts`; the engine then sums the
    gradients back to the inputs' shapes. An operation with a surrogate gradient defines
    surrogate(*arrays, **params) -> a function of the inputs whose true derivative at `arrays` is what
    `backward` claims. An operation with kinks defines off_kinks(*arrays, **params) -> arrays near the
    given ones at which it is differentiable. `bnas.gradcheck` uses both.
    """

    broadcasts = False
    surrogate = None

    @staticmethod
    def forward(ctx, *arrays, **params):
        raise NotImplementedError

    @staticmethod
    def backward(ctx, dy):
        raise NotImplementedError

    @staticmethod
    def off_kinks(*arrays, **params):
        return arrays

    @classmethod
    def apply(cls, *inputs, **params):
        """Run the forward on Tensors (None for an absent optional input); record it if need be."""
        context = Context(cls, inputs)
        arrays = [None if tensor is None else tensor.data for tensor in inputs]
        try:
            output = cls.forward(context, *arrays, **params)
        except (ValueError, IndexError) as error:
            shapes = ", ".join(str(t.shape) for t in inputs if t is not None)
            raise type(error)(f"{cls.__name__}: {error} (inputs of shape {shapes})") from error
        result = Tensor(output)
        if True in context.needs:
            result.requires_grad = True
            result.node = context
        return result


class Context:
    """What one application of a Function remembers until its backward has run.

    Forward may set any further attribute; all of them are dropped when the graph is freed.
    """

    __slots__ = ("function", "inputs", "needs", "shapes", "dtype", "order", "freed", "__dict__")

    def __init__(self, function, inputs):
        self.function = function
        self.dtype = None
        self.needs, self.inputs, self.shapes = [], [], []
        for tensor in inputs:
            need, source, shape = False, None, None
            if tensor is not None:
                data = tensor.data
                shape = data.shape
                if self.dtype is None:
                    self.dtype = data.dtype
                elif data.dtype != self.dtype:
                    raise TypeError(
                        f"{function.__name__}: inputs of dtype {self.dtype} and {data.dtype}; all must "
                        "be of one dtype: convert one of them with Tensor(t, dtype=...)"
                    )
                if _recording and tensor.requires_grad:
                    # A made tensor is remembered by its node alone, to let its array be freed early.
                    need, source = True, tensor.node or tensor
            self.needs.append(need)
            self.inputs.append(source)
            self.shapes.append(shape)
        self.order = next(_creation_order)
        self.freed = False

    def free(self):
        self.__dict__.clear()
        self.inputs = ()
        self.freed = True


def _leaf_gradients(output, gradient, retain_graph):
    """{leaf: gradient} for all leaves that `output` depends on; no array is shared."""
    gradient = _cotangent(output, gradient)
    if output.node is None:
        if not output.requires_grad:
            raise RuntimeError(
                "backward: nothing here requires a gradient; create the leaves with "
                "requires_grad=True and compute outside no_grad()"
            )
        return {output: gradient.copy()}
    gradients = {output.node: gradient}  # of nodes that are still to come, and of leaves
    summed = set()  # whose gradient is an array made here, which may be written to
    for node in _newest_first(output.node):
        dy = gradients.pop(node, None)
        if dy is not None:
            for source, dx in _input_gradients(node, dy):
                if source not in gradients:
                    gradients[source] = dx
                elif source in summed:
                    gradients[source] += dx
                else:
                    total = empty(dx.shape, dx.dtype)
                    gradients[source] = np.add(gradients[source], dx, out=total)
                    summed.add(source)
        if not retain_graph:
            node.free()
    return {leaf: np.array(gradient) for leaf, gradient in gradients.items()}


def _cotangent(output, gradient):
    if gradient is None:
        if output.size != 1:
            raise ValueError(
                f"backward: the output has shape {output.shape}, not one element; "
                "reduce it to a scalar loss or pass gradient= of that shape"
            )
        return np.ones(output.shape, output.dtype)
    gradient = np.asarray(gradient.data if isinstance(gradient, Tensor) else gradient, output.dtype)
    if gradient.shape != output.shape:
        raise ValueError(
            f"backward: gradient has shape {gradient.shape}, the output {output.shape}"
        )
    return gradient


def _newest_first(root):
    """All nodes below `root`, every one before its inputs.

    A node is always newer than its inputs, so sorting by creation is a topological order; nothing
    here recurses, however deep the graph.
    """
    found, stack = {root}, [root]
    while stack:
        node = stack.pop()
        if node.freed:
            raise RuntimeError(
                f"backward: the graph below {node.function.__name__} was freed by an earlier "
                "backward; pass retain_graph=True to that one, or compute the output anew"
            )
        for source in node.inputs:
            if isinstance(source, Context) and source not in found:
                found.add(source)
                stack.append(source)
    return sorted(found, key=attrgetter("order"), reverse=True)


def _input_gradients(node, dy):
    """Run one backward; (input, its gradient) for all that get one, checked against the inputs."""
    gradients = node.function.backward(node, dy)
    if not isinstance(gradients, tuple) or len(gradients) != len(node.shapes):
        raise RuntimeError(
            f"{node.function.__name__}.backward must return a tuple of {len(node.shapes)} gradients"
        )
    checked = []
    for source, gradient, shape in zip(node.inputs, gradients, node.shapes):
        if source is None or gradient is None:
            continue
        if node.function.broadcasts:
            gradient = unbroadcast(gradient, shape)
        if gradient.shape != shape or gradient.dtype != node.dtype:
            raise RuntimeError(
                f"{node.function.__name__}.backward returned a gradient of shape {gradient.shape} and "
                f"dtype {gradient.dtype} for an input of shape {shape} and dtype {node.dtype}"
            )
        checked.append((source, gradient))
    return checked


def unbroadcast(gradient, shape):
    """Sum `gradient` over the axes along which an array of `shape` was broadcast."""
    if gradient.shape == shape:
        return gradient
    leading = gradient.ndim - len(shape)
    stretched = [
        leading + axis
        for axis, length in enumerate(shape)
        if length == 1 and gradient.shape[leading + axis] != 1
    ]
    return accurate_sum(gradient, axis=(*range(leading), *stretched)).reshape(shape)
