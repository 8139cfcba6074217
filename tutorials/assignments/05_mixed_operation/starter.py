"""Assignment 5: the mixed operation, and every sample's share of its gradient.

Complete the functions; see README.md.

There are B samples, E edges, and M candidates on each edge. All floats of a call have one dtype, float32 or
float64, and results have it too. active: bool, which candidates take part; at least one of every edge does.
What belongs to the others may hold any number, and where it is said so anything.
"""

import numpy as np


def weights(alpha, active, temperature):
    """The softmax of alpha / temperature over the active candidates of every edge (Eq. 4.28).

    alpha: (E, M), numbers of any size; active: (E, M); temperature: a float > 0. Returns (E, M): rows that sum
    to 1, and exactly 0 for candidates that are not active.
    """
    raise NotImplementedError("this part is yours")


def mix(s, outputs, active):
    """The output of one edge, sum of s_m o_m (Eq. 4.28).

    s: (M,), 0 for candidates that are not active; outputs: (M, B, ...); active: (M,). Outputs of candidates that
    are not active were never computed, and hold anything, NaN too. Returns (B, ...).
    """
    raise NotImplementedError("this part is yours")


def output_gradients(dy, s):
    """The gradients for the outputs of all candidates of one edge.

    dy: (B, ...), the gradient for the output of `mix`; s: (M,). Returns (M, B, ...).
    """
    raise NotImplementedError("this part is yours")


def shares(dy, outputs, active):
    """Every sample's share of the gradient for the weights s of one edge.

    dy: (B, ...), the gradient for the output of `mix`; outputs: (M, B, ...), anything where not active;
    active: (M,). Returns (B, M), 0 for candidates that are not active; summed over the samples it is the gradient
    for s.
    """
    raise NotImplementedError("this part is yours")


def logit_shares(ds, s, temperature):
    """Every sample's share of the gradient for alpha, from that for the weights.

    ds: (B, E, M), the shares for s; s: (E, M), the result of `weights`; temperature: a float > 0.
    Returns (B, E, M).
    """
    raise NotImplementedError("this part is yours")


def fisher_product(shares, v):
    """F v with F = (1/B) sum of g_b g_b^T (Eqs. 4.36 to 4.41), over all edges at once, without forming F.

    shares: (B, E, M), every sample's share of the gradient of a loss that is a mean over the batch: what is
    written g_b, the gradient of sample b's own loss, is B times its share. v: (E, M). Returns (E, M).
    """
    raise NotImplementedError("this part is yours")
