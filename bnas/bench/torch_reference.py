"""The search step of DCP-NAS once more, in eager PyTorch: a reference to agree with and to race.

The same supernet, operations and optimisers as in `bnas.space.supernet` and `bnas.search`, as a PyTorch
user would write them; parameters and buffers have our names, so our state dicts load as they are.
Nothing here computes with bnas. Only who wants to compare imports this module: it needs torch.
"""

from functools import reduce

import torch
import torch.nn.functional as F
from torch import nn

from bnas.config import PRIMITIVES
from bnas.errors import InputError
from bnas.search.decoupled import INITIAL_PSI
from bnas.search.phases import ALPHA_BETAS
from bnas.space.genotype import edges
from bnas.space.skeleton import STEM_MULTIPLIER, reduction_layers

COVERED = {"surrogate": "clip", "beta": "closed", "distance": "frobenius", "curvature": "fisher"}


class TorchSignSTE(torch.autograd.Function):
    """sign x with sign(0) = -1; backward of the clip surrogate (Eq. 4.35)."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return (x > 0).to(x.dtype).mul_(2).sub_(1)

    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved_tensors
        return dy * (x.abs() <= 1)


class TorchRealConv2d(nn.Conv2d):
    """A convolution without bias, and R(w) of its kernel (Eq. 4.53)."""

    def __init__(self, in_channels, out_channels, kernel_size, **window):
        super().__init__(in_channels, out_channels, kernel_size, bias=False, **window)

    def squared_norm(self):
        return self.weight.square().sum()


class TorchXnorConv2d(TorchRealConv2d):
    """β ∘ (sign x ⊙ sign w) in floats, β = mean|w| a constant (Eq. 4.22)."""

    def beta(self):
        return self.weight.detach().abs().mean(dim=(1, 2, 3), keepdim=True)

    def forward(self, x):
        bits_x, bits_w = TorchSignSTE.apply(x), TorchSignSTE.apply(self.weight)
        window = self.stride, self.padding, self.dilation, self.groups
        return F.conv2d(bits_x, bits_w, None, *window) * self.beta().view(-1, 1, 1)

    def reconstruction_loss(self):
        """L_R = ‖w - β ∘ sign w‖², sign w and β constant in the backward (Eq. 4.23)."""
        bits = TorchSignSTE.apply(self.weight.detach())
        return (self.weight - self.beta() * bits).square().sum()

    def squared_norm(self):
        return self.beta().square().sum() * self.weight[0].numel()


def conv_class(binary):
    return TorchXnorConv2d if binary else TorchRealConv2d


def activation(binary):
    """A 1-bit convolution takes the sign of its input; before a real one stands ReLU."""
    return nn.Identity() if binary else nn.ReLU()


class TorchOperation(nn.Module):
    def squared_norm(self):
        """R(w) of the candidate: the sum over its convolutions."""
        return sum(m.squared_norm() for m in self.modules() if isinstance(m, TorchRealConv2d))


class TorchZero(TorchOperation):
    """Never called: the cell leaves its weight out of the sum."""


class TorchSkip(TorchOperation):
    def __init__(self, channels):
        super().__init__()
        self.channels = channels

    def forward(self, x):
        return x

    def squared_norm(self):
        return self.channels


class TorchFactorizedReduce(TorchOperation):
    def __init__(self, in_channels, channels, binary):
        super().__init__()
        conv, half = conv_class(binary), channels // 2
        self.activation = activation(binary)
        self.conv1 = conv(in_channels, half, 1, stride=2)
        self.conv2 = conv(in_channels, channels - half, 1, stride=2, padding=1)
        self.bn = nn.BatchNorm2d(channels, affine=False)

    def forward(self, x):
        x = self.activation(x)
        return self.bn(torch.cat([self.conv1(x), self.conv2(x)[:, :, 1:, 1:]], dim=1))


class TorchPool(TorchOperation):
    def __init__(self, pool, channels):
        super().__init__()
        self.channels = channels
        self.pool = pool
        self.bn = nn.BatchNorm2d(channels, affine=False)

    def forward(self, x):
        return self.bn(self.pool(x))

    def squared_norm(self):
        return self.channels / 9  # as K² = 9 weights of 1/K² a channel


class TorchSeparable(TorchOperation):
    def __init__(self, channels, kernel_size, stride, dilation, binary):
        super().__init__()
        conv, padding = conv_class(binary), dilation * (kernel_size - 1) // 2
        self.activation = activation(binary)
        self.depthwise = conv(
            channels,
            channels,
            kernel_size,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=channels,
        )
        self.pointwise = conv(channels, channels, 1)
        self.bn = nn.BatchNorm2d(channels, affine=False)

    def forward(self, x):
        return self.bn(self.pointwise(self.depthwise(self.activation(x))))


class TorchChain(TorchOperation):
    def __init__(self, first, second):
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x):
        return self.second(self.first(x))


def make_operation(name, channels, stride, binary):
    """One of the eight candidate operations of an edge."""
    if name == "none":
        return TorchZero()
    if name == "skip_connect":
        if stride == 1:
            return TorchSkip(channels)
        return TorchFactorizedReduce(channels, channels, binary)
    if name == "max_pool_3x3":
        return TorchPool(nn.MaxPool2d(3, stride, 1), channels)
    if name == "avg_pool_3x3":
        return TorchPool(nn.AvgPool2d(3, stride, 1, count_include_pad=False), channels)
    kernel_size = int(name[-1])
    if name.startswith("dil_conv"):
        return TorchSeparable(channels, kernel_size, stride, 2, binary)
    return TorchChain(
        TorchSeparable(channels, kernel_size, stride, 1, binary),
        TorchSeparable(channels, kernel_size, 1, 1, binary),
    )


class TorchReLUConvBN(nn.Module):
    def __init__(self, in_channels, channels):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn = nn.BatchNorm2d(channels, affine=False)

    def forward(self, x):
        return self.bn(self.conv(F.relu(x)))


class TorchMixedCell(nn.Module):
    """A cell of mixed operations (Eqs. 4.27, 4.28)."""

    def __init__(self, channels_before, channels, reduction, reduced_before, nodes, binary):
        super().__init__()
        self.reduction, self.nodes = reduction, nodes
        older, newer = channels_before
        if reduced_before:
            self.input0 = TorchFactorizedReduce(older, channels, binary=False)
        else:
            self.input0 = TorchReLUConvBN(older, channels)
        self.input1 = TorchReLUConvBN(newer, channels)
        strides = (2 if reduction and i < 2 else 1 for i, _ in edges(nodes))
        self.edges = nn.ModuleList(
            nn.ModuleList(make_operation(name, channels, stride, binary) for name in PRIMITIVES)
            for stride in strides
        )

    def forward(self, older, newer, weights):
        """weights (..., E, M, 1, 1, 1), shared or with the batch in front."""
        states, rest = [self.input0(older), self.input1(newer)], iter(zip(self.edges, weights))
        for _ in range(self.nodes):
            incoming = [mixed(next(rest), state) for state in states]
            states.append(reduce(torch.add, incoming))
        return torch.cat(states[2:], dim=1)


def mixed(edge, state):
    """Σ_m s_m o_m(state), all but `none`."""
    candidates, weights = edge
    pairs = zip(weights.unbind(-4)[1:], candidates[1:])
    return reduce(torch.add, (weight * candidate(state) for weight, candidate in pairs))


class TorchSupernet(nn.Module):
    """Parent (binary=False) or Child; arguments as of bnas.space.supernet.Supernet."""

    def __init__(self, in_channels, classes, channels, layers, nodes, binary):
        super().__init__()
        stem_channels = STEM_MULTIPLIER * channels
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, stem_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(stem_channels),
        )
        before, reduced_before, self.cells = (stem_channels,) * 2, False, nn.ModuleList()
        for layer in range(layers):
            reduction = layer in reduction_layers(layers)
            channels *= 2 if reduction else 1
            self.cells.append(
                TorchMixedCell(before, channels, reduction, reduced_before, nodes, binary)
            )
            before, reduced_before = (before[1], nodes * channels), reduction
        self.classifier = nn.Linear(before[1], classes)
        self.alpha = nn.Parameter(torch.zeros(2, len(edges(nodes)), len(PRIMITIVES)))

    def forward(self, x, alpha=None):
        """Logits (B, N) of images (B, C, H, W); alpha (2, E, M), or (B, 2, E, M), one a sample."""
        weights = torch.softmax(self.alpha if alpha is None else alpha, dim=-1)
        by_kind = [kind.unbind(-5) for kind in weights[..., None, None, None].unbind(-6)]
        older = newer = self.stem(x)
        for cell in self.cells:
            older, newer = newer, cell(older, newer, by_kind[cell.reduction])
        return self.classifier(newer.mean(dim=(2, 3)))

    @torch.no_grad()
    def probabilities(self, x):
        """Softmax (B, N) in evaluation mode."""
        self.eval()
        p = torch.softmax(self(x), dim=1)
        self.train()
        return p

    def reconstruction(self):
        """L_R summed over all 1-bit convolutions."""
        layers = (m for m in self.modules() if isinstance(m, TorchXnorConv2d))
        return sum(layer.reconstruction_loss() for layer in layers)

    @torch.no_grad()
    def weight_norms(self):
        """R(w) (2, E, M), averaged over the cells of a kind (Eq. 4.53)."""
        norms, cells = torch.zeros_like(self.alpha), [0, 0]
        for cell in self.cells:
            own = [[candidate.squared_norm() for candidate in edge] for edge in cell.edges]
            norms[int(cell.reduction)] += norms.new_tensor(own)
            cells[cell.reduction] += 1
        return norms / norms.new_tensor(cells).clamp(min=1)[:, None, None]


class TorchLearner:
    """A supernet with the optimisers of a phase, at the peak of its learning rate.

    Args:
        supernet: TorchSupernet.
        config: SearchConfig.
    """

    def __init__(self, supernet, config):
        self.supernet, self.config = supernet.train(), config
        rates = config.eta_factor * config.lr * config.alpha_lr
        self.eta = rates if config.eta is None else config.eta
        alpha = supernet.alpha
        self.weights = [p for p in supernet.parameters() if p is not alpha]
        self.optimiser = torch.optim.SGD(
            self.weights, config.lr, config.momentum, weight_decay=config.weight_decay
        )
        self.alpha_optimiser = torch.optim.Adam(
            [alpha], config.alpha_lr, ALPHA_BETAS, weight_decay=config.alpha_weight_decay
        )
        self.psi = torch.full_like(alpha[..., 0], INITIAL_PSI, requires_grad=False)
        self.before = torch.zeros_like(alpha, requires_grad=False)
        self.mask = torch.zeros_like(self.before, dtype=torch.bool)

    @torch.no_grad()
    def step_alpha(self, gradient):
        """A step of Adam, then backtracking (Eqs. 4.50-4.53)."""
        alpha, eta = self.supernet.alpha, self.eta
        slope = eta * (gradient * self.before * self.mask).sum(dim=-1)
        self.psi = (self.psi - self.config.psi_lr * slope).abs()
        self.before = alpha.detach().clone()
        alpha.grad = gradient
        self.alpha_optimiser.step()
        alpha.grad = None
        norms = self.supernet.weight_norms()
        ranks = (norms[..., None, :] <= norms[..., :, None]).sum(dim=-1)
        self.mask = ranks > self.config.tau
        alpha += eta * self.psi[..., None] * self.before * self.mask

    def step_weights(self, loss, penalty=None):
        """A step of SGD; the gradient norm is clipped before that of `penalty` is added."""
        loss.backward(inputs=self.weights)
        gradients = [w.grad for w in self.weights]
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        if norm > self.config.clip:  # torch's clip_grad_norm_ divides by norm + 1e-6
            torch._foreach_mul_(gradients, self.config.clip / norm)
        if penalty is not None:
            penalty.backward()
        self.optimiser.step()
        self.optimiser.zero_grad()


class TorchSearch:
    """The steps of a search in PyTorch: a step of α on a validation batch, then one of weights.

    Args:
        search: bnas.search.dcp.Search. Its weights, α, running statistics and t are copied, in
            their dtype; the optimisers start afresh, as they do in every phase.
        memory_format: torch.contiguous_format (NCHW) or torch.channels_last.

    Batches are pairs (images (B, C, H, W) of that dtype, integer labels (B,)) of arrays. A step
    returns the figures that a step of the phases in `bnas.search.phases` returns, and under
    "alpha_gradient" the gradient of α, an array (2, E, M).

    Raises InputError for a search with other options than those in COVERED.
    """

    def __init__(self, search, memory_format=torch.contiguous_format):
        for option, covered in COVERED.items():
            if getattr(search.config, option) != covered:
                raise InputError(
                    f"the PyTorch reference knows {option}={covered!r} only, not "
                    f"{getattr(search.config, option)!r}; leave {option} at its default"
                )
        self.config, self.memory_format = search.config, memory_format
        parent = self._supernet(search, search.parent, binary=False)
        child = self._supernet(search, search.child, binary=True)
        self.parent, self.child = (TorchLearner(net, search.config) for net in (parent, child))
        self.t = torch.tensor(search.t, dtype=self.child.supernet.alpha.dtype)

    def _supernet(self, search, ours, binary):
        config, dataset = search.config, search.dataset
        supernet = TorchSupernet(
            dataset.image_shape[0],
            dataset.classes,
            config.channels,
            config.layers,
            config.nodes,
            binary,
        )
        arrays = ours.state_dict()
        supernet.to(dtype=torch.tensor(arrays["alpha"]).dtype)
        supernet.load_state_dict({name: torch.tensor(array) for name, array in arrays.items()})
        return supernet.to(memory_format=self.memory_format)

    def _tensors(self, batch):
        images, labels = batch
        images = torch.as_tensor(images).to(memory_format=self.memory_format)
        return images, torch.as_tensor(labels, dtype=torch.int64)

    def parent_step(self, train_batch, validation_batch):
        """A step of the Parent (Eqs. 4.20, 4.21)."""
        supernet = self.parent.supernet
        images, labels = self._tensors(validation_batch)
        loss = F.cross_entropy(supernet(images), labels)
        (gradient,) = torch.autograd.grad(loss, [supernet.alpha])
        self.parent.step_alpha(gradient)

        images, labels = self._tensors(train_batch)
        logits = supernet(images)
        loss = F.cross_entropy(logits, labels)
        self.parent.step_weights(loss)
        return {
            "loss": loss.item(),
            "train_accuracy": accuracy(logits, labels),
            "alpha_gradient": gradient.numpy(),
        }

    def child_step(self, train_batch, validation_batch):
        """A step of the Child with tangent propagation (Eqs. 4.30-4.34)."""
        child, parent, config = self.child.supernet, self.parent.supernet, self.config
        images, _ = self._tensors(validation_batch)
        gradient, g, D = self.tangent_gradient(images, parent.probabilities(images))
        self.child.step_alpha(gradient)

        images, labels = self._tensors(train_batch)
        p = parent.probabilities(images)
        logits = child(images)
        kl = kl_loss(logits, p)
        L_R = child.reconstruction()
        self.child.step_weights(kl, config.mu * L_R)
        similarity = F.cosine_similarity(g.flatten(), self.t.flatten(), dim=0)
        return {
            "loss": kl.item(),
            "kl": kl.item(),
            "reconstruction": L_R.item(),
            "objective": kl.item() + config.lam * D.item() + config.mu * L_R.item(),
            "distance": D.item(),
            "angle": similarity.clamp(-1, 1).arccos().rad2deg().item(),
            "train_accuracy": accuracy(logits, labels),
            "alpha_gradient": gradient.numpy(),
        }

    def tangent_gradient(self, images, p):
        """-g - 2λ F (g - t) (Eq. 4.33), g and D, F the Fisher matrix from the samples' shares."""
        child, batch = self.child.supernet, len(images)
        alpha = child.alpha.detach().expand(batch, -1, -1, -1).clone().requires_grad_()
        (shares,) = torch.autograd.grad(kl_loss(child(images, alpha), p), [alpha])
        g = -shares.sum(dim=0)
        difference = g - self.t
        rows = batch * shares.flatten(1)
        curved = rows.T @ (rows @ (2 * difference).flatten()) / batch
        gradient = -g - self.config.lam * curved.view_as(g)
        return gradient, g, difference.square().sum()


def kl_loss(logits, p):
    """KL(p ‖ softmax logits), averaged over the batch: -G of Eq. 4.30."""
    return F.kl_div(F.log_softmax(logits, dim=1), p, reduction="batchmean")


def accuracy(logits, labels):
    return (logits.argmax(dim=1) == labels).double().mean().item()
