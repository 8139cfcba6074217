"""The search step of DCP-NAS once more, in JAX, compiled by XLA: a reference to agree with and to race.

The same supernet, operations and optimisers as in `bnas.space.supernet` and `bnas.search`, as a JAX user
would write them: functions of a dict of arrays under our names. Nothing here computes with bnas. Only who
wants to compare imports this module: it needs jax.
"""

import time
from functools import reduce
from itertools import count

import jax
import jax.numpy as jnp
from jax import lax

from bnas.config import PRIMITIVES
from bnas.errors import InputError
from bnas.search.decoupled import INITIAL_PSI
from bnas.search.phases import ALPHA_BETAS
from bnas.space.genotype import edges
from bnas.space.skeleton import reduction_layers

COVERED = {"surrogate": "clip", "beta": "closed", "distance": "frobenius", "curvature": "fisher"}
BN_EPS, BN_MOMENTUM, ADAM_EPS = 1e-5, 0.1, 1e-8


@jax.custom_vjp
def sign_ste(x):
    """sign x with sign(0) = -1; backward of the clip surrogate (Eq. 4.35)."""
    return jnp.where(x > 0, 1, -1).astype(x.dtype)


sign_ste.defvjp(lambda x: (sign_ste(x), x), lambda x, dy: (dy * (jnp.abs(x) <= 1),))


def beta(w):
    """β = mean|w| of every output channel, a constant (Eq. 4.22)."""
    return lax.stop_gradient(jnp.abs(w).mean(axis=(1, 2, 3), keepdims=True))


def conv(x, w, stride=1, padding=0, dilation=1, groups=1):
    return lax.conv_general_dilated(
        x,
        w,
        (stride, stride),
        [(padding, padding)] * 2,
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NCHW", "OIHW", "NCHW"),
        feature_group_count=groups,
    )


def window_of(x, stride, start, combine):
    """`combine` over windows 3x3 with a margin of 1, from `start`."""
    margin = ((0, 0), (0, 0), (1, 1), (1, 1))
    return lax.reduce_window(x, start, combine, (1, 1, 3, 3), (1, 1, stride, stride), margin)


class JaxNetwork:
    """A pass through a supernet: its arrays, and the running statistics that the pass leaves.

    Args:
        arrays: {name: array}, as of our state_dict.
        binary: whether it is the Child.
        training: whether batch norms take the statistics of the batch.
    """

    def __init__(self, arrays, binary, training):
        self.arrays, self.binary, self.training, self.running = arrays, binary, training, {}

    def norm(self, name, x):
        """Batch norm without scale and shift."""
        mean, var = (self.arrays[f"{name}.running_{kind}"] for kind in ("mean", "var"))
        if self.training:
            count = x.size // x.shape[1]
            old, mean = mean, x.mean(axis=(0, 2, 3))
            deviations = x - mean[:, None, None]
            squares = jnp.square(deviations).mean(axis=(0, 2, 3))
            self.running[f"{name}.running_mean"] = old + BN_MOMENTUM * (mean - old)
            unbiased = squares * (count / (count - 1))
            self.running[f"{name}.running_var"] = var + BN_MOMENTUM * (unbiased - var)
            return deviations * lax.rsqrt(squares + BN_EPS)[:, None, None]
        return (x - mean[:, None, None]) * lax.rsqrt(var + BN_EPS)[:, None, None]

    def convolve(self, name, x, binary, **window):
        """A convolution without bias; a 1-bit one is β ∘ (sign x ⊙ sign w), in floats."""
        w = self.arrays[f"{name}.weight"]
        if not binary:
            return conv(x, w, **window)
        return conv(sign_ste(x), sign_ste(w), **window) * beta(w)[:, 0]

    def activate(self, x, binary):
        """A 1-bit convolution takes the sign of its input; before a real one stands ReLU."""
        return x if binary else jax.nn.relu(x)

    def factorized_reduce(self, name, x, binary):
        x = self.activate(x, binary)
        first = self.convolve(f"{name}.conv1", x, binary, stride=2)
        second = self.convolve(f"{name}.conv2", x, binary, stride=2, padding=1)[:, :, 1:, 1:]
        return self.norm(f"{name}.bn", jnp.concatenate([first, second], axis=1))

    def relu_conv_bn(self, name, x):
        return self.norm(f"{name}.bn", self.convolve(f"{name}.conv", jax.nn.relu(x), False))

    def separable(self, name, x, size, stride, dilation):
        x, channels = self.activate(x, self.binary), x.shape[1]
        window = {"stride": stride, "padding": dilation * (size - 1) // 2, "dilation": dilation}
        x = self.convolve(f"{name}.depthwise", x, self.binary, groups=channels, **window)
        return self.norm(f"{name}.bn", self.convolve(f"{name}.pointwise", x, self.binary))

    def candidate(self, name, operation, x, stride):
        """One of the candidate operations of an edge, all but `none`."""
        if operation == "skip_connect":
            return x if stride == 1 else self.factorized_reduce(name, x, self.binary)
        if operation == "max_pool_3x3":
            return self.norm(f"{name}.bn", window_of(x, stride, -jnp.inf, lax.max))
        if operation == "avg_pool_3x3":
            inside = window_of(jnp.ones((1, 1, *x.shape[2:]), x.dtype), stride, 0.0, lax.add)
            return self.norm(f"{name}.bn", window_of(x, stride, 0.0, lax.add) / inside)
        size = int(operation[-1])
        if operation.startswith("dil_conv"):
            return self.separable(name, x, size, stride, 2)
        x = self.separable(f"{name}.first", x, size, stride, 1)
        return self.separable(f"{name}.second", x, size, 1, 1)

    def mixed(self, name, state, weights, stride):
        """Σ_m s_m o_m(state), all but `none`; weights (..., M)."""
        parts = (
            weights[..., m, None, None, None] * self.candidate(f"{name}.{m}", o, state, stride)
            for m, o in enumerate(PRIMITIVES)
            if o != "none"
        )
        return reduce(jnp.add, parts)

    def cell(self, name, older, newer, weights, reduction, reduced_before, nodes):
        """A cell of mixed operations (Eqs. 4.27, 4.28); weights (..., E, M)."""
        if reduced_before:
            older = self.factorized_reduce(f"{name}.input0", older, binary=False)
        else:
            older = self.relu_conv_bn(f"{name}.input0", older)
        states, number = [older, self.relu_conv_bn(f"{name}.input1", newer)], count()
        for _ in range(nodes):
            incoming = []
            for i, state in enumerate(states):
                e, stride = next(number), 2 if reduction and i < 2 else 1
                incoming.append(self.mixed(f"{name}.edges.{e}", state, weights[..., e, :], stride))
            states.append(reduce(jnp.add, incoming))
        return jnp.concatenate(states[2:], axis=1)

    def logits(self, x, alpha, layers, nodes):
        """Logits (B, N) of images (B, C, H, W); alpha (2, E, M), or (B, 2, E, M), one a sample."""
        weights = jax.nn.softmax(alpha, axis=-1)
        x = self.norm("stem.1", self.convolve("stem.0", x, False, padding=1))
        scale, shift = (self.arrays[f"stem.1.{kind}"] for kind in ("weight", "bias"))
        older = newer = x * scale[:, None, None] + shift[:, None, None]
        reduced_before = False
        for layer in range(layers):
            reduction = layer in reduction_layers(layers)
            kind = weights[..., int(reduction), :, :]
            given = older, newer, kind, reduction, reduced_before, nodes
            older, newer = newer, self.cell(f"cells.{layer}", *given)
            reduced_before = reduction
        pooled = newer.mean(axis=(2, 3))
        return pooled @ self.arrays["classifier.weight"].T + self.arrays["classifier.bias"]


def cross_entropy(logits, labels):
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1).mean()


def kl_loss(logits, p):
    """KL(p ‖ softmax logits), averaged over the batch: -G of Eq. 4.30."""
    return (p * (jnp.log(p) - jax.nn.log_softmax(logits))).sum(axis=1).mean()


def accuracy(logits, labels):
    return (logits.argmax(axis=1) == labels).mean()


class JaxLearner:
    """How one supernet learns, with the optimisers of a phase at the peak of its learning rate.

    A state is {"arrays", "velocity", "m", "v", "steps", "psi", "before", "mask"}: arrays under our names,
    α among them, and what the optimisers and the backtracking keep.
    """

    def __init__(self, config, binary):
        self.config, self.binary = config, binary
        rates = config.eta_factor * config.lr * config.alpha_lr
        self.eta = rates if config.eta is None else config.eta

    def start(self, arrays):
        arrays = {name: jnp.asarray(array) for name, array in arrays.items()}
        alpha = arrays["alpha"]
        return {
            "arrays": arrays,
            "velocity": jax.tree.map(jnp.zeros_like, self.weights(arrays)),
            "m": jnp.zeros_like(alpha),
            "v": jnp.zeros_like(alpha),
            "steps": jnp.zeros((), alpha.dtype),
            "psi": jnp.full(alpha.shape[:2], INITIAL_PSI, alpha.dtype),
            "before": jnp.zeros_like(alpha),
            "mask": jnp.zeros(alpha.shape, bool),
        }

    def weights(self, arrays):
        """All arrays that the weight step moves."""
        return {n: a for n, a in arrays.items() if n != "alpha" and ".running_" not in n}

    def layers(self, arrays):
        """The weights of all 1-bit convolutions: all in the edges of a Child."""
        return [a for n, a in arrays.items() if ".edges." in n and n.endswith(".weight")]

    def logits(self, arrays, images, alpha, training=True):
        """(logits, arrays with the new running statistics)."""
        network = JaxNetwork(arrays, self.binary, training)
        logits = network.logits(images, alpha, self.config.layers, self.config.nodes)
        return logits, arrays | network.running

    def reconstruction(self, arrays):
        """L_R = Σ ‖w - β ∘ sign w‖², sign w and β constant in the backward (Eq. 4.23)."""
        layers = self.layers(arrays)
        return sum(jnp.square(w - lax.stop_gradient(beta(w) * sign_ste(w))).sum() for w in layers)

    def squared_norm(self, arrays, name, operation):
        """R(w) of one candidate (Eq. 4.53)."""
        own = [a for n, a in arrays.items() if n.startswith(f"{name}.") and n.endswith(".weight")]
        if own:
            means = ((beta(w), w[0].size) if self.binary else (w, 1) for w in own)
            return sum(size * jnp.square(w).sum() for w, size in means)
        channels = len(arrays[f"{name.rpartition('.')[0]}.3.depthwise.weight"])
        share = {"none": 0, "skip_connect": 1, "max_pool_3x3": 1 / 9, "avg_pool_3x3": 1 / 9}
        return jnp.asarray(channels * share[operation])

    def weight_norms(self, arrays):
        """R(w) (2, E, M), averaged over the cells of a kind (Eq. 4.53)."""
        layers, reductions = range(self.config.layers), reduction_layers(self.config.layers)
        kinds = [[k for k in layers if (k in reductions) == kind] for kind in (False, True)]

        def of_cell(k):
            return jnp.stack(
                [
                    jnp.stack(
                        [
                            self.squared_norm(arrays, f"cells.{k}.edges.{e}.{m}", operation)
                            for m, operation in enumerate(PRIMITIVES)
                        ]
                    )
                    for e in range(len(edges(self.config.nodes)))
                ]
            )

        none = jnp.zeros_like(arrays["alpha"][0])
        sums = (sum(map(of_cell, cells), none) / max(len(cells), 1) for cells in kinds)
        return jnp.stack(list(sums))

    def step_alpha(self, state, gradient):
        """A step of Adam, then backtracking (Eqs. 4.50-4.53)."""
        config, arrays = self.config, state["arrays"]
        alpha, (first, second), steps = arrays["alpha"], ALPHA_BETAS, state["steps"] + 1
        slope = self.eta * (gradient * state["before"] * state["mask"]).sum(axis=-1)
        psi = jnp.abs(state["psi"] - config.psi_lr * slope)
        decayed = gradient + config.alpha_weight_decay * alpha
        m = first * state["m"] + (1 - first) * decayed
        v = second * state["v"] + (1 - second) * jnp.square(decayed)
        corrected = jnp.sqrt(v / (1 - second**steps)) + ADAM_EPS
        moved = alpha - config.alpha_lr / (1 - first**steps) * m / corrected
        norms = self.weight_norms(arrays)
        mask = (norms[..., None, :] <= norms[..., :, None]).sum(axis=-1) > config.tau
        moved = moved + self.eta * psi[..., None] * alpha * mask
        kept = {"m": m, "v": v, "steps": steps, "psi": psi, "before": alpha, "mask": mask}
        return state | kept | {"arrays": arrays | {"alpha": moved}}

    def step_weights(self, state, gradients, penalties=None):
        """A step of SGD; the gradient norm is clipped before that of the penalty is added."""
        config, values = self.config, self.weights(state["arrays"])
        norm = jnp.sqrt(sum(jnp.square(g).sum() for g in gradients.values()))
        scale = jnp.minimum(1, config.clip / norm)
        velocity, moved = {}, {}
        for name, value in values.items():
            step = gradients[name] * scale + config.weight_decay * value
            if penalties is not None:
                step = step + penalties[name]
            velocity[name] = config.momentum * state["velocity"][name] + step
            moved[name] = value - config.lr * velocity[name]
        return state | {"velocity": velocity, "arrays": state["arrays"] | moved}


def compiled(function, arguments):
    return jax.jit(function).lower(*arguments).compile()


class JaxSearch:
    """The steps of a search in JAX: a step of α on a validation batch, then one of weights.

    Args:
        search: bnas.search.dcp.Search. Its weights, α, running statistics and t are copied, in
            their dtype (float64 only where JAX has it enabled); the optimisers start afresh, as
            they do in every phase.

    Attributes:
        states: {"Parent" or "Child": the state of that JaxLearner}.
        compilation: seconds that XLA took in all.

    Batches are pairs (images (B, C, H, W) of that dtype, integer labels (B,)) of arrays. A step
    returns the figures that a step of the phases in `bnas.search.phases` returns, and under
    "alpha_gradient" the gradient of α, an array (2, E, M).

    Raises InputError for a search with other options than those in COVERED.
    """

    def __init__(self, search):
        for option, covered in COVERED.items():
            if getattr(search.config, option) != covered:
                raise InputError(
                    f"the JAX reference knows {option}={covered!r} only, not "
                    f"{getattr(search.config, option)!r}; leave {option} at its default"
                )
        self.config, self.t = search.config, jnp.asarray(search.t)
        self.parent, self.child = (JaxLearner(search.config, binary) for binary in (False, True))
        self.states = {
            "Parent": self.parent.start(search.parent.state_dict()),
            "Child": self.child.start(search.child.state_dict()),
        }
        self.compilation, self._compiled = 0.0, {}

    def parent_step(self, train_batch, validation_batch):
        """A step of the Parent (Eqs. 4.20, 4.21)."""
        return self._step("Parent", self._parent_step, *train_batch, *validation_batch)

    def child_step(self, train_batch, validation_batch):
        """A step of the Child with tangent propagation (Eqs. 4.30-4.34)."""
        parent = self.states["Parent"]["arrays"]
        return self._step("Child", self._child_step, *train_batch, validation_batch[0], parent)

    def _step(self, network, function, *given):
        arguments = self.states[network], *given
        if network not in self._compiled:
            start = time.perf_counter()
            self._compiled[network] = compiled(function, arguments)
            self.compilation += time.perf_counter() - start
        self.states[network], figures, gradient = self._compiled[network](*arguments)
        found = {name: float(figure) for name, figure in figures.items()}
        return found | {"alpha_gradient": jax.device_get(gradient)}

    def _parent_step(self, state, images, labels, held_out, held_out_labels):
        parent = self.parent

        def alpha_loss(alpha):
            logits, arrays = parent.logits(state["arrays"], held_out, alpha)
            return cross_entropy(logits, held_out_labels), arrays

        gradient, arrays = jax.grad(alpha_loss, has_aux=True)(state["arrays"]["alpha"])
        state = parent.step_alpha(state | {"arrays": arrays}, gradient)

        def loss(weights):
            arrays = state["arrays"] | weights
            logits, arrays = parent.logits(arrays, images, arrays["alpha"])
            return cross_entropy(logits, labels), (logits, arrays)

        graded = jax.value_and_grad(loss, has_aux=True)
        (value, (logits, arrays)), gradients = graded(parent.weights(state["arrays"]))
        state = parent.step_weights(state | {"arrays": arrays}, gradients)
        figures = {"loss": value, "train_accuracy": accuracy(logits, labels)}
        return state, figures, gradient

    def _child_step(self, state, images, labels, held_out, teacher):
        child, config = self.child, self.config
        gradient, g, D, arrays = self._tangent_gradient(state["arrays"], held_out, teacher)
        state = child.step_alpha(state | {"arrays": arrays}, gradient)
        p = self._probabilities(teacher, images)

        def loss(weights):
            arrays = state["arrays"] | weights
            logits, arrays = child.logits(arrays, images, arrays["alpha"])
            return kl_loss(logits, p), (logits, arrays)

        weights = child.weights(state["arrays"])
        (kl, (logits, arrays)), gradients = jax.value_and_grad(loss, has_aux=True)(weights)
        L_R, penalties = jax.value_and_grad(lambda w: config.mu * child.reconstruction(w))(weights)
        L_R = L_R / config.mu
        state = child.step_weights(state | {"arrays": arrays}, gradients, penalties)
        lengths = jnp.sqrt(jnp.square(g).sum() * jnp.square(self.t).sum())
        similarity = jnp.clip((g * self.t).sum() / lengths, -1, 1)
        figures = {
            "loss": kl,
            "kl": kl,
            "reconstruction": L_R,
            "objective": kl + config.lam * D + config.mu * L_R,
            "distance": D,
            "angle": jnp.rad2deg(jnp.arccos(similarity)),
            "train_accuracy": accuracy(logits, labels),
        }
        return state, figures, gradient

    def _probabilities(self, teacher, images):
        """The Parent's softmax (B, N) in evaluation mode."""
        logits, _ = self.parent.logits(teacher, images, teacher["alpha"], training=False)
        return jax.nn.softmax(logits)

    def _tangent_gradient(self, arrays, images, teacher):
        """-g - 2λ F (g - t) (Eq. 4.33), g, D, F the Fisher matrix from the samples' shares; new arrays."""
        p, batch = self._probabilities(teacher, images), len(images)

        def loss(alpha):
            logits, after = self.child.logits(arrays, images, alpha)
            return kl_loss(logits, p), after

        alpha = jnp.broadcast_to(arrays["alpha"], (batch, *arrays["alpha"].shape))
        shares, arrays = jax.grad(loss, has_aux=True)(alpha)
        g = -shares.sum(axis=0)
        difference = g - self.t
        rows = batch * shares.reshape(batch, -1)
        curved = rows.T @ (rows @ (2 * difference).reshape(-1)) / batch
        gradient = -g - self.config.lam * curved.reshape(g.shape)
        return gradient, g, jnp.square(difference).sum(), arrays
