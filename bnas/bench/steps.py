"""Races of a search step, one step of α and one of the weights, against the same step in PyTorch."""

import numpy as np

from bnas.bench.races import ours, row, table
from bnas.config import SearchConfig
from bnas.data import load_dataset
from bnas.search.dcp import Search
from bnas.search.phases import ChildPhase, ParentPhase

PEERS = ["torch f32", "torch f32 last"]


def step(threads, torch, quick):
    """A step of the search, digits scale."""
    layers, batch = (3, 8) if quick else (4, 64)
    search = Search(SearchConfig(layers=layers, batch_size=batch), load_dataset("digits"))
    rng = np.random.default_rng(0)
    shape = (batch, *search.dataset.image_shape)
    train, validation = (
        (rng.standard_normal(shape).astype(np.float32), rng.integers(0, 10, batch))
        for _ in range(2)
    )
    phases = {
        "Parent": ParentPhase(search.parent, search.config, 1),
        "Child": ChildPhase(search.child, search.config, 1, search.parent, search.t),
    }
    peers = _torch(search) if torch else {}
    rows = []
    for name, phase in phases.items():
        phase.supernet.train()

        def call():
            phase.alpha_step(*validation)
            phase.weight_step(*train)

        contenders = {ours(threads): call}
        for label, peer in peers.items():
            their_step = peer.parent_step if name == "Parent" else peer.child_step
            contenders[label] = lambda their_step=their_step: their_step(train, validation)
        rows.append(row(name, contenders, threads, quick))
    config = search.config
    note = (
        f"1x8x8, {config.channels} channels, {config.layers} cells, batch {config.batch_size}. The Child's "
        "step has tangent propagation and the Parent's forward in it."
    )
    return table("Search step", note, threads, rows, PEERS, "ms")


def _torch(search):
    import torch

    from bnas.bench.torch_reference import TorchSearch

    return {
        "torch f32": TorchSearch(search),
        "torch f32 last": TorchSearch(search, torch.channels_last),
    }


TABLES = (step,)
