"""Random 1-bit networks as users write them: layers one after another, residual sums, concatenations."""

import bnas.functional as F
from bnas import nn
from bnas.config import SURROGATES

from .arrays import rng
from .networks import CLASSES, scramble

KINDS = ("xnor", "real", "norm", "relu", "prelu", "max", "avg", "residual", "concat", "dropout")
ENDS = ("mean", "adaptive", "flat", "two", "pointwise", "no linear")


class Residual(nn.Module):
    def __init__(self, body):
        self.body = body

    def forward(self, x):
        return x + self.body(x)


class Beside(nn.Module):
    def __init__(self, *parts):
        self.parts = list(parts)

    def forward(self, x):
        return F.concat([x, *(part(x) for part in self.parts)], axis=1)


class Classifier(nn.Module):
    """Of the mean over all pixels, in the two ways to write it."""

    def __init__(self, channels, generator):
        self.linear, self.short = (
            nn.Linear(channels, CLASSES, rng=generator),
            generator.random() < 0.5,
        )

    def forward(self, x):
        return self.linear(F.global_avg_pool2d(x) if self.short else x.mean((2, 3)))


class Written(nn.Module):
    """A network with every kind of layer that can be packed, for images (2, 6, 7)."""

    def __init__(self, generator):
        self.stem = nn.Conv2d(2, 4, 3, padding=1, bias=False, rng=generator)
        self.norms = [nn.BatchNorm2d(4) for _ in range(4)]
        self.depthwise = nn.XnorConv2d(4, 4, 3, padding=1, groups=4, rng=generator)
        self.pointwise = nn.XnorConv2d(4, 4, 1, beta="learned", rng=generator)
        self.grouped = nn.XnorConv2d(4, 4, 3, padding=1, groups=2, surrogate="tanh", rng=generator)
        self.slopes, self.pool = nn.PReLU(4), nn.MaxPool2d(2)
        self.last = nn.XnorConv2d(8, 4, 2, rng=generator)
        self.classifier = Classifier(4, generator)

    def forward(self, x):
        x = self.norms[0](self.stem(x))
        y = self.norms[1](self.depthwise(x))
        x = F.relu(x + self.norms[2](self.pointwise(y)))
        y = self.slopes(self.norms[3](self.grouped(x)))
        x = F.concat([F.avg_pool2d(x, 2), self.pool(y)], axis=1)
        return self.classifier(F.relu(self.last(x)))


def written(seed=0):
    """(a `Written`, its shape), with random numbers in it."""
    network = Written(rng(seed))
    scramble(network, rng(seed))
    return network.eval(), (2, 6, 7)


def random_module(kinds, end, size, seed):
    """(network, shape): layers of these kinds, and a 1-bit convolution among them, for images of `size`."""
    generator = rng(seed)
    size = int(generator.integers(1, 4)), *size
    shape, layers = size, []
    for kind in (*kinds, "xnor"):
        made, size = _layers(kind, size, generator)
        layers += made
    network = nn.Sequential(*layers, *_end(end, size, generator))
    scramble(network, generator)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean[:] = generator.standard_normal(module.running_mean.size)
        elif isinstance(module, (nn.Conv2d, nn.Linear)) and module.bias is not None:
            module.bias.data[:] = generator.standard_normal(module.bias.size)
        elif isinstance(module, nn.PReLU):
            module.weight.data[:] = generator.standard_normal(module.weight.size)
    return network.eval(), shape


def _layers(kind, size, generator):
    """A few modules, and the size (C, H, W) of what they make."""
    channels = size[0]
    if kind == "xnor":
        layer, size = _conv(nn.XnorConv2d, size, generator)
        return [layer, *_norm(size[0], generator)], size
    if kind == "real":
        layer, size = _conv(nn.Conv2d, size, generator, bias=generator.random() < 0.5)
        return [layer, *_norm(size[0], generator)], size
    if kind == "norm":
        return [nn.BatchNorm2d(channels)], size
    if kind == "relu":
        return [nn.ReLU()], size
    if kind == "prelu":
        return [nn.PReLU(int(generator.choice([1, channels])))], size
    if kind in ("max", "avg"):
        return _pool(kind, size, generator)
    if kind == "residual":
        bodies = [_same_size(size, generator) for _ in range(generator.integers(1, 3))]
        return [Residual(nn.Sequential(*(m for body in bodies for m in body)))], size
    if kind == "concat":
        bodies = [
            nn.Sequential(*_same_size(size, generator)) for _ in range(generator.integers(1, 3))
        ]
        return [Beside(*bodies)], ((1 + len(bodies)) * channels, *size[1:])
    return [nn.Dropout(), nn.Identity()], size


def _conv(kind, size, generator, **settings):
    channels, *pixels = size
    groups = int(generator.choice([g for g in (1, 1, 2, 3, channels) if channels % g == 0]))
    outputs = groups * int(generator.choice([1, 1, 2, 5] if groups > 2 else [1, 3, 8, 33]))
    kernel, padding = generator.integers(1, 4, 2), generator.integers(0, 3, 2)
    dilation, stride = generator.integers(1, 3, 2), generator.integers(1, 3, 2)
    fits = all(
        n + 2 * p >= d * (k - 1) + 1 for n, p, d, k in zip(pixels, padding, dilation, kernel)
    )
    window = (kernel, stride, padding, dilation) if fits else ((1, 1), (1, 1), (0, 0), (1, 1))
    window = [tuple(int(n) for n in pair) for pair in window]
    if kind is nn.XnorConv2d:
        settings["beta"] = str(generator.choice(["learned", "closed"]))
        settings["surrogate"] = str(generator.choice(SURROGATES))
    conv = kind(channels, outputs, *window, groups, rng=generator, **settings)
    return conv, (outputs, *conv.window.out_size(pixels))


def _norm(channels, generator):
    return [nn.BatchNorm2d(channels)] if generator.random() < 0.8 else []


def _same_size(size, generator):
    """A 1-bit convolution that keeps the size, often depthwise."""
    groups = int(generator.choice([1, size[0]]))
    conv = nn.XnorConv2d(size[0], size[0], 3, padding=1, groups=groups, rng=generator)
    return [conv, *_norm(size[0], generator)]


def _pool(kind, size, generator):
    channels, *pixels = size
    kernel, stride = (tuple(int(n) for n in generator.integers(1, 4, 2)) for _ in range(2))
    padding = tuple(int(generator.integers(0, k // 2 + 1)) for k in kernel)
    if kind == "avg" and generator.random() < 0.3:
        kernel, padding = tuple(pixels), (0, 0)  # maybe of more than 64 pixels, summed in float64
    if any(n + 2 * p < k for n, p, k in zip(pixels, padding, kernel)):
        kernel, padding = (1, 1), (0, 0)
    if kind == "max":
        pool = nn.MaxPool2d(kernel, stride, padding)
    else:
        counted = bool(generator.random() < 0.5)
        pool = nn.AvgPool2d(kernel, stride, padding, count_include_pad=counted)
    made = ((n + 2 * p - k) // s + 1 for n, p, k, s in zip(pixels, padding, kernel, stride))
    return [pool], (channels, *made)


def _end(end, size, generator):
    channels, features = size[0], size[0] * size[1] * size[2]
    if end == "mean":
        return [Classifier(channels, generator)]
    if end == "adaptive":
        last = nn.Linear(channels, CLASSES, generator.random() < 0.5, rng=generator)
        return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), last]
    if end == "pointwise":
        groups = 2 if channels % 2 == 0 else 1
        last = nn.Conv2d(channels, 2 * CLASSES, 1, groups=groups, rng=generator)
        return [nn.AdaptiveAvgPool2d(1), last, nn.Flatten()]
    if end == "flat":
        return [nn.Flatten(), nn.ReLU(), nn.Linear(features, CLASSES, rng=generator)]
    if end == "two":
        hidden = nn.Linear(features, 5, rng=generator)
        return [
            nn.Flatten(),
            hidden,
            nn.BatchNorm1d(5),
            nn.ReLU(),
            nn.Linear(5, CLASSES, rng=generator),
        ]
    return [
        nn.XnorConv2d(channels, CLASSES, 1, rng=generator),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    ]
