"""Races of single kernels: 1-bit products and convolutions against floats."""

import numpy as np

import bnas.functional as F
from bnas import kernels, nn, reference
from bnas.autodiff import Tensor, no_grad
from bnas.bench.peak import popcounts
from bnas.bench.races import ours, row, table
from bnas.bench.timing import race
from bnas.kernels.packing import WORD
from bnas.packed.fold import fold
from bnas.packed.kernels import depthwise_to_bits
from bnas.packed.plan import Plan
from bnas.space import BINARY, Genotype, Network

ONE = (1, 1)
PEERS = ["torch f32", "torch bf16", "torch int8"]
MATMULS = (  # M, N, K: two squares, and the 3×3 convolutions of ResNet-18 as products
    (1024, 1024, 4608),
    (1024, 1024, 576),
    (3136, 64, 576),
    (784, 128, 1152),
    (196, 256, 2304),
    (49, 512, 4608),
)
RESNET = ((64, 56), (128, 28), (256, 14), (512, 7))  # channels, height of the 3×3 convolutions
NAIVE_LIMIT = 10_000_000  # words that the twin in plain NumPy is asked to count


def normal(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def popcount_peak(counts):
    """Popcounts of 64-bit words that the machine does in a second, by our label."""
    rates = {}
    for count in counts:
        words, call = popcounts(count)
        rates[ours(count)] = (
            words / race({"peak": call}, threads_of={"peak": count})["peak"].seconds
        )
    return {"name": "popcount of 64-bit words", "unit": "words/s", "rates": rates}


def matmul(threads, torch, quick):
    """XNOR matmul: all operands packed already, theirs in their own dtype."""
    rows = []
    for m, n, k in MATMULS[:1] if quick else MATMULS:
        x, y = normal(m, k), normal(n, k)
        a, b = (kernels.pack_bits(v[:, :, None, None]).reshape(len(v), -1) for v in (x, y))

        def call():
            return kernels.xnor_matmul(a, b, k)

        contenders = {ours(threads): call, "NumPy f32": lambda: x @ y.T}
        if a.size * n <= NAIVE_LIMIT:
            contenders["naive"] = lambda: reference.xnor_matmul(a, b, k)
        if torch:
            contenders |= _torch_matmul(x, y)
        rows.append(row(f"{m} x {n} x {k}", contenders, threads, quick, m * n * a.shape[1], call))
    note = "Shapes M x N x K. Our operands are in row-major words; laying them out for tiles is included."
    return table("XNOR matmul", note, threads, rows, ["NumPy f32", *PEERS])


def _torch_matmul(x, y):
    import torch

    x, y = torch.from_numpy(x), torch.from_numpy(y).T.contiguous()
    x16, y16 = x.bfloat16(), y.bfloat16()
    x8, y8 = x.sign().to(torch.int8), y.sign().to(torch.int8)
    calls = {"torch f32": lambda: x @ y, "torch bf16": lambda: x16 @ y16}
    if hasattr(torch, "_int_mm"):
        calls["torch int8"] = lambda: torch._int_mm(x8, y8)
    return calls


def _torch_conv(x, w, **window):
    import torch
    from torch.nn.functional import conv2d

    x, w = torch.from_numpy(x), torch.from_numpy(w)
    last = [t.to(memory_format=torch.channels_last) for t in (x, w)]
    half = [t.bfloat16() for t in last]

    def call(x, w):
        return lambda: conv2d(x, w, **window)

    calls = {"torch f32": call(x, w), "torch f32 last": call(*last), "torch bf16": call(*half)}
    if "groups" not in window:
        calls["torch int8"] = _torch_int8_conv(*last, **window)
    return calls


def _torch_int8_conv(x, w, padding):
    """int8 in and out, both quantised ahead."""
    import torch

    x = torch.quantize_per_tensor(x, 0.05, 64, torch.quint8)
    w = torch.quantize_per_tensor(w, 0.05, 0, torch.qint8)
    w = torch.ops.quantized.conv2d_prepack(w, None, [1, 1], [padding] * 2, [1, 1], 1)
    return lambda: torch.ops.quantized.conv2d(x, w, 1.0, 0)


CONV_PEERS = ["torch f32", "torch f32 last", "torch bf16", "torch int8"]


def conv(threads, torch, quick):
    """1-bit 3×3 convolution by a layer, ResNet-18's shapes."""
    rows = []
    for name, x, w, work in _convolutions(quick):
        layer = nn.XnorConv2d(*w.shape[:2], 3, padding=1).eval()
        layer.weight.data = w.copy()
        rows.append(_conv_row(name, x, w, work, layer, threads, torch, quick))
    note = (
        "nn.XnorConv2d in evaluation. Batch x channels x pixels, as many channels out. Floats in and out: "
        "packing of the images, conversion and beta are included; the layer packs its weights at the first "
        "call. 'last' is channels_last; int8 has int8 in and out."
    )
    return table("1-bit 3x3 convolution", note, threads, rows, CONV_PEERS)


def conv_new_weights(threads, torch, quick):
    """1-bit 3×3 convolution whose weights are new at every call."""
    rows = []
    for name, x, w, work in _convolutions(quick):

        def call(x, w=Tensor(w)):
            return F.xnor_conv2d(x, w, padding=1)

        rows.append(_conv_row(name, x, w, work, call, threads, torch, quick))
    note = "F.xnor_conv2d under no_grad: packing of the weights and beta, mean|w|, are included."
    return table(
        "1-bit 3x3 convolution, weights new at every call", note, threads, rows, CONV_PEERS
    )


def _convolutions(quick):
    """(name, images, weights, word operations) of ResNet-18's shapes."""
    for batch in (1, 8):
        for channels, height in RESNET[:1] if quick else RESNET:
            x, w = normal(batch, channels, height, height), normal(channels, channels, 3, 3)
            words = 9 * -(-channels // WORD)
            yield f"{batch} x {channels} x {height}²", x, w, batch * height**2 * channels * words


def _conv_row(name, x, w, work, convolve, threads, torch, quick):
    images = Tensor(x)

    def call():
        with no_grad():
            return convolve(images)

    contenders = {ours(threads): call} | (_torch_conv(x, w, padding=1) if torch else {})
    return row(name, contenders, threads, quick, work, call)


DEPTHWISE = ((1, 64, 32, 3), (8, 64, 32, 3), (8, 64, 32, 5), (64, 16, 32, 3), (64, 16, 32, 5))


def depthwise(threads, torch, quick):
    """1-bit depthwise convolution of floats."""
    rows = []
    for batch, channels, height, k in DEPTHWISE[:1] if quick else DEPTHWISE:
        x, w = normal(batch, channels, height, height), normal(channels, 1, k, k)
        beta, pad = np.abs(w).mean(axis=(1, 2, 3)), (k // 2, k // 2)

        def call():
            return kernels.xnor_conv2d(x, w, beta, ONE, pad, ONE, channels)

        contenders = {ours(threads): call}
        if torch:
            contenders |= _torch_conv(x, w, padding=pad, groups=channels)
        if batch == 1:
            contenders["naive"] = lambda: reference.xnor_conv2d(x, w, beta, ONE, pad, ONE, channels)
        rows.append(row(f"{batch} x {channels} x {height}², {k}x{k}", contenders, threads, quick))
    note = "Floats in and out, as in training."
    return table("1-bit depthwise convolution", note, threads, rows, CONV_PEERS)


def depthwise_bits(threads, torch, quick):
    """1-bit depthwise convolution, bits in and bits out, as in a packed network."""
    rows = []
    for batch, channels, height, k in DEPTHWISE[:1] if quick else DEPTHWISE:
        call = _packed_depthwise(batch, channels, height, k)
        contenders = {ours(threads): call}
        if torch:
            x, w = normal(batch, channels, height, height), normal(channels, 1, k, k)
            contenders |= _torch_conv(x, w, padding=k // 2, groups=channels)
        rows.append(row(f"{batch} x {channels} x {height}², {k}x{k}", contenders, threads, quick))
    note = (
        "The next sign included, as a threshold. A packed network runs this on one thread an image."
    )
    return table("1-bit depthwise convolution, bits in and out", note, threads, rows, CONV_PEERS)


def _packed_depthwise(batch, channels, height, k):
    """The first depthwise convolution of a packed network of such channels."""
    edge = (f"sep_conv_{k}x{k}", 0)
    genotype = Genotype((edge, edge), (2,), (edge, edge), (2,))
    network = Network(genotype, 3, 10, channels, 3, BINARY, np.random.default_rng(0))
    plan = Plan(fold(network), (3, height, height))
    plan.run()
    number = next(i for i, (kernel, _) in enumerate(plan.calls) if kernel is depthwise_to_bits)

    def call():
        for _ in range(batch):
            plan.run(range(number, number + 1))

    return call


def packing(threads, torch, quick):
    """Packing of signs, and back."""
    rows = []
    for shape in ((1, 64, 56, 56), (8, 256, 14, 14))[: 1 if quick else 2]:
        x = normal(*shape)
        contenders = {
            ours(threads): lambda: kernels.pack_bits(x),
            "NumPy": lambda: np.packbits(x > 0, axis=1),
            "naive": lambda: reference.pack_bits(x),
        }
        rows.append(row("x".join(map(str, shape)), contenders, threads, quick))
    note = "Into words with the channels innermost; NumPy's packbits makes bytes."
    return table("Packing", note, threads, rows, ["NumPy"])


TABLES = (matmul, conv, conv_new_weights, depthwise, depthwise_bits, packing)
ONE_THREAD_ONLY = (depthwise_bits,)
