"""DARTS: the real-valued supernet alone (Liu et al., ICLR 2019), for a genotype that is then trained in 1 bit."""

import numpy as np

from bnas.autodiff import frozen, grad
from bnas.search.bnas import DirectSearch
from bnas.search.objectives import nas_loss
from bnas.search.paths import batch_statistics
from bnas.search.phases import SupervisedPhase
from bnas.space.operations import REAL

DIFFERENCE = 0.01  # ε of the finite difference is this, divided by the length of the direction


class DartsSearch(DirectSearch):
    """One real-valued supernet; with config.order 2 the step of its weights is unrolled in the gradient for α."""

    LABEL = "Real supernet"

    def precision(self, config):
        """The Precision of the supernet: real."""
        return REAL

    def train(self, epochs):
        """The phase that trains (w, α) on L_NAS."""
        phase = SupervisedPhase if self.config.order == 1 else UnrolledPhase
        return phase(self.supernet, self.config, epochs)


class UnrolledPhase(SupervisedPhase):
    """Second order: α descends the validation loss that the weights would have after their next step."""

    def alpha_gradient(self, images, labels):
        supernet, optimiser = self.supernet, self.optimiser
        train_images, train_labels = self.train_batch
        self.cost.learn(len(labels))
        self.cost.learn(len(train_labels), passes=3)
        with batch_statistics(supernet):  # the running ones go by the weights as they are
            gradient = unrolled_gradient(
                lambda: nas_loss(supernet(train_images), train_labels),
                lambda: nas_loss(supernet(images), labels),
                supernet.alpha,
                self.weights,
                optimiser.lr,
                lambda gradients: [
                    optimiser.update(g, w.data, dict(state))
                    for g, w, state in zip(gradients, self.weights, optimiser.state)
                ],
            )
        return gradient, {}


def unrolled_gradient(train_loss, validation_loss, alpha, weights, lr, next_weights):
    """∂/∂α L_val(w'(α), α), w' = w - lr (∂L_train/∂w + what does not depend on α): second-order DARTS.

    By the chain rule ∂L_val(w', α)/∂α - lr (∂²L_train/∂α∂w) v with v = ∂L_val(w', α)/∂w'; the product is taken
    by a central difference of ∂L_train/∂α along v, ε = 0.01 / ‖v‖. Four gradients in all.

    Args:
        train_loss, validation_loss: functions without arguments, the losses at the present α and weights, Tensors.
        alpha: Tensor; weights: Tensors. Their values are restored.
        lr: learning rate of the weights.
        next_weights: gradients of the weights -> their values after a step, arrays.

    Returns:
        Array of the shape of α.
    """
    kept = [w.data for w in weights]

    def move(arrays):
        for w, array in zip(weights, arrays):
            w.data = array.astype(w.data.dtype, copy=False)

    def gradient_along(step, direction):
        move([w + step * v for w, v in zip(kept, direction)])
        with frozen(weights):
            return grad(train_loss(), [alpha])[0]

    try:
        with frozen([alpha]):
            gradients = grad(train_loss(), weights)
        move(next_weights(gradients))
        direct, *direction = grad(validation_loss(), [alpha, *weights])
        length = np.sqrt(sum(float((v.astype(np.float64) ** 2).sum()) for v in direction))
        if length == 0:
            return direct
        step = DIFFERENCE / length
        product = gradient_along(step, direction) - gradient_along(-step, direction)
        return direct - (lr / (2 * step) * product).astype(direct.dtype)
    finally:
        move(kept)
