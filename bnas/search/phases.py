"""One phase of the search: how Parent and Child take their steps.

A step is one step of α on a validation batch, then one of the weights on a training batch; the other of
the two is frozen meanwhile.
"""

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
from bnas.search.tangent import angle, tangent_gradient

ALPHA_BETAS = (0.5, 0.999)  # of Adam for α, as in DARTS


class Phase:
    """Epochs of one supernet with optimisers of their own; Parent's and Child's differ in two methods.

    alpha_step(images, labels) steps α and returns figures for the history; weight_loss(images, labels)
    returns the logits, the loss of the batch, a loss of the weights alone (or None), and figures.

    Args:
        supernet: the one that learns.
        config: SearchConfig.
        epochs: length of the phase, over which the learning rate falls.
    """

    def __init__(self, supernet, config, epochs):
        self.supernet, self.config, self.epochs = supernet, config, epochs
        self.weights = supernet.weight_parameters()
        self.optimiser = SGD(
            self.weights, config.lr, config.momentum, weight_decay=config.weight_decay
        )
        adam = Adam(
            [supernet.alpha], config.alpha_lr, ALPHA_BETAS, weight_decay=config.alpha_weight_decay
        )
        self.decoupled = DecoupledAlpha(supernet, adam, config.eta, config.psi_lr, config.tau)

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
                figures = self.alpha_step(*next(validation))
                figures |= self.weight_step(images, labels)
            means.add(figures)
            progress.step(label, means["loss"], means["train_accuracy"])
        return means.result()

    def weight_step(self, images, labels):
        """One step of the weights on a training batch; figures for the history."""
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


class ParentPhase(Phase):
    """The Parent on L_NAS, w and α in alternation (Eqs. 4.20, 4.21)."""

    def alpha_step(self, images, labels):
        parent = self.supernet
        with frozen(self.weights):
            (gradient,) = grad(nas_loss(parent(images), labels), [parent.alpha])
        self.decoupled.step(gradient)
        return {}

    def weight_loss(self, images, labels):
        logits = self.supernet(images)
        return logits, nas_loss(logits, labels), None, {}


class ChildPhase(Phase):
    """The Child under the Parent's supervision, with tangent propagation (Eqs. 4.30-4.34).

    Args:
        parent: Supernet, constant here.
        t: its tangent direction, array (2, E, M).
    """

    def __init__(self, supernet, config, epochs, parent, t):
        super().__init__(supernet, config, epochs)
        self.parent, self.t, self.D = parent, t, 0.0

    def alpha_step(self, images, labels):
        child, config = self.supernet, self.config
        p = teacher_probabilities(self.parent, images)
        with frozen(self.weights):
            result = tangent_gradient(
                lambda alpha: child(images, alpha),
                child.alpha.data,
                p,
                self.t,
                config.lam,
                config.distance,
                config.curvature,
            )
        self.decoupled.step(result.gradient)
        self.D = result.D
        return {"distance": result.D, "angle": angle(result.g, self.t)}

    def weight_loss(self, images, labels):
        logits = self.supernet(images)
        kl = kl_to_teacher(logits, teacher_probabilities(self.parent, images))
        L_R = reconstruction(self.supernet)
        lam, mu = self.config.lam, self.config.mu
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
