"""One phase of the search: how Parent and Child take their steps.

A step is one step of α on a validation batch, then one of the weights on a training batch; the other of
the two is frozen meanwhile.
"""

import numpy as np

from bnas.autodiff import frozen, grad
from bnas.data import batches
from bnas.nn import join_states, part_of, require_alike, without
from bnas.optim import SGD, Adam, cosine_schedule, descend
from bnas.runs.jobs import RunningMeans, locate
from bnas.search.decoupled import DecoupledAlpha
from bnas.search.objectives import (
    child_loss,
    kl_to_teacher,
    nas_loss,
    reconstruction,
    teacher_probabilities,
)
from bnas.search.remedies import entropy_gradient
from bnas.search.strategy import Cost
from bnas.search.tangent import angle, tangent_gradient

ALPHA_BETAS = (0.5, 0.999)  # of Adam for α, as in DARTS


class Phase:
    """Epochs of one supernet with optimisers of their own; phases differ in two methods.

    alpha_gradient(images, labels) returns the gradient for α on a validation batch and figures for the history;
    weight_loss(images, labels) returns the logits, the loss of a training batch, a loss of the weights alone
    (or None), and figures.

    Args:
        supernet: the one that learns.
        config: SearchConfig.
        epochs: length of the phase, over which the learning rate falls.
        eta: η of the backtracking (Eq. 4.50): 0 for none, None for the product of the learning rates of
            weights and α in force, times config.eta_factor.

    Attributes:
        cost: Cost, to which every pass over a batch is added.
        alpha_rests: whether the weights learn alone.
        entropy: reward for the entropy of softmax(α), see `bnas.search.remedies.entropy_gradient`.
        train_batch: (images, labels) of the present step, on which the weights learn after α.
    """

    def __init__(self, supernet, config, epochs, eta=0.0):
        self.supernet, self.config, self.epochs = supernet, config, epochs
        self.cost, self.alpha_rests, self.entropy, self.train_batch = Cost(), False, 0.0, None
        self.weights = supernet.weight_parameters()
        self.optimiser = SGD(
            self.weights, config.lr, config.momentum, weight_decay=config.weight_decay
        )
        adam = Adam(
            [supernet.alpha], config.alpha_lr, ALPHA_BETAS, weight_decay=config.alpha_weight_decay
        )
        eta = self.product_of_rates if eta is None else eta
        self.decoupled = DecoupledAlpha(supernet, adam, eta, config.psi_lr, config.tau)

    def product_of_rates(self):
        """η = η₁η₂ of the learning rates in force (Eq. 4.50), times config.eta_factor."""
        return self.config.eta_factor * self.optimiser.lr * self.decoupled.optimiser.lr

    def run_epoch(self, epoch, dataset, augment, rng, label, progress):
        """Epoch number `epoch` of the phase; means of loss, accuracy and figures over its steps."""
        self.supernet.train()
        size = min(self.config.batch_size, len(dataset.train))
        steps = len(dataset.train) // size
        validation = endless_batches(dataset.validation, self.config.batch_size, rng)
        train = batches(dataset.train, size, rng, augment, drop_last=True)
        means = RunningMeans()
        for step, (images, labels) in enumerate(train):
            self.optimiser.lr = cosine_schedule(
                epoch * steps + step, self.epochs * steps, self.config.lr
            )
            with locate(f"{label}, step {step + 1} of {steps}"):
                self.train_batch = images, labels
                figures = {} if self.alpha_rests else self.alpha_step(*next(validation))
                figures |= self.weight_step(images, labels)
            means.add(figures)
            progress.step(label, means["loss"], means["train_accuracy"])
        return means.result()

    def alpha_step(self, images, labels):
        """One step of α on a validation batch; figures for the history."""
        gradient, figures = self.alpha_gradient(images, labels)
        if self.entropy:
            gradient = gradient + entropy_gradient(*self.supernet.mixing, self.entropy)
        self.decoupled.step(gradient)
        return figures

    def weight_step(self, images, labels):
        """One step of the weights on a training batch; figures for the history."""
        self.cost.learn(len(labels))
        with frozen([self.supernet.alpha]):
            logits, loss, penalty, figures = self.weight_loss(images, labels)
            descend(self.optimiser, loss, penalty, self.config.clip)
        correct = logits.data.argmax(axis=1) == labels
        return {"loss": loss.item(), "train_accuracy": float(correct.mean()), **figures}

    def state_dict(self):
        return join_states(weights=self.optimiser.state_dict(), alpha=self.decoupled.state_dict())

    def load_state_dict(self, arrays):
        """Take over what `state_dict` gave; ValueError if it does not fit."""
        require_alike(without(arrays, ["weights", "alpha"]), {})
        self.optimiser.load_state_dict(part_of(arrays, "weights"))
        self.decoupled.load_state_dict(part_of(arrays, "alpha"))


class SupervisedPhase(Phase):
    """A supernet on the labels, L_NAS, w and α in alternation (Eqs. 4.20, 4.21).

    It is the Parent, or one supernet alone: the 1-bit one of direct search (Eqs. 4.24, 4.25), or that of DARTS.
    """

    def alpha_gradient(self, images, labels):
        supernet = self.supernet
        self.cost.learn(len(labels))
        with frozen(self.weights):
            (gradient,) = grad(nas_loss(supernet(images), labels), [supernet.alpha])
        return gradient, {}

    def weight_loss(self, images, labels):
        logits = self.supernet(images)
        return logits, nas_loss(logits, labels), None, {}


class ChildPhase(Phase):
    """The Child under the Parent's supervision, with tangent propagation (Eqs. 4.26, 4.30-4.34).

    Args:
        parent: Supernet, constant here.
        t: its tangent direction, an array of the shape of α; None: there is no tangent propagation, as in CP-NAS.
        lam: λ; 0 gives the objective of CP-NAS too.
    """

    def __init__(self, supernet, config, epochs, parent, t=None, lam=0.0, eta=0.0):
        super().__init__(supernet, config, epochs, eta)
        self.parent, self.t, self.lam, self.D = parent, t, lam, 0.0

    def alpha_gradient(self, images, labels):
        child, config = self.supernet, self.config
        p = self.teach(images)
        self.cost.learn(len(labels))
        if self.lam and config.curvature == "hvp":
            self.cost.learn(len(labels), passes=2)
        elif self.lam and config.curvature == "ggn":
            self.cost.gradient_steps += p.shape[1]  # backward passes through one graph
        with frozen(self.weights):
            result = tangent_gradient(
                lambda alpha: child(images, alpha),
                child.alpha.data,
                p,
                np.zeros_like(child.alpha.data) if self.t is None else self.t,
                self.lam,
                config.distance,
                config.curvature,
                config.tangent_scale,
            )
        if self.t is None:
            return result.gradient, {}
        self.D = result.D
        return result.gradient, {"distance": result.D, "angle": angle(result.g, self.t)}

    def teach(self, images):
        """The Parent's probabilities of a batch."""
        self.cost.evaluate(len(images))
        return teacher_probabilities(self.parent, images)

    def weight_loss(self, images, labels):
        p = self.teach(images)  # before the Child's graph takes memory
        logits = self.supernet(images)
        kl = kl_to_teacher(logits, p)
        L_R = reconstruction(self.supernet)
        lam, mu = self.lam, self.config.mu
        figures = {
            "kl": kl.item(),
            "reconstruction": L_R.item(),
            "objective": child_loss(kl.item(), self.D, L_R.item(), lam, mu),
        }
        # Eq. 4.34 takes -G, the KL divergence, and μ L_R to the weights; D acts on α̂ alone.
        return logits, kl, mu * L_R, figures


def endless_batches(split, batch_size, rng):
    """Batches of `split` for ever, shuffled anew for every pass; all of it if it is smaller."""
    size = min(batch_size, len(split))
    while True:
        yield from batches(split, size, rng, drop_last=True)
