"""Training the network of a genotype from scratch, 1-bit or real.

A 1-bit network can learn in two stages: binary activations with real weights first, then binary weights
too. It can also be drawn to the predictions of its real twin (distillation).
"""

import time

import numpy as np

import bnas.functional as F
from bnas import backend, fused
from bnas.data import Split, batches
from bnas.errors import InputError, Wording
from bnas.evaluation import accuracy
from bnas.kernels import buffers
from bnas.nn import join_states, part_of, require_alike, without
from bnas.optim import Adam, cosine_schedule, descend
from bnas.runs.jobs import RunningMeans, epoch_rng, locate
from bnas.search.objectives import kl_to_teacher, reconstruction, teacher_probabilities
from bnas.space.network import Network
from bnas.space.operations import REAL, Precision
from bnas.space.text import parse_genotype

PARTS = ("network", "optimiser")  # of the state
FINAL_TEMPERATURE = 10.0  # of the tanh surrogate, annealed from 1


def build_network(config, dataset):
    """The untrained Network of a TrainConfig for a bnas.data.Dataset."""
    precision = REAL
    if config.precision == "binary":
        precision = Precision(True, config.surrogate, config.beta)
    rng = np.random.default_rng(config.seed)
    return Network(
        parse_genotype(config.genotype),
        dataset.image_shape[0],
        dataset.classes,
        config.channels,
        config.layers,
        precision,
        rng,
        config.drop_path,
    )


def trained_network(config, dataset, arrays):
    """The Network of a finished Training, from the `arrays` of its state; ValueError if it is another's."""
    require_alike(without(arrays, PARTS), {})
    network = build_network(config, dataset)
    network.load_state_dict(part_of(arrays, "network"))
    return network


class Training:
    """Training of one network: a job for `bnas.runs.jobs.run`.

    Args:
        config: TrainConfig.
        dataset: bnas.data.Dataset.
        teacher: the trained real twin, a Network; needed if config.distil is not 0.

    Attributes:
        network: what is trained.
        epochs, steps: how many epochs, and steps an epoch.
    """

    def __init__(self, config, dataset, teacher=None):
        if config.distil and teacher is None:
            raise InputError(
                "distillation needs the real twin; ",
                Wording("give it as `teacher`", "train it first with --precision real"),
            )
        self.config, self.dataset, self.teacher = config, dataset, teacher
        self.network = build_network(config, dataset)
        # What computes in training; the network itself in evaluation.
        self.forward = fused.compile(self.network) if config.engine == "fused" else self.network
        self.split = dataset.train
        if not config.hold_out:
            self.split = join(dataset.train, dataset.validation)
        self.epochs = config.epochs
        self.batch_size = min(config.batch_size, len(self.split))
        self.steps = len(self.split) // self.batch_size
        self.augment = dataset.augmentation if config.augment else None
        self.optimiser = self._new_optimiser()

    def stage(self, epoch):
        """(name of the stage, epochs since it began, its length).

        The names say what is 1-bit: "real", "activations" or "binary" (activations and weights).
        """
        first = self.epochs // 2 if self.config.stages == 2 else 0
        if epoch < first:
            return "activations", epoch, first
        return self.config.precision, epoch - first, self.epochs - first

    def run_epoch(self, number, progress):
        """Epoch `number`; returns its history record.

        It has the accuracy on the validation images after the epoch: as validation_accuracy where they
        are held out, as evaluation_accuracy where they train too.
        """
        with backend.using(self.config.kernels):
            return self._run_epoch(number, progress)

    def _run_epoch(self, number, progress):
        start = time.perf_counter()
        config, network = self.config, self.network
        stage, since, length = self.stage(number)
        if since == 0:
            self.optimiser = self._new_optimiser()
            network.reset_betas()  # until now no prediction depended on them
        network.binarise_weights(stage == "binary")
        network.set_temperature(FINAL_TEMPERATURE ** (number / max(self.epochs - 1, 1)))
        network.train()
        rng = network.path_rng = epoch_rng(config.seed, number)
        label = f"epoch {number + 1} of {self.epochs}"
        means = RunningMeans()
        steps = batches(self.split, self.batch_size, rng, self.augment, drop_last=True)
        for step, (images, labels) in enumerate(steps):
            self.optimiser.lr = cosine_schedule(
                since * self.steps + step, length * self.steps, config.lr, warmup=self.steps
            )
            with locate(f"{label}, step {step + 1} of {self.steps}"):
                logits, loss, penalty = self.loss(images, labels)
                descend(self.optimiser, loss, penalty, config.clip)
            correct = logits.data.argmax(axis=1) == labels
            means.add({"loss": loss.item(), "train_accuracy": float(correct.mean())})
            progress.step(label, means["loss"], means["train_accuracy"])
        buffers.release()  # what follows comes in batches of other sizes
        evaluated = "validation_accuracy" if config.hold_out else "evaluation_accuracy"
        share = accuracy(network, self.dataset.validation)
        buffers.release()
        return {
            "phase": "train",
            "stage": stage,
            **means.result(),
            evaluated: share,
            "seconds": time.perf_counter() - start,
        }

    def loss(self, images, labels):
        """(logits, (1 - d) cross-entropy + d KL(teacher ‖ network), μ L_R or None) of a batch."""
        config = self.config
        # First: what the teacher needs is gone before the network's graph is there.
        p = teacher_probabilities(self.teacher, images) if config.distil else None
        logits = self.forward(images)
        loss = F.cross_entropy(logits, labels)
        if config.distil:
            kl = kl_to_teacher(logits, p)
            loss = (1 - config.distil) * loss + config.distil * kl
        return logits, loss, config.mu * reconstruction(self.network) if config.mu else None

    def state(self):
        """{name: array}: all that is needed to go on, or to use the network."""
        return join_states(network=self.network.state_dict(), optimiser=self.optimiser.state_dict())

    def load_state(self, arrays, epochs_done):
        """Take over the `state` after `epochs_done` epochs of the same training; ValueError if it is another's."""
        require_alike(without(arrays, PARTS), {})
        self.network.load_state_dict(part_of(arrays, "network"))
        self.optimiser.load_state_dict(part_of(arrays, "optimiser"))
        self.network.binarise_weights(self.stage(epochs_done - 1)[0] == "binary")

    def _new_optimiser(self):
        return Adam(
            self.network.parameters(), self.config.lr, weight_decay=self.config.weight_decay
        )


def join(first, second):
    """Two splits as one."""
    return Split(
        np.concatenate([first.images, second.images]), np.concatenate([first.labels, second.labels])
    )
