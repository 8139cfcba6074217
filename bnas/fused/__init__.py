"""Fast training: a compiler that takes a plain network and returns one that computes the same, faster.

The rest of bnas knows `compile(model)`, and the cases that `bnas gradcheck` verifies. In here images lie side by
side in the innermost axis (a batch-innermost layout, called *lanes*), an operation or a whole edge is one kernel
call after another without results in between (operator fusion), and activations are computed anew in the backward
rather than stored (recomputation). Read `compile`, then `chains` and `edges`, then `kernels/lanes` and
`kernels/separable`; `reference` says in plain NumPy what each kernel computes.
"""

from bnas.fused.cases import gradient_cases, operations
from bnas.fused.compile import compile

__all__ = ["compile", "gradient_cases", "operations"]
