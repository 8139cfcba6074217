"""Optimisers, clipping, a step down a loss; update rules as in torch.optim.

An optimiser gives every parameter a *new* array instead of writing into the old one, so a graph
recorded before the step still holds the values that it was computed with. A supernet has hundreds of
small parameters, so the rules run on many of them strung together: one flat array, of which every
parameter then gets its part, a view.
"""

import math

import numpy as np

from bnas.autodiff import tensor_list
from bnas.errors import DivergedError

AT_ONCE = 2**16  # numbers that are moved together: what a rule makes in between stays in the caches


class Optimiser:
    """What all optimisers share: the parameters, their per-parameter state, saving and loading.

    Args:
        parameters: the Tensors to move, leaves such as module.parameters(); those that require no gradient
            stay as they are.

    Raises:
        TypeError: `parameters` is a single Tensor, or holds something else.
        ValueError: it is empty, names a Tensor twice or one that was computed, or nothing in it requires a
            gradient; a rate is negative.

    Subclasses define update(gradient, value, state) -> new value, on flat arrays of many parameters.
    `state` is a dict of arrays of the same length, which outlives the step; an entry "steps", if the
    rule keeps one, is an int. All parameters of one update have been moved equally often. ENTRIES are
    the names that a state has after the first step, if it has any then.
    """

    ENTRIES = ()

    def __init__(self, parameters, lr, weight_decay):
        name = type(self).__name__
        self.parameters = tensor_list(parameters, name)
        if not self.parameters:
            raise ValueError(f"{name}: no parameters to optimise")
        if len(set(map(id, self.parameters))) < len(self.parameters):
            raise ValueError(f"{name}: a parameter is given twice, and would be moved twice a step")
        for i, parameter in enumerate(self.parameters):
            if parameter.node is not None:
                raise ValueError(
                    f"{name}: parameter {i} of shape {parameter.shape} was computed, so it never gets a "
                    "gradient; give leaves, such as module.parameters()"
                )
        if not any(parameter.requires_grad for parameter in self.parameters):
            raise ValueError(f"{name}: no parameter requires a gradient; nothing would ever move")
        for setting, value in (("lr", lr), ("weight_decay", weight_decay)):
            if not value >= 0:
                raise ValueError(f"{name}: {setting} must not be negative, got {value}")
        self.lr, self.weight_decay = lr, weight_decay
        self.state = [{} for _ in self.parameters]

    def __repr__(self):
        numbers = sum(parameter.size for parameter in self.parameters)
        hidden = ("parameters", "state")
        rates = [f"{name}={value}" for name, value in vars(self).items() if name not in hidden]
        what = f"{len(self.parameters)} parameters of {numbers:,} numbers"
        return f"{type(self).__name__}({what}, {', '.join(rates)})"

    def step(self):
        """Move every parameter that has a gradient."""
        groups = {}
        for parameter, state in zip(self.parameters, self.state):
            if parameter.grad is not None:
                # Without "steps" it only matters whether there is a state yet.
                key = parameter.data.dtype.char, state.get("steps", len(state))
                groups.setdefault(key, []).append((parameter, state))
        for group in groups.values():
            for portion in _portions(group, [parameter.size for parameter, _ in group]):
                self._move(*zip(*portion))

    def _move(self, parameters, states):
        """One update of parameters of one dtype whose states have the same entries."""
        arrays = {name: _flat([s[name] for s in states]) for name in states[0] if name != "steps"}
        if "steps" in states[0]:
            arrays["steps"] = states[0]["steps"]
        values = [parameter.data for parameter in parameters]
        new = self.update(_flat([p.grad for p in parameters]), _flat(values), arrays)
        new = new.astype(values[0].dtype, copy=False)
        for parameter, part in zip(parameters, _parts(new, values)):
            parameter.data = part.copy()  # its own, so that a layer may keep what it makes of it
        for name, array in arrays.items():
            parts = [array] * len(states) if name == "steps" else _parts(array, values)
            for state, part in zip(states, parts):
                state[name] = part

    def _decayed(self, gradient, value):
        """The gradient of the loss and of the weight decay."""
        return gradient + self.weight_decay * value if self.weight_decay else gradient

    def zero_grad(self):
        """Forget all gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    def state_dict(self):
        """{name: array}; together with the parameters it is all that a continued run needs."""
        return {
            f"{i}.{name}": np.array(entry)
            for i, state in enumerate(self.state)
            for name, entry in state.items()
        }

    def load_state_dict(self, arrays):
        """Take over what `state_dict` gave.

        Raises:
            ValueError: the state is that of other parameters or of another rule.
        """
        loaded = {str(i): {} for i in range(len(self.parameters))}
        for key, array in arrays.items():
            i, _, name = key.partition(".")
            if i not in loaded or name not in self.ENTRIES or not self._fits(int(i), name, array):
                raise ValueError(
                    f"load_state_dict: {key!r} of shape {array.shape} and dtype {array.dtype} belongs to none "
                    f"of the {len(loaded)} parameters; give the state of an optimiser of the same parameters"
                )
            loaded[i][name] = int(array) if name == "steps" else array.copy()
        for i, state in loaded.items():
            missing = set(self.ENTRIES) - set(state)
            if state and missing:
                raise ValueError(
                    f"load_state_dict: {i}.{min(missing)} is missing; give all that state_dict gave"
                )
        self.state = list(loaded.values())

    def _fits(self, i, name, array):
        if name == "steps":
            return array.shape == () and array.dtype.kind in "iu" and array >= 1
        parameter = self.parameters[i]
        return (array.shape, array.dtype) == (parameter.shape, parameter.data.dtype)


class SGD(Optimiser):
    """v ← momentum v + g + weight_decay θ;  θ ← θ - lr v, or with nesterov θ - lr (g + momentum v)."""

    ENTRIES = ("velocity",)

    def __init__(self, parameters, lr, momentum=0.0, *, weight_decay=0.0, nesterov=False):
        super().__init__(parameters, lr, weight_decay)
        if not 0 <= momentum < 1:
            raise ValueError(f"SGD: momentum must lie in [0, 1), got {momentum}")
        if nesterov and momentum == 0:
            raise ValueError("SGD: nesterov needs a momentum greater than 0")
        self.momentum, self.nesterov = momentum, nesterov

    def update(self, gradient, value, state):
        step = self._decayed(gradient, value)
        if self.momentum:
            velocity = state.get("velocity")
            velocity = step if velocity is None else self.momentum * velocity + step
            state["velocity"] = velocity
            step = step + self.momentum * velocity if self.nesterov else velocity
        return value - self.lr * step


class Adam(Optimiser):
    """Kingma & Ba 2015: θ ← θ - lr m̂ / (√v̂ + ε); weight decay is added to the gradient."""

    ENTRIES = ("steps", "m", "v")

    def __init__(self, parameters, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
        super().__init__(parameters, lr, weight_decay)
        if not all(0 <= b < 1 for b in betas):
            raise ValueError(f"{type(self).__name__}: betas must lie in [0, 1), got {betas}")
        self.betas, self.eps = betas, eps

    def update(self, gradient, value, state):
        return self.moments(self._decayed(gradient, value), value, state)

    def moments(self, gradient, value, state):
        first, second = self.betas
        steps = state["steps"] = state.get("steps", 0) + 1
        zeros = np.zeros_like(value)
        m = state["m"] = first * state.get("m", zeros) + (1 - first) * gradient
        v = state["v"] = second * state.get("v", zeros) + (1 - second) * gradient**2
        corrected = np.sqrt(v / (1 - second**steps)) + self.eps
        return value - self.lr / (1 - first**steps) * m / corrected


class AdamW(Adam):
    """Loshchilov & Hutter 2019: Adam with θ shrunk by lr · weight_decay, apart from the gradient."""

    def __init__(self, parameters, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2):
        super().__init__(parameters, lr, betas, eps, weight_decay)

    def update(self, gradient, value, state):
        return self.moments(gradient, value * (1 - self.lr * self.weight_decay), state)


def clip_grad_norm(parameters, max_norm):
    """Scale all gradients together so that their joint L2 norm is at most `max_norm`.

    Returns:
        The norm before clipping, as a float.

    Raises:
        ValueError: `max_norm` is not positive.
        TypeError: `parameters` is a single Tensor, or holds something else.
        DivergedError: the norm is NaN or infinite; the gradients are left as they are.
    """
    if not max_norm > 0:
        raise ValueError(f"clip_grad_norm: max_norm must be positive, got {max_norm}")
    by_dtype = {}
    for parameter in tensor_list(parameters, "clip_grad_norm"):
        if parameter.grad is not None:
            by_dtype.setdefault(parameter.data.dtype.char, []).append(parameter)
    portions = [
        portion
        for group in by_dtype.values()
        for portion in _portions(group, [parameter.size for parameter in group])
    ]
    flat = [_flat([p.grad for p in portion]) for portion in portions]
    norm = math.sqrt(sum(float(np.square(g, dtype=np.float64).sum()) for g in flat))
    if not math.isfinite(norm):
        raise DivergedError(f"the gradient norm is {norm}; lower the learning rate")
    if norm > max_norm:
        for portion, gradient in zip(portions, flat):
            gradient *= gradient.dtype.type(max_norm / norm)
            for parameter, part in zip(portion, _parts(gradient, [p.grad for p in portion])):
                parameter.grad = part
    return norm


def require_finite(value, what):
    """Raise DivergedError if `value`, a number or an array, holds NaN or infinity; else do nothing."""
    value = np.asarray(value)
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        raise DivergedError(f"{what} became {value if value.ndim == 0 else 'NaN or infinite'}")


def descend(optimiser, loss, penalty, clip):
    """One step down the gradient of loss + penalty; `penalty` (of the weights) may be None or constant.

    The gradient norm is clipped before the penalty's gradient is added: L_R sums over every weight,
    and clipped together it would drown the loss. Raises DivergedError for NaN or infinity.
    """
    require_finite(loss.item(), "the loss")
    loss.backward()
    clip_grad_norm(optimiser.parameters, clip)
    if penalty is not None and penalty.requires_grad:
        require_finite(penalty.item(), "the penalty of the weights")
        penalty.backward()
    optimiser.step()
    optimiser.zero_grad()


def _portions(items, sizes):
    """`items`, of such sizes, in runs of AT_ONCE numbers or a little more."""
    start, numbers = 0, 0
    for stop, size in enumerate(sizes, 1):
        numbers += size
        if numbers >= AT_ONCE or stop == len(items):
            yield items[start:stop]
            start, numbers = stop, 0


def _flat(arrays):
    """All elements of `arrays`, one array after another, in a new array."""
    return np.concatenate([array.ravel() for array in arrays])


def _parts(flat, like):
    """The inverse of `_flat`: views of `flat` in the shapes of the arrays `like`."""
    stop = 0
    for array in like:
        start, stop = stop, stop + array.size
        yield flat[start:stop].reshape(array.shape)
