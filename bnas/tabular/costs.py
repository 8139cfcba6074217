"""What a network of the table costs, which no training is needed to tell: size, work, latency."""

import tempfile
import time
from functools import cache
from pathlib import Path

import numpy as np

from bnas import nn
from bnas.packed import PackedNetwork
from bnas.space import BINARY, Network, format_genotype, parse_genotype
from bnas.tabular.entries import SETTINGS, image_shape
from bnas.tabular.space import architectures

BATCH = 32  # images of a call whose latency is measured
PAIRS = 15  # of calls, of the network and of the first of the table in turn


def cost_entries(dataset):
    """{name: settings} of what `measure` is to be called with, for every architecture."""
    return {
        f"{dataset}-{number:03}-costs": {"dataset": dataset, "genotype": format_genotype(genotype)}
        for number, genotype in enumerate(architectures())
    }


def measure(settings):
    """What one 1-bit network costs.

    Returns {"parameters", "bits", "binary_macs", "real_macs", "packed_bytes", "packed_latency"}: multiply-adds
    are those of one image, packed_bytes the size of its file, and packed_latency the ratio of its latency to that
    of architecture 0 for BATCH images: the least of PAIRS calls of each, made in turn.
    """
    dataset = settings["dataset"]
    shape = image_shape(dataset)
    network, packed = _networks(dataset, settings["genotype"])
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
        "packed_latency": _latency_ratio(packed, _first(dataset), shape),
    }


def _networks(dataset, genotype):
    """(the untrained 1-bit Network, the same packed): what it costs does not depend on its weights."""
    shape, settings = image_shape(dataset), SETTINGS[dataset]
    network = Network(
        parse_genotype(genotype),
        shape[0],
        10,
        settings["channels"],
        settings["layers"],
        BINARY,
        np.random.default_rng(0),
    )
    channels = shape[0]
    return network, PackedNetwork.pack(network, shape, np.zeros(channels), np.ones(channels))


@cache
def _first(dataset):
    return _networks(dataset, format_genotype(architectures()[0]))[1]


def _latency_ratio(packed, other, shape):
    images = np.random.default_rng(0).standard_normal((BATCH, *shape)).astype(np.float32)
    pairs = [(_seconds(packed, images), _seconds(other, images)) for _ in range(PAIRS)]
    own, others = np.min(pairs, axis=0)  # the least: what else the machine does only ever adds
    return float(own / others)


def _seconds(packed, images):
    start = time.perf_counter()
    packed(images)
    return time.perf_counter() - start
