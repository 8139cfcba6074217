"""A step of the search, one of α and one of the weights, against the same step in PyTorch and JAX.

Time and peak memory of it at three scales, of random images: what is in them does not matter here.
"""

import gc
import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import NamedTuple

import numpy as np

from bnas.bench.memory import peak_of_call
from bnas.bench.races import ours, row, table
from bnas.config import SearchConfig
from bnas.data import Dataset, Split
from bnas.kernels.buffers import release
from bnas.search.dcp import Search

CLASSES = 10
NETWORKS = ("Parent", "Child")
FORMATS = {"torch f32": "contiguous_format", "torch f32 last": "channels_last"}  # NCHW, and NHWC
BETTER = "better torch"
JAX, FASTEST = "jax", "fastest peer"
FEW = 2  # images of a step whose memory is mostly what libraries load once


class Scale(NamedTuple):
    """How large a search is, and how often a step of it is measured.

    shape: of an image, (C, H, W); channels: of the first cell; layers: cells.
    """

    shape: tuple
    channels: int
    layers: int
    batch: int
    repeats: int
    nodes: int = 4

    def __str__(self):
        shape = "x".join(map(str, self.shape))
        return f"{shape}, {self.channels} channels, {self.layers} cells, batch {self.batch}"


SCALES = {
    "digits": Scale((1, 8, 8), 8, 4, 64, repeats=9),
    "cifar": Scale((3, 32, 32), 8, 5, 64, repeats=7),
    "darts": Scale((3, 32, 32), 16, 8, 64, repeats=3),
}


def scale_named(name, quick):
    scale = SCALES[name]
    return scale._replace(channels=4, layers=3, batch=4, nodes=2) if quick else scale


def our_step(network, scale):
    """A function that takes one step of the Parent or the Child, as bnas.search does."""
    search, train, validation = _search(scale)
    phase = search.train_parent(1) if network == "Parent" else search.train_child(1)
    phase.supernet.train()

    def step():
        phase.alpha_step(*validation)
        phase.weight_step(*train)

    return step


def torch_step(network, scale, memory_format):
    """The same step from the same weights in PyTorch; memory_format is a name in torch."""
    import torch

    from bnas.bench.torch_reference import TorchSearch

    search, train, validation = _search(scale)
    peer = TorchSearch(search, getattr(torch, memory_format))
    step = peer.parent_step if network == "Parent" else peer.child_step
    return lambda: step(train, validation)


class JaxStep:
    """The same step in JAX, in a process of its own on `threads` cores: as many threads XLA starts.

    Attributes:
        compilation: seconds that XLA took.
    """

    def __init__(self, network, scale, threads):
        self._process = ProcessPoolExecutor(1, get_context("spawn"))
        self.compilation = self._process.submit(_begin_jax, network, scale, threads).result()

    def __call__(self):
        self._process.submit(_step_in_jax).result()

    def close(self):
        self._process.shutdown()


_jax = {}  # in the process of a JaxStep: its step


def _begin_jax(network, scale, threads):
    if hasattr(os, "sched_setaffinity"):  # Linux only; elsewhere XLA takes all cores
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    from bnas.bench.jax_reference import JaxSearch

    search, train, validation = _search(scale)
    peer = JaxSearch(search)
    step = peer.parent_step if network == "Parent" else peer.child_step
    _jax["step"] = partial(step, train, validation)
    _jax["step"]()
    return peer.compilation


def _step_in_jax():
    _jax["step"]()


def makers(network, scale, threads, torch):
    """{label: function without arguments that makes the step of that contender}."""
    found = {ours(threads): partial(our_step, network, scale)}
    if torch:
        for label, memory_format in FORMATS.items():
            found[label] = partial(torch_step, network, scale, memory_format)
    return found


def _search(scale):
    """A Search of that scale, and a batch to train and one to validate on."""
    rng = np.random.default_rng(0)

    def split(size):
        images = rng.standard_normal((size, *scale.shape)).astype(np.float32)
        return Split(images, rng.integers(0, CLASSES, size))

    dataset = Dataset("random", CLASSES, split(scale.batch), split(scale.batch), split(1))
    config = SearchConfig(
        channels=scale.channels,
        layers=scale.layers,
        nodes=scale.nodes,
        batch_size=scale.batch,
        augment=False,
    )
    batches = ((part.images, part.labels) for part in (dataset.train, dataset.validation))
    return Search(config, dataset), *batches


def race_steps(name, network, scale, threads, torch, quick, others=None):
    """The row of a race between all contenders on one network; others: more of them, {label: step}."""
    gc.collect()  # the networks of the race before are gone before the next are made
    contenders = {label: make() for label, make in makers(network, scale, threads, torch).items()}
    contenders |= others or {}
    return row(name, contenders, threads, quick, repeats=scale.repeats)


def peaks(network, scale, threads, torch):
    """{label: bytes that a step takes at its peak}, each in a process of its own."""
    gc.collect()  # what the races before took is given back: a step may need all memory that there is
    release()
    contenders = makers(network, scale, threads, torch).items()
    return {label: peak_of_call(make, threads) for label, make in contenders}


def step_table(name, threads, torch, quick, repeats=None, jax=False):
    """The race of a scale; repeats: in place of the scale's own."""
    scale = scale_named(name, quick)
    scale = scale._replace(repeats=repeats or scale.repeats)
    rows, compilations = [], []
    for network in NETWORKS:
        others = {JAX: JaxStep(network, scale, threads)} if jax else {}
        try:
            rows.append(race_steps(network, network, scale, threads, torch, quick, others))
        finally:
            for step in others.values():
                compilations.append(f"{step.compilation:.0f}")
                step.close()
    note = (
        f"{scale}, random images. The Child's step has tangent propagation and the Parent's "
        "forward in it. "
    )
    peers, better = list(FORMATS), BETTER
    if compilations:
        peers, better = [*FORMATS, JAX], FASTEST
        note += (
            f"'{FASTEST}' is the fastest of the peers. JAX compiled for {' and '.join(compilations)} "
            "seconds before, which are not counted."
        )
    else:
        note += f"'{BETTER}' is the faster of the two formats."
    made = table(f"Search step, {name} scale", note, threads, rows, peers, None)
    return made | {"better": better}


def memory_table(names, threads, torch, quick):
    """What a step takes at its peak, at the scales of these names."""
    rows = []
    for name in names:
        scale = scale_named(name, quick)
        for network in NETWORKS[: 1 if quick else 2]:
            few = scale._replace(batch=FEW)
            # Once in vain: what is not in Numba's cache yet is compiled, and is no part of a step.
            peak_of_call(partial(our_step, network, scale), threads)
            for label, measured in ((network, scale), (f"{network}, {FEW} images", few)):
                found = peaks(network, measured, threads, torch)
                rows.append({"name": f"{name}, {label}", "bytes": found})
    note = (
        "How far the first step raises the peak of a new process that has imported its libraries and "
        "built its networks: the graph, temporaries, optimisers, and what libraries load when they are "
        f"first used, machine code above all; a step of {FEW} images is little else. "
        f"'{BETTER}' is the smaller of the two formats."
    )
    made = table("Peak memory of a search step", note, threads, rows, list(FORMATS), "MiB")
    return made | {"better": BETTER}
