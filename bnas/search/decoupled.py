"""Decoupled optimisation: backtracking repairs α after its step (Eqs. 4.42-4.53).

In Σ_m s_m(α)·(w_m ⊗ a) a step of w changes what the step of α should have been. Operations whose
weights are large compared with the others of their edge have run ahead; their α is pulled after them by
a step along the old α, as long as a learned factor ψ of the edge says.
"""

import numpy as np

from bnas.nn import join_states, part_of, require_alike, without
from bnas.optim import require_finite

INITIAL_PSI = 1.0


def weight_norms(supernet):
    """R(w_{e,m}) = ‖w‖² (Eq. 4.53), array of the shape of α.

    Averaged over the cells that a row of α serves. In a 1-bit supernet w is the
    reconstruction β ∘ sign ŵ.
    """
    norms = np.zeros(supernet.alpha.shape)
    cells = np.zeros(len(norms))
    for cell in supernet.cells:
        row = supernet.row(cell)
        cells[row] += 1
        for e, candidates in enumerate(cell.edges):
            for m, candidate in enumerate(candidates):
                norms[row, e, m] += candidate.squared_norm()
    return norms / np.maximum(cells, 1)[:, None, None]


def selected(norms, tau):
    """Which entries are backtracked (Eq. 4.52): those whose norm ranks above τ in their edge.

    The rank is the number of operations of the edge with a norm no larger, 1 to M. Operations
    without weights of their own rank lowest, so τ = 4 would always select the four convolutions.
    The print's indices also allow a ranking over edges; over operations is what is meant.
    Arrays (..., M) -> bool (..., M).
    """
    ranks = (norms[..., None, :] <= norms[..., :, None]).sum(axis=-1)
    return ranks > tau


def backtrack(alpha_next, alpha, psi, eta, mask):
    """α̃ = α^{t+1} + η ψ ⊛ α^t where `mask`, else α^{t+1} (Eqs. 4.50, 4.52).

    Shapes: alpha_next, alpha and mask (2, E, M), psi (2, E): one ψ for each edge; 1 for 2 where α has one row.
    """
    pulled = alpha_next + eta * psi[..., None] * alpha
    return np.where(mask, pulled, alpha_next).astype(alpha.dtype)


def psi_gradient(gradient, alpha, eta, mask):
    """∂L/∂ψ_e = η Σ_m (∂L/∂α̃)_{e,m} α^t_{e,m} over the backtracked m, the chain rule through Eq. 4.50.

    `gradient` is ∂L/∂α̃; shapes (2, E, M) -> (2, E).
    """
    return eta * (gradient * alpha * mask).sum(axis=-1)


def psi_step(psi, gradient, psi_lr):
    """ψ^{t+1} = |ψ^t - η_ψ ∂L/∂ψ^t| (Eq. 4.51)."""
    return np.abs(psi - psi_lr * gradient)


class DecoupledAlpha:
    """Steps of α by an optimiser, each followed by backtracking.

    Args:
        supernet: Parent or Child; its `alpha` is stepped.
        optimiser: of supernet.alpha alone.
        eta, psi_lr, tau: η, η_ψ, τ of Eqs. 4.50-4.52; eta is a number (0: no backtracking) or a function without
            arguments that gives the one in force.

    Attributes:
        psi: array (2, E), or (1, E) where both kinds of cell share α.
        eta_before: η of the last backtracking, array ().
        before: α^t of the last backtracking, array of the shape of α.
        mask: its selected entries, bool likewise.
    """

    def __init__(self, supernet, optimiser, eta, psi_lr, tau):
        self.supernet, self.optimiser = supernet, optimiser
        self.eta, self.psi_lr, self.tau = eta, psi_lr, tau
        self.psi = np.full(supernet.alpha.shape[:2], INITIAL_PSI)
        self.eta_before = np.array(0.0)
        self.before = np.zeros_like(supernet.alpha.data)
        self.mask = np.zeros(supernet.alpha.shape, bool)

    def step(self, gradient):
        """One step for the gradient ∂L/∂α at the present α, which is the α̃ of the last step.

        Raises DivergedError if the gradient is NaN or infinite; nothing has moved then.
        """
        require_finite(gradient, "the gradient for α")
        slope = psi_gradient(gradient, self.before, self.eta_before, self.mask)
        self.psi = psi_step(self.psi, slope, self.psi_lr)
        eta = self.eta() if callable(self.eta) else self.eta
        alpha = self.supernet.alpha
        self.before = alpha.data
        alpha.grad = gradient
        self.optimiser.step()
        alpha.grad = None
        self.eta_before = np.array(float(eta))
        if eta:
            self.mask = selected(weight_norms(self.supernet), self.tau)
            alpha.data = backtrack(alpha.data, self.before, self.psi, eta, self.mask)

    def state_dict(self):
        return {**self._own(), **join_states(optimiser=self.optimiser.state_dict())}

    def _own(self):
        own = {"psi": self.psi, "before": self.before, "mask": self.mask}
        return own | ({"eta": self.eta_before} if callable(self.eta) else {})

    def load_state_dict(self, arrays):
        """Take over what `state_dict` gave; ValueError if it does not fit."""
        own = without(arrays, ["optimiser"])
        require_alike(own, self._own())
        self.psi, self.before, self.mask = own["psi"], own["before"], own["mask"]
        self.eta_before = own["eta"] if callable(self.eta) else np.array(self.eta)
        self.optimiser.load_state_dict(part_of(arrays, "optimiser"))
