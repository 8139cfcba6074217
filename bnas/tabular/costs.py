"""What a network of the table costs, which no training is needed to tell: size, work, latency."""

import tempfile
import time
from functools import lru_cache
from pathlib import Path

import numpy as np

from bnas import nn
from bnas.packed import PackedNetwork
from bnas.space import BINARY, Network, format_genotype, parse_genotype
from bnas.tabular.entries import SETTINGS, dataset_named
from bnas.tabular.space import OPERATIONS, architectures

BATCH = 32  # images of a call whose latency is measured
PAIRS = 15  # of calls, of the network and of the first of the table in turn


def cost_entries(dataset, operations=OPERATIONS, settings=None):
    """{name: settings} of what `measure` is to be called with, for every architecture.

    Arguments as of `entries`.
    """
    settings = SETTINGS[dataset] if settings is None else settings
    genotypes = [format_genotype(genotype) for genotype in architectures(operations)]
    size = {name: settings[name] for name in ("channels", "layers")}
    return {
        f"{dataset}-{number:03}-costs": {
            "dataset": dataset,
            "genotype": genotype,
            "reference": genotypes[0],
            **size,
        }
        for number, genotype in enumerate(genotypes)
    }


def measure(settings):
    """What one 1-bit network costs.

    Returns {"parameters", "bits", "binary_macs", "real_macs", "packed_bytes", "packed_latency"}: multiply-adds
    are those of one image, packed_bytes the size of its file, and packed_latency the ratio of its latency to that
    of the reference for BATCH images: the least of PAIRS calls of each, made in turn.
    """
    dataset = dataset_named(settings["dataset"])
    shape = dataset.image_shape
    size = shape, dataset.classes, settings["channels"], settings["layers"]
    network, packed = _networks(settings["genotype"], *size)
    _, reference = _networks(settings["reference"], *size)
    work = nn.multiply_adds(network, shape)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.npz"
        packed.save(path)
        size = path.stat().st_size
    return {
        "parameters": nn.parameter_count(network),
        "bits": nn.size_in_bits(network),
        "binary_macs": work["1-bit"],
        "real_macs": work["real"],
        "packed_bytes": size,
        "packed_latency": _latency_ratio(packed, reference, shape),
    }


@lru_cache(2)  # the reference is asked for again and again
def _networks(genotype, shape, classes, channels, layers):
    """(the untrained 1-bit Network, the same packed): what it costs does not depend on its weights."""
    rng = np.random.default_rng(0)
    network = Network(parse_genotype(genotype), shape[0], classes, channels, layers, BINARY, rng)
    return network, PackedNetwork.pack(network, shape, np.zeros(shape[0]), np.ones(shape[0]))


def _latency_ratio(packed, other, shape):
    images = np.random.default_rng(0).standard_normal((BATCH, *shape)).astype(np.float32)
    pairs = [(_seconds(packed, images), _seconds(other, images)) for _ in range(PAIRS)]
    own, others = np.min(pairs, axis=0)  # the least: what else the machine does only ever adds
    return float(own / others)


def _seconds(packed, images):
    start = time.perf_counter()
    packed(images)
    return time.perf_counter() - start
