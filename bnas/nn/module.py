"""Modules: parts of a network that own Parameters and buffers.

A Module finds its parts by looking at its own attributes, in the order of their creation: Parameters,
NumPy arrays (buffers: saved but not learned), Modules, and those in lists, tuples and dicts. Nothing needs
registering.
"""

from contextlib import contextmanager

import numpy as np

from bnas.autodiff import Tensor
from bnas.nn.states import require_alike


class Parameter(Tensor):
    """A Tensor that a Module learns.

    uses: how often its array was handed out, by whatever way, and so perhaps written to; see `nn.kept`.
    """

    __slots__ = ("uses",)

    def __init__(self, data, *, dtype=None):
        self.uses = 0
        super().__init__(data, requires_grad=True, dtype=dtype)

    @property
    def _data(self):
        self.uses += 1
        return _ARRAY.__get__(self)

    @_data.setter
    def _data(self, array):
        self.uses += 1
        _ARRAY.__set__(self, array)


_ARRAY = Tensor._data  # where a Tensor has its array


class Module:
    """A part of a network. Subclasses set attributes in __init__ and define forward(...).

    Printed, a Module is the tree of its parts, with their shapes and numbers of learned parameters.
    """

    training = True

    def __call__(self, *args, **kwargs):
        return self.forward(*args, **kwargs)

    def forward(self, *args, **kwargs):
        raise NotImplementedError(f"{type(self).__name__} defines no forward")

    def named_modules(self, prefix="", remove_duplicate=True):
        """[(name, module)] for this module and all below it; the names are dotted paths.

        remove_duplicate: each module once, under its first name; else a shared one under all its names, as a
        state has it (a cycle ends where it closes).
        """
        found, seen = [], set()
        waiting = [(prefix.rstrip("."), self, ())]
        while waiting:
            path, module, above = waiting.pop()
            if module in (seen if remove_duplicate else above):
                continue
            seen.add(module)
            found.append((path, module))
            parts = own_values(module, Module)
            names = [(f"{path}.{n}" if path else n, part, (*above, module)) for n, part in parts]
            waiting += reversed(names)
        return found

    def modules(self):
        """This module and all below it, each once, in the order of `named_modules`."""
        return [module for _, module in self.named_modules()]

    def named_children(self):
        """(name, module) for the Modules that this one has itself, each once."""
        found = {}
        for name, module in own_values(self, Module):
            found.setdefault(module, name)
        return [(name, module) for module, name in found.items()]

    def children(self):
        """The Modules that this one has itself, each once."""
        return [module for _, module in self.named_children()]

    def named_parameters(self):
        """(dotted name, Parameter) of everything learned here and below, each Parameter once."""
        found = {}
        for name, parameter in self._named(Parameter):
            found.setdefault(parameter, name)
        return [(name, parameter) for parameter, name in found.items()]

    def parameters(self):
        """Everything learned here and below, each Parameter once."""
        return [parameter for _, parameter in self.named_parameters()]

    def _named(self, kind):
        """(dotted name, value) of everything of that kind, a shared one under all its names."""
        for path, module in self.named_modules(remove_duplicate=False):
            for name, value in own_values(module, kind):
                yield (f"{path}.{name}" if path else name), value

    def state_dict(self):
        """{dotted name: array}, copies of all Parameters and buffers."""
        state = {name: parameter.data.copy() for name, parameter in self._named(Parameter)}
        state.update((name, buffer.copy()) for name, buffer in self._named(np.ndarray))
        return state

    def load_state_dict(self, state):
        """Take over the arrays of `state_dict`; nothing changes unless all of them fit.

        Raises:
            ValueError: names are missing or unknown, or a shape or dtype differs (see `require_alike`).
        """
        own = {**dict(self._named(Parameter)), **dict(self._named(np.ndarray))}
        require_alike(state, own)
        for name, value in own.items():
            if isinstance(value, Parameter):
                value.data = state[name].copy()
            else:
                value[...] = state[name]

    def train(self, mode=True):
        """Training mode (batch statistics, dropout) for this module and all below it."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self):
        """Evaluation mode: running statistics, no dropout."""
        return self.train(False)

    def astype(self, dtype):
        """Convert all Parameters and floating buffers, in place; float64 is for gradient checks."""
        for parameter in self.parameters():
            parameter.data = parameter.data.astype(dtype)
        converted = {}  # {id of a buffer: (it, in the new dtype)}: what is shared stays so
        for module in self.modules():
            for name, value in vars(module).items():
                if isinstance(value, (np.ndarray, list, tuple, dict)):
                    setattr(module, name, _converted(value, dtype, converted))
        return self

    def zero_grad(self):
        """Forget all gradients."""
        for parameter in self.parameters():
            parameter.grad = None

    def extra_repr(self):
        """What the printed tree says of this module besides shapes: its settings."""
        shown = {n: v for n, v in vars(self).items() if isinstance(v, (int, float, str, tuple))}
        return ", ".join(f"{n}={v!r}" for n, v in shown.items() if n != "training")

    def __repr__(self):
        return _tree(self)


LINES = 60  # of a printed tree, which leaves out the deepest parts to keep to them


def _tree(root):
    """The tree of `root` as text, as deep as LINES allow, but at least its own parts."""
    lines, depth = _branches(root, "", 1), 1
    while True:
        deeper = _branches(root, "", depth + 1)
        if len(deeper) > LINES or deeper == lines:
            return "\n".join(lines)
        lines, depth = deeper, depth + 1


def _branches(module, name, depth):
    """The lines of a module, and of what lies up to `depth` levels below it."""
    inner = module.named_children()
    own = [(n, v.shape) for n, v in own_values(module, (Parameter, np.ndarray))]
    shown = [text for text in (module.extra_repr(), *(f"{n} {shape}" for n, shape in own)) if text]
    head = f"{name}: " * bool(name) + type(module).__name__
    head += f"({', '.join(shown)})" * bool(shown)
    count = parameter_count(module)
    if inner and not depth:
        head += f", {len(module.modules()) - 1} parts"
    if count:
        head += f", {count:,} parameters"
    below = [line for n, part in inner for line in _branches(part, n, depth - 1)] if depth else []
    return [head, *(f"  {line}" for line in below)]


def _converted(value, dtype, done):
    """`value` with every array of floats in it as `dtype`; lists, tuples and dicts of arrays are made anew."""
    if isinstance(value, np.ndarray):
        if value.dtype.kind == "f":
            return done.setdefault(id(value), (value, value.astype(dtype)))[1]
    elif type(value) in (list, tuple):
        return type(value)(_converted(part, dtype, done) for part in value)
    elif type(value) is dict:
        return {key: _converted(part, dtype, done) for key, part in value.items()}
    return value


def own_values(module, kind):
    """(name, value) of what `module` itself has of that kind, in its attributes and lists of them."""
    for name, value in vars(module).items():
        if isinstance(value, kind):
            yield name, value
        elif type(value) in (list, tuple, dict):
            yield from _contained(name, value, kind)


def _contained(name, container, kind):
    items = container.items() if type(container) is dict else enumerate(container)
    for key, value in items:
        if isinstance(value, kind):
            yield f"{name}.{key}", value
        elif type(value) in (list, tuple, dict):
            yield from _contained(f"{name}.{key}", value, kind)


def evaluating(module):
    """Inside this context `module` is in evaluation mode; afterwards each part in the mode it was in."""
    return in_mode(module, False)


@contextmanager
def in_mode(module, training):
    """Inside this context `module` is in training mode or not; afterwards each part in the mode it was in.

    A part whose mode was never set takes that of the whole.
    """
    before = [(part, vars(part).get("training", module.training)) for part in module.modules()]
    for part, _ in before:
        part.training = training
    try:
        yield
    finally:
        for part, was_training in before:
            part.training = was_training


def is_exactly(module, kind):
    """Whether a Module computes what the class `kind` says: no subclass, and no `forward` of its own."""
    return type(module) is kind and "forward" not in vars(module)


def parameter_count(module):
    """How many numbers `module` learns."""
    return sum(parameter.size for parameter in module.parameters())
