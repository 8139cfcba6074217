"""Folders of made-up runs: whatever a search, its trainings and an evaluation leave, without any network."""

from contextlib import contextmanager
from dataclasses import asdict
from unittest import mock

import numpy as np

from bnas.config import SearchConfig, TrainConfig
from bnas.runs import RunFolder
from bnas.runs.files import checkpoint_digest
from bnas.space import edges, format_genotype, parse_genotype, random_genotype, write_genotype

LABELS = {"binary": "Found 1-bit network", "real": "Its real twin"}
SIZE = {"parameters": 100, "bits": 1000}


@contextmanager
def hasty():
    """No power cut is feared here, and hundreds of files are written."""
    with mock.patch("os.fsync"):
        yield


def genotype_of(seed, nodes=2):
    return random_genotype(nodes, np.random.default_rng(seed))


@hasty()
def write_run(path, config, records, done=None):
    """A run folder with these records, of which `done` epochs (all of them) are in the checkpoint."""
    with RunFolder.create(path, asdict(config)) as folder:
        for record in records:
            folder.append_history(record)
        if records:
            folder.save({}, {"epochs_done": len(records) if done is None else done})
    return path


def search_records(config, epochs=2, **more):
    """Records as this version writes them."""
    rng = np.random.default_rng(config.seed)
    shape = (2, len(edges(config.nodes)), len(config.operation_names))
    return [
        {
            "epoch": epoch,
            "round": 0,
            "phase": "parent" if epoch == 1 else "child",
            "loss": rng.uniform(1, 3),
            "distance": None if epoch == 1 else rng.uniform(),
            "alpha": rng.normal(size=shape).tolist(),
            "genotype": format_genotype(genotype_of(epoch)),
            "seconds": 1.5,
            "gradient_steps": 10,
            "images_seen": 1000,
            "peak_memory": 2**28 + epoch + config.seed,
            **more,
        }
        for epoch in range(1, epochs + 1)
    ]


@hasty()
def write_search(path, finished=True, genotype=None, **settings):
    """The folder of a search."""
    config = SearchConfig(**{"nodes": 2, **settings})
    write_run(path, config, search_records(config))
    if finished:
        write_genotype(path / "genotype.txt", genotype or genotype_of(config.seed))
    return path


def write_training(root, name="binary", validation=None, done=None, **settings):
    """The folder root/name of a training of root/genotype.txt.

    validation: its validation accuracy after the last epoch, if it holds the validation images out.
    """
    genotype = parse_genotype((root / "genotype.txt").read_text())
    if name == "random":
        genotype = genotype_of(99)
    precision = "real" if name == "real" else "binary"
    usual = {"genotype": format_genotype(genotype), "precision": precision, "epochs": 2}
    config = TrainConfig(**{**usual, "hold_out": validation is not None, **settings})
    key = "evaluation_accuracy" if validation is None else "validation_accuracy"
    records = [
        {"epoch": epoch, "phase": "train", key: (validation or 0.5) / epoch, "seconds": 0.25}
        for epoch in range(config.epochs, 0, -1)
    ]
    records = [{**r, "epoch": k} for k, r in enumerate(records, start=1)][:done]
    return write_run(root / name, config, records)


@hasty()
def write_evaluation(root, accuracies, images=1000, old=False):
    """evaluation.json of {name of a training: test accuracy}; `old`: as the first version wrote it."""
    figures = {"Parent (supernet)": {"test_accuracy": 0.5, "low": 0.4, "high": 0.6, **SIZE}}
    for name, share in accuracies.items():
        label = LABELS.get(name, f"{name} (1-bit)")
        figures[label] = {"test_accuracy": share, "low": share - 0.01, "high": share, **SIZE}
        if not old:
            digest = checkpoint_digest(root / name / "checkpoint.npz")
            figures[label] |= {"test_images": images, "training": name, "checkpoint": digest}
    RunFolder(root).write_result("evaluation.json", figures)


def write_all(
    path, accuracy=0.9, seed=0, name="binary", validation=None, genotype=None, **settings
):
    """A search, its trained network, and the evaluation."""
    write_search(path, seed=seed, genotype=genotype, **settings)
    limit = {"limit": settings["limit"]} if "limit" in settings else {}
    write_training(path, name, validation, seed=seed, **limit)
    write_evaluation(path, {name: accuracy})
    return path
