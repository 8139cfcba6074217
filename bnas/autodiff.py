"""The engine: a Tensor that remembers how it was made, and the walk back through that memory.

Every operation is a `Function`: a forward and a backward on plain NumPy arrays, side by side. What
all operations need is done here once: recording the graph, visiting it in reverse order, summing
the gradients of a value used twice, undoing broadcasting, checking every gradient, freeing memory.
Operators such as `a + b` live one floor up, in `bnas.functional`.
"""

from contextlib import contextmanager
from contextvars import ContextVar
from itertools import count
from operator import attrgetter

import numpy as np

from bnas.kernels.buffers import empty
from bnas.kernels.sums import accurate_sum

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))

_OTHERWISE = {  # names of PyTorch's Tensor, and what to write here
    "view": "x.reshape(...)",
    "t": "x.T",
    "dim": "x.ndim",
    "min": "-(-x).max(...)",
    "tolist": "x.numpy().tolist()",
    "to": "x.astype(dtype); there is one device",
    "cpu": "x itself; there is one device",
    "cuda": "x itself; there is one device",
    "float": "x.astype(np.float32)",
    "double": "x.astype(np.float64)",
    "zero_": "x.grad = None for a gradient, x[...] = 0 under no_grad for values",
    "requires_grad_": "x.requires_grad = True",
    "is_leaf": "x.node is None",
}
_recording = ContextVar("recording", default=True)  # each thread has its own
_creation_order = count()


@contextmanager
def no_grad():
    """Inside this context nothing is recorded: results do not require gradients.

    It holds for the thread (or asynchronous task) that enters it; other threads go on recording.
    """
    before = _recording.get()
    _recording.set(False)
    try:
        yield
    finally:
        _recording.set(before)


def is_grad_enabled():
    """Whether operations are recorded here and now: outside `no_grad`."""
    return _recording.get()


def in_place_error(written, instead):
    """The error for a change in place that would have to be recorded."""
    return RuntimeError(
        f"{written} would change a Tensor in place without being recorded; a step of gradient descent, say, "
        f"belongs into `with no_grad():`, and for a new Tensor write {instead}"
    )


@contextmanager
def frozen(tensors):
    """Inside this context the leaf `tensors` count as constants: no gradient is computed for them.

    That is a state of the tensors, so it holds in all threads that compute with them.

    Raises:
        TypeError: `tensors` is a single Tensor, or holds something else.
    """
    tensors = tensor_list(tensors, "frozen")
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
        TypeError: `data` is an array of another dtype (integers, float16, objects), or is set to
            something else than an array.
    """

    __slots__ = ("_data", "_grad", "requires_grad", "node", "__weakref__")
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
        if requires_grad is not False and requires_grad is not True:
            raise TypeError(
                f"Tensor: requires_grad must be True or False, got {requires_grad!r}; for a Tensor of "
                "some shape give an array, for instance Tensor(np.zeros((2, 3)))"
            )
        self._data = data
        self._grad = None
        self.requires_grad = requires_grad
        self.node = None

    @property
    def data(self):
        return self._data

    @data.setter
    def data(self, array):
        self._data = _float_array(array, "data")

    @property
    def grad(self):
        return self._grad

    @grad.setter
    def grad(self, array):
        if array is not None:
            array = _float_array(array, "grad")
            if (array.shape, array.dtype) != (self._data.shape, self._data.dtype):
                raise ValueError(
                    f"Tensor.grad must be of the shape and dtype of data, {self.shape} and "
                    f"{self.dtype}; got {array.shape} and {array.dtype}"
                )
        self._grad = array

    @property
    def shape(self):
        return self._data.shape

    @property
    def dtype(self):
        return self._data.dtype

    @property
    def ndim(self):
        return self._data.ndim

    @property
    def size(self):
        return self._data.size

    def __len__(self):
        return len(self._data)

    def __iter__(self):
        if self.ndim == 0:
            raise TypeError("iteration over a Tensor without axes; use item() for its value")
        return (self[i] for i in range(len(self)))

    def __contains__(self, value):
        return bool((self._data == getattr(value, "data", value)).any())

    def __bool__(self):
        if self.size != 1:
            raise ValueError(
                f"the truth value of a Tensor of shape {self.shape} is ambiguous; "
                "use (x != 0).any() or (x != 0).all()"
            )
        return bool(self._data.item())

    def __float__(self):
        return self.item()

    def __int__(self):
        return int(self.item())

    def __format__(self, spec):
        """The value of a Tensor of one element in that format; without one and with axes, as `str`."""
        return format(self.item(), spec) if spec or self.ndim == 0 else str(self)

    def __array__(self, dtype=None, copy=None):
        """The values as a NumPy array: for a Tensor that requires no gradient, which would be lost.

        Raises:
            TypeError: the Tensor requires a gradient.
        """
        if self.requires_grad:
            raise TypeError(
                "this Tensor requires a gradient, which a NumPy array cannot carry; use an operation of "
                "bnas.functional to keep it, or x.numpy() for the values alone"
            )
        return np.array(self._data, dtype=dtype, copy=copy)

    def __getattr__(self, name):
        """Called for what there is not: names that PyTorch has and that are called otherwise here."""
        hint = f"; write {_OTHERWISE[name]}" if name in _OTHERWISE else ""
        raise AttributeError(f"a Tensor has no attribute {name!r}{hint}")

    def __setitem__(self, index, value):
        """x[index] = value, for a constant, or under no_grad."""
        tensors = [t for t in (self, value) if isinstance(t, Tensor)]
        if is_grad_enabled() and any(t.requires_grad for t in tensors):
            raise in_place_error("x[index] = value", "F.where(condition, value, x)")
        data = self._data.copy()  # a graph that was recorded before goes on with the old array
        data[index] = value._data if isinstance(value, Tensor) else value
        self._data = data

    def __repr__(self):
        values = np.array2string(self._data, precision=4, threshold=20, prefix="Tensor(")
        if self.node is not None:
            return f"Tensor({values}, from={self.node.function.__name__})"
        return f"Tensor({values}{', requires_grad=True' if self.requires_grad else ''})"

    def item(self):
        """The value of a Tensor of one element, as a Python float.

        Raises:
            ValueError: the Tensor has another number of elements.
        """
        if self.size != 1:
            raise ValueError(
                f"only a Tensor of one element is a number, this one has shape {self.shape}; "
                "reduce it, for instance with x.mean(), or take x.numpy()"
            )
        return self._data.item()

    def numpy(self):
        """The underlying NumPy array (not a copy)."""
        return self._data

    def detach(self):
        """The same array as a constant: nothing flows back through it."""
        return Tensor(self._data)

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


def _float_array(value, attribute):
    """`value`, an array of float32 or float64 (or a Tensor's), as what `attribute` of a Tensor is set to."""
    if isinstance(value, Tensor):
        value = value._data
    if isinstance(value, np.generic):  # what NumPy makes of an array without axes
        value = np.asarray(value)
    if not isinstance(value, np.ndarray) or value.dtype not in FLOATS:
        got = f"an array of {value.dtype}" if isinstance(value, np.ndarray) else repr(value)
        raise TypeError(
            f"Tensor.{attribute} is a NumPy array of float32 or float64, got {got}; "
            "give for instance np.array(..., dtype=np.float32)"
        )
    return value


def several(tensors, operation):
    """`tensors`, any iterable but a Tensor, as a list.

    Raises:
        TypeError: it is one Tensor, whose rows would be taken for Tensors.
    """
    if isinstance(tensors, Tensor):
        raise TypeError(
            f"{operation}: expected a list of Tensors, got one Tensor, of shape {tensors.shape}; "
            "give [tensor] for this one alone, or list(tensor) for its rows"
        )
    return list(tensors)


def tensor_list(tensors, operation):
    """`several` of which each is a Tensor.

    Raises:
        TypeError: it is one Tensor, or holds something else.
    """
    tensors = several(tensors, operation)
    for tensor in tensors:
        if not isinstance(tensor, Tensor):
            raise TypeError(
                f"{operation}: expected a list of Tensors, got {type(tensor).__name__} in it"
            )
    return tensors


def grad(output, inputs, gradient=None, retain_graph=False):
    """Gradients of `output` for the leaf Tensors `inputs`, as a list of arrays; `.grad` stays as it is.

    Raises:
        TypeError: `inputs` is a single Tensor, or holds something else.
        ValueError: an input is not a leaf on which `output` depends.
    """
    inputs = tensor_list(inputs, "grad")
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
    may be dy itself, a view, or an array that it keeps: the engine writes into sums of its own alone, and
    into the gradients of the inputs whose numbers are in `makes`: arrays that nobody else holds.

    An operation whose inputs broadcast against each other sets `broadcasts`; the engine then sums the
    gradients back to the inputs' shapes. An operation with a surrogate gradient defines
    surrogate(*arrays, **params) -> a function of the inputs whose true derivative at `arrays` is what
    `backward` claims. An operation with kinks defines off_kinks(*arrays, **params) -> arrays near the
    given ones at which it is differentiable. `bnas.gradcheck` uses both.
    """

    broadcasts = False
    makes = ()
    surrogate = None

    @staticmethod
    def forward(ctx, *arrays, **params):
        raise NotImplementedError("a Function needs forward(ctx, *arrays), a static method")

    @staticmethod
    def backward(ctx, dy):
        raise NotImplementedError("a Function needs backward(ctx, dy), a static method")

    @staticmethod
    def off_kinks(*arrays, **params):
        return arrays

    @classmethod
    def apply(cls, *inputs, **params):
        """Run the forward on Tensors or arrays (None for an absent input); record it if need be."""
        try:
            context = Context(cls, inputs, params)
        except AttributeError:  # seldom: operations of the library hand in Tensors
            inputs = [v if v is None or isinstance(v, Tensor) else Tensor(v) for v in inputs]
            context = Context(cls, inputs, params)
        arrays = [None if tensor is None else tensor._data for tensor in inputs]
        try:
            output = cls.forward(context, *arrays, **params)
        except (ValueError, IndexError) as error:
            shapes = ", ".join(str(t.shape) for t in inputs if t is not None)
            raise type(error)(f"{cls.__name__}: {error} (inputs of shape {shapes})") from error
        result = Tensor(output)
        if True in context._needs:
            result.requires_grad = True
            result.node = context
        return result


class Context:
    """What one application of a Function remembers until its backward has run.

    Forward may set any attribute but these, which the engine sets; they are dropped when the graph is freed.

    Attributes:
        function: the Function.
        inputs: of each input the leaf, or the Context that made it; None where no gradient is needed.
        needs, shapes: of each input, whether its gradient is needed, and its shape.
        dtype: of all inputs.
        params: the keyword arguments, for those who read the graph.
        order: a number that grows from one application to the next.
    """

    __slots__ = (
        "_function",
        "_inputs",
        "_needs",
        "_shapes",
        "_dtype",
        "_params",
        "_order",
        "_freed",
        "__dict__",
    )

    # Without a setter: a forward that saved something under one of these names would break the engine.
    function = property(attrgetter("_function"))
    inputs = property(attrgetter("_inputs"))
    needs = property(attrgetter("_needs"))
    shapes = property(attrgetter("_shapes"))
    dtype = property(attrgetter("_dtype"))
    params = property(attrgetter("_params"))
    order = property(attrgetter("_order"))

    def __init__(self, function, inputs, params):
        self._function, self._params = function, params
        self._dtype = None
        self._needs, self._inputs, self._shapes = [], [], []
        recording = _recording.get()
        for tensor in inputs:
            need, source, shape = False, None, None
            if tensor is not None:
                data = tensor._data
                shape = data.shape
                if self._dtype is None:
                    self._dtype = data.dtype
                elif data.dtype != self._dtype:
                    raise TypeError(
                        f"{function.__name__}: inputs of dtype {self._dtype} and {data.dtype}; all must "
                        "be of one dtype: convert one of them with Tensor(t, dtype=...)"
                    )
                if recording and tensor.requires_grad:
                    # A made tensor is remembered by its node alone, to let its array be freed early.
                    need, source = True, tensor.node or tensor
            self._needs.append(need)
            self._inputs.append(source)
            self._shapes.append(shape)
        self._order = next(_creation_order)
        self._freed = False

    def _free(self):
        self.__dict__.clear()
        self._inputs, self._params = (), None
        self._freed = True


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
    owned = set()  # whose gradient is an array that nobody else holds, so that it may be written to
    for node in _newest_first(output.node):
        dy = gradients.pop(node, None)
        if dy is not None:
            _collect(_input_gradients(node, dy), gradients, owned)
        if not retain_graph:
            node._free()
    return {leaf: np.array(gradient) for leaf, gradient in gradients.items()}


def _collect(new, gradients, owned):
    """Put the (source, dx, whether nobody else holds it) of `new` into `gradients`, or add them to what is there.

    A function of its own, so that no dx is still held while the next backward runs.
    """
    for source, dx, own in new:
        if source not in gradients:
            gradients[source] = dx
        elif source in owned:
            gradients[source] += dx
            continue
        else:
            total = dx if own else empty(dx.shape, dx.dtype)
            gradients[source] = np.add(gradients[source], dx, out=total)
            own = True
        if own:
            owned.add(source)


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


def sources(root, known=()):
    """All that a node (or leaf) `root` was made from: a set of Contexts and leaves, `root` itself among them.

    known: Contexts at which to stop; they and what is below them are left out.
    """
    found, waiting = set(), [root]
    while waiting:
        source = waiting.pop()
        if source is not None and source not in found and source not in known:
            found.add(source)
            if isinstance(source, Context):
                waiting += source.inputs
    return found


def _newest_first(root):
    """All nodes below `root`, every one before its inputs.

    A node is always newer than its inputs, so sorting by creation is a topological order; nothing
    here recurses, however deep the graph.
    """
    nodes = [source for source in sources(root) if isinstance(source, Context)]
    for node in nodes:
        if node._freed:
            raise RuntimeError(
                f"backward: the graph below {node.function.__name__} was freed by an earlier "
                "backward; pass retain_graph=True to that one, or compute the output anew"
            )
    return sorted(nodes, key=attrgetter("_order"), reverse=True)


def _input_gradients(node, dy):
    """Run one backward; (input, its gradient, whether it is owned) for all that get one, checked."""
    gradients = node.function.backward(node, dy)
    if not isinstance(gradients, tuple) or len(gradients) != len(node.shapes):
        raise RuntimeError(
            f"{node.function.__name__}.backward must return a tuple of {len(node.shapes)} gradients"
        )
    checked = []
    for number, (source, gradient, shape) in enumerate(zip(node.inputs, gradients, node.shapes)):
        if source is None or gradient is None:
            continue
        if node.function.broadcasts:
            gradient = unbroadcast(gradient, shape)
        if gradient.shape != shape or gradient.dtype != node.dtype:
            raise RuntimeError(
                f"{node.function.__name__}.backward returned a gradient of shape {gradient.shape} and "
                f"dtype {gradient.dtype} for an input of shape {shape} and dtype {node.dtype}"
            )
        checked.append((source, gradient, number in node.function.makes))
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
