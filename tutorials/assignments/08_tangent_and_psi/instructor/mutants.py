"""Wrong answers that a student may give: the tests have to find each, and to say what is wrong with it.

old, new: what is replaced in the reference. fails: the tasks that must not earn all their points; all others must.
told: a part of what the student is told.
"""

MUTANTS = [
    {
        "name": "the tangent as Eq. 4.29 is printed",
        "old": "    cotangents = -softmax(logits)\n"
        "    cotangents[np.arange(len(labels)), labels] += 1\n"
        "    return through_logits(cotangents, J).mean(axis=0)\n",
        "new": "    p = softmax(logits)\n"
        "    each = [p[:, n : n + 1] * (np.eye(p.shape[1])[n] - p) for n in range(p.shape[1])]\n"
        "    return sum(through_logits(c, J) for c in each).mean(axis=0)\n",
        "fails": ["tangent"],
        "told": "zero, as Eq. 4.29 is printed",
    },
    {
        "name": "the tangent of the loss",
        "old": "    return through_logits(cotangents, J).mean(axis=0)\n",
        "new": "    return -through_logits(cotangents, J).mean(axis=0)\n",
        "fails": ["tangent"],
        "told": "not of its negative, the loss",
    },
    {
        "name": "the tangent summed over the samples",
        "old": "through_logits(cotangents, J).mean(axis=0)",
        "new": "through_logits(cotangents, J).sum(axis=0)",
        "fails": ["tangent"],
        "told": "the sum over the samples, not the mean",
    },
    {
        "name": "the tangent without the normaliser",
        "old": "cotangents = -softmax(logits)",
        "new": "cotangents = np.zeros(logits.shape)",
        "fails": ["tangent"],
        "told": "[n = k] - p, not [n = k] alone",
    },
    {
        "name": "the derivative of the probability",
        "old": "    cotangents[np.arange(len(labels)), labels] += 1\n",
        "new": "    cotangents[np.arange(len(labels)), labels] += 1\n"
        "    cotangents *= softmax(logits)[np.arange(len(labels)), labels][:, None]\n",
        "fails": ["tangent"],
        "told": "the derivative of p, not of log p",
    },
    {
        "name": "softmax over the samples",
        "old": "cotangents = -softmax(logits)",
        "new": "cotangents = -softmax(logits.T).T.copy()",
        "fails": ["tangent"],
        "told": "over the classes of a sample, not over the samples",
    },
    {
        "name": "a softmax that overflows",
        "old": "cotangents = -softmax(logits)",
        "new": "cotangents = -np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)",
        "fails": ["tangent"],
        "told": "not a number (NaN)",
    },
    {
        "name": "the gradient of the divergence",
        "old": "targets - softmax(logits)",
        "new": "softmax(logits) - targets",
        "fails": ["child"],
        "told": "minus the divergence",
    },
    {
        "name": "shares without the batch's factor",
        "old": "through_logits(targets - softmax(logits), J) / len(logits)",
        "new": "through_logits(targets - softmax(logits), J)",
        "fails": ["child"],
        "told": "a share has the factor 1/B",
    },
    {
        "name": "shares that are summed",
        "old": "through_logits(targets - softmax(logits), J) / len(logits)",
        "new": "through_logits(targets - softmax(logits), J).mean(axis=0)",
        "fails": ["child"],
        "told": "got the shape",
    },
    {
        "name": "the Parent's likeliest class for its probabilities",
        "old": "targets - softmax(logits)",
        "new": "np.eye(targets.shape[1])[targets.argmax(axis=1)] - softmax(logits)",
        "fails": ["child"],
        "told": "not its likeliest class",
    },
    {
        "name": "the divergence the other way round",
        "old": "    return through_logits(targets - softmax(logits), J) / len(logits)\n",
        "new": "    p = softmax(logits)\n"
        "    logs = np.log(p / np.maximum(targets, 1e-300))\n"
        "    c = -p * (logs - (p * logs).sum(axis=1, keepdims=True))\n"
        "    return through_logits(c, J) / len(logits)\n",
        "fails": ["child"],
        "told": "not KL(p̂ ‖ p)",
    },
    {
        "name": "shares in place of gradients of samples",
        "old": "(batch * ((rows",
        "new": "(1 / batch * ((rows",
        "fails": ["fisher"],
        "told": "g_b is B times a share",
    },
    {
        "name": "no factor of the batch",
        "old": "(batch * ((rows",
        "new": "(((rows",
        "fails": ["fisher"],
        "told": "both factors count",
    },
    {
        "name": "the product of the summed gradient",
        "old": "((rows @ v.ravel()) @ rows)",
        "new": "(rows.sum(axis=0) @ v.ravel() * rows.sum(axis=0) / batch)",
        "fails": ["fisher"],
        "told": "every sample has its own product",
    },
    {
        "name": "forms the matrix",
        "old": "(rows @ v.ravel()) @ rows",
        "new": "(rows.T @ rows) @ v.ravel()",
        "fails": ["fisher"],
        "told": "MemoryError",
    },
    {
        "name": "right only for a flat alpha",
        "old": "((rows @ v.ravel()) @ rows)).reshape(v.shape)",
        "new": "((rows @ v.ravel()) @ rows))",
        "fails": ["fisher"],
        "told": "got the shape",
    },
    {
        "name": "the other sign of the curvature",
        "old": "-g - 2 * lam * fisher(difference)",
        "new": "-g + 2 * lam * fisher(difference)",
        "fails": ["objective"],
        "told": "H is about -F, not +F",
    },
    {
        "name": "no factor 2",
        "old": "-g - 2 * lam * fisher(difference)",
        "new": "-g - lam * fisher(difference)",
        "fails": ["objective"],
        "told": "the factor 2 of the derivative of a square",
    },
    {
        "name": "no curvature at all",
        "old": "fisher(difference)",
        "new": "difference",
        "fails": ["objective"],
        "told": "the curvature is missing",
    },
    {
        "name": "the norm without its square",
        "old": "(difference**2).sum()",
        "new": "np.sqrt((difference**2).sum())",
        "fails": ["objective"],
        "told": "D is the square of the norm",
    },
    {
        "name": "changes g in place",
        "old": "    difference = g - t\n",
        "new": "    difference = g\n    difference -= t\n",
        "fails": ["objective"],
        "told": "changed its first argument",
    },
    {
        "name": "psi without the absolute value",
        "old": "np.abs(psi - psi_lr * slope)",
        "new": "psi - psi_lr * slope",
        "fails": ["decoupled"],
        "told": "the absolute value is missing",
    },
    {
        "name": "psi is cut at zero",
        "old": "np.abs(psi - psi_lr * slope)",
        "new": "np.maximum(psi - psi_lr * slope, 0)",
        "fails": ["decoupled"],
        "told": "not the larger of ψ and 0",
    },
    {
        "name": "psi learns from entries that were not backtracked",
        "old": "(gradient * before * mask)",
        "new": "(gradient * before)",
        "fails": ["decoupled"],
        "told": "only backtracked entries depend on ψ",
    },
    {
        "name": "forgot the upstream gradient",
        "old": "(gradient * before * mask)",
        "new": "(before * mask)",
        "fails": ["decoupled"],
        "told": "the upstream gradient",
    },
    {
        "name": "psi summed over the edges",
        "old": "* mask).sum(axis=2)",
        "new": "* mask).sum(axis=1)",
        "fails": ["decoupled"],
        "told": "got the shape",
    },
    {
        "name": "pulls along alpha after the step",
        "old": "psi[:, :, None] * before * mask",
        "new": "psi[:, :, None] * alpha_next * mask",
        "fails": ["decoupled"],
        "told": "α^t, before the step, is added, not α^{t+1}",
    },
    {
        "name": "pulls every entry",
        "old": "psi[:, :, None] * before * mask, mask",
        "new": "psi[:, :, None] * before, mask",
        "fails": ["decoupled"],
        "told": "other entries keep α^{t+1}",
    },
    {
        "name": "ranks over the edges",
        "old": "(norms[:, :, None, :] <= norms[:, :, :, None]).sum(axis=3)",
        "new": "(norms[:, None, :, :] <= norms[:, :, None, :]).sum(axis=2)",
        "fails": ["decoupled"],
        "told": "among those of its edge, not among the edges",
    },
    {
        "name": "at least tau",
        "old": "mask = ranks > tau",
        "new": "mask = ranks >= tau",
        "fails": ["decoupled"],
        "told": "the rank is to be above τ, not at least τ",
    },
    {
        "name": "ranks of the order in which equal norms stand",
        "old": "(norms[:, :, None, :] <= norms[:, :, :, None]).sum(axis=3)",
        "new": "1 + norms.argsort(axis=2, kind='stable').argsort(axis=2)",
        "fails": ["decoupled"],
        "told": "operations with equal norms have equal ranks",
    },
]
