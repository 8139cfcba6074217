"""Races of whole networks: packed against their real-valued twins in PyTorch, and how they start."""

import importlib.util
import os
import subprocess
import sys
import tempfile

import numpy as np

from bnas import nn
from bnas.autodiff import no_grad
from bnas.bench.races import ours, row, table
from bnas.bench.timing import SETTLE
from bnas.packed import PackedNetwork
from bnas.space import BINARY, PUBLISHED, REAL, Network, parse_genotype

SHAPE, CLASSES, CELLS = (3, 32, 32), 10, 8
PEERS = ["onnx f32", "onnx int8", "torch f32", "torch f32 last", "torch bf16"]
# bnas search --parent-epochs 3 --child-epochs 3 --tau 4
FOUND = """
Genotype(
    normal=[
        ("avg_pool_3x3", 0), ("avg_pool_3x3", 1),  # node 2
        ("dil_conv_5x5", 1), ("dil_conv_3x3", 2),  # node 3
        ("dil_conv_3x3", 0), ("sep_conv_3x3", 3),  # node 4
        ("dil_conv_5x5", 2), ("dil_conv_5x5", 3),  # node 5
    ],
    normal_concat=[2, 3, 4, 5],
    reduce=[
        ("max_pool_3x3", 0), ("max_pool_3x3", 1),  # node 2
        ("avg_pool_3x3", 1), ("sep_conv_5x5", 2),  # node 3
        ("sep_conv_3x3", 0), ("dil_conv_5x5", 1),  # node 4
        ("avg_pool_3x3", 0), ("sep_conv_5x5", 2),  # node 5
    ],
    reduce_concat=[2, 3, 4, 5],
)
"""


def network(threads, torch, quick):
    """Packed networks against their real-valued twins."""
    rows = []
    architectures = {"found": parse_genotype(FOUND), "DARTS_V2": PUBLISHED["DARTS_V2"]}
    for name, genotype in list(architectures.items())[: 1 if quick else 2]:
        for channels in (16,) if quick else (16, 36):
            rng = np.random.default_rng(0)
            binary, real = (
                Network(genotype, SHAPE[0], CLASSES, channels, CELLS, precision, rng)
                for precision in (BINARY, REAL)
            )
            packed = PackedNetwork.pack(binary, SHAPE, np.zeros(3), np.ones(3))
            for batch in (1, 32) if quick else (1, 8, 32):
                images = rng.standard_normal((batch, *SHAPE)).astype(np.float32)
                contenders = {
                    ours(threads): lambda: packed(images),
                    "unpacked": lambda: _logits(binary, images),
                }
                if has_onnx():
                    contenders |= _onnx(real, images, threads)
                if torch:
                    contenders |= _torch(real, images)
                label = f"{name}, {channels} channels, batch {batch}"
                settle = SETTLE if threads > 1 else 0
                rows.append(row(label, contenders, threads, quick, settle=settle))
    note = (
        "8 cells, 3x32x32, random weights. 'found' comes from a search on the digits. 'unpacked' is our own "
        "training graph of the same 1-bit network. The twins compute real convolutions of the same shapes: "
        "ONNX Runtime with batch norms folded, in int8 with logits some per cent off; PyTorch in eager mode, "
        "batch norm by itself."
    )
    return table("Packed network", note, threads, rows, PEERS, "ms")


def _logits(network, images):
    with nn.evaluating(network), no_grad():
        return network(images).data


def has_onnx():
    """Whether ONNX Runtime is installed, and the package that makes its files."""
    return all(importlib.util.find_spec(name) for name in ("onnx", "onnxruntime"))


def _onnx(network, images, threads):
    from bnas.bench.onnx_network import OnnxInt8Network, OnnxNetwork

    size = network, images.shape[1:], threads
    twins = {"onnx f32": OnnxNetwork(*size), "onnx int8": OnnxInt8Network(*size)}
    return {label: lambda twin=twin: twin(images) for label, twin in twins.items()}


def _torch(network, images):
    import torch

    from bnas.bench.torch_network import TorchNetwork

    last = torch.channels_last
    twins = {
        "torch f32": TorchNetwork(network),
        "torch f32 last": TorchNetwork(network, last),
        "torch bf16": TorchNetwork(network, last, torch.bfloat16),
    }
    return {label: lambda twin=twin: twin(images) for label, twin in twins.items()}


START = """
import sys, time
import numpy as np
from bnas.packed import PackedNetwork
network = PackedNetwork.load(sys.argv[1])
start = time.perf_counter()
network(np.zeros((1, 3, 32, 32), np.float32))
print(time.perf_counter() - start)
"""


def start(threads, torch, quick):
    """The first call of a packed network in a new process."""
    network = Network(
        PUBLISHED["DARTS_V2"], 3, CLASSES, 16, CELLS, BINARY, np.random.default_rng(0)
    )
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "net.npz")
        PackedNetwork.pack(network, SHAPE, np.zeros(3), np.ones(3)).save(path)
        environment = {
            **os.environ,
            "NUMBA_CACHE_DIR": os.path.join(folder, "cache"),
            "NUMBA_NUM_THREADS": str(threads),
        }
        for name in ("empty cache: all kernels compiled", "warm cache"):
            command = [sys.executable, "-c", START, path]
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, check=True
            )
            seconds = float(done.stdout)
            figure = {"seconds": seconds, "low": seconds, "high": seconds, "repeats": 1}
            rows.append({"name": name, "figures": {ours(threads): figure}, "work": None})
    return table("First call of a packed network", "Measured once.", threads, rows, [], "s")


TABLES = (network, start)
