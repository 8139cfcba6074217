"""Wrong answers that a student may give: the tests have to find each, and to say what is wrong with it.

old, new: what is replaced in the reference. fails: the tasks that must not earn all their points; all others must.
told: a part of what the student is told.
"""

_ENTRIES = "        for index in np.ndindex(x.shape):\n            h = CUBE_ROOT"
_COTANGENTS = "    cotangents = rng.standard_normal((2, *y.shape))\n"
_FINITE = "            if a is None or np.shape(a) != x.shape or not np.isfinite(a).all():"
_VERDICT = "            if np.abs(a - n).max() > TOLERANCE * max(np.abs(a).max(), np.abs(n).max()):"

MUTANTS = [
    {
        "name": "a one-sided difference",
        "old": "(f(x + h) - f(x - h)) / (2 * h)",
        "new": "(f(x + h) - f(x)) / h",
        "fails": ["derivative"],
        "told": "a one-sided difference; take x + h and x - h",
    },
    {
        "name": "divides by h and not by 2 h",
        "old": "(f(x + h) - f(x - h)) / (2 * h)",
        "new": "(f(x + h) - f(x - h)) / h",
        "fails": ["derivative"],
        "told": "every entry is 2 times what it should be",
    },
    {
        "name": "one step whatever x is",
        "old": "    h = CUBE_ROOT * np.where(x == 0, 1.0, np.abs(x))\n",
        "new": "    h = STEP\n",
        "fails": ["derivative"],
        "told": "one step of 1e-5 for every x",
    },
    {
        "name": "a step that grows but does not shrink",
        "old": "np.where(x == 0, 1.0, np.abs(x))",
        "new": "np.maximum(1.0, np.abs(x))",
        "fails": ["derivative"],
        "told": "the step is not smaller for an x below 1",
    },
    {
        "name": "one step for all entries",
        "old": "np.where(x == 0, 1.0, np.abs(x))",
        "new": "np.abs(x).max()",
        "fails": ["derivative"],
        "told": "one step for all entries, by the largest",
    },
    {
        "name": "a step of 0 at 0",
        "old": "np.where(x == 0, 1.0, np.abs(x))",
        "new": "np.abs(x)",
        "fails": ["derivative"],
        "told": "some entries are not a number (NaN)",
    },
    {
        "name": "differences in the format of x",
        "old": "    x = x.astype(np.float64)\n    h = CUBE_ROOT * np.where(x == 0, 1.0, np.abs(x))\n",
        "new": "    h = (CUBE_ROOT * np.where(x == 0, 1, np.abs(x))).astype(x.dtype)\n",
        "fails": ["derivative"],
        "told": "this function takes float64, got float32",
    },
    {
        "name": "forgets the cotangent",
        "old": "(dy * (above - below)).sum()",
        "new": "(above - below).sum()",
        "fails": ["vector_jacobian"],
        "told": "forgot the cotangent dy",
    },
    {
        "name": "the mean over the outputs",
        "old": "(dy * (above - below)).sum()",
        "new": "(dy * (above - below)).mean()",
        "fails": ["vector_jacobian"],
        "told": "every entry is 0.5 times what it should be",
    },
    {
        "name": "a one-sided difference of the products",
        "old": "            below = forward(moved(inputs, position, index, -STEP))\n"
        "            gradient[index] = (dy * (above - below)).sum() / (2 * STEP)\n",
        "new": "            below = forward(moved(inputs, position, index, 0.0))\n"
        "            gradient[index] = (dy * (above - below)).sum() / STEP\n",
        "fails": ["vector_jacobian"],
        "told": "a one-sided difference; take x + h and x - h",
    },
    {
        "name": "the gradient in the format of x",
        "old": "gradient = np.zeros(x.shape)",
        "new": "gradient = np.zeros_like(x)",
        "fails": ["vector_jacobian"],
        "told": "float32 on the way",
    },
    {
        "name": "the gradient for the first input alone",
        "old": "    return gradients\n",
        "new": "    return gradients[:1]\n",
        "fails": ["vector_jacobian"],
        "told": "expected a list with an array for each input",
    },
    {
        "name": "the absolute error",
        "old": "float(np.abs(a - n).max() / scale)",
        "new": "float(np.abs(a - n).max())",
        "fails": ["worst_error"],
        "told": "the absolute error; divide by the largest entry",
    },
    {
        "name": "the mean error",
        "old": "float(np.abs(a - n).max() / scale)",
        "new": "float(np.abs(a - n).mean() / scale)",
        "fails": ["worst_error"],
        "told": "the mean, not the largest error",
    },
    {
        "name": "the error of the last input",
        "old": "worst = max(worst, float(np.abs(a - n).max() / scale))",
        "new": "worst = float(np.abs(a - n).max() / scale)",
        "fails": ["worst_error"],
        "told": "not all inputs are looked at",
    },
    {
        "name": "NaN is less than everything",
        "old": "        if not (np.isfinite(a).all() and np.isfinite(n).all()):\n            return np.inf\n",
        "new": "",
        "fails": ["worst_error"],
        "told": "every comparison with NaN is False, also that of max(worst, error)",
    },
    {
        "name": "gradients that broadcast",
        "old": "a is None or a.shape != n.shape",
        "new": "a is None",
        "fails": ["worst_error"],
        "told": "a gradient of shape (1, 3) for one of (2, 3)",
    },
    {
        "name": "divides 0 by 0",
        "old": "        if scale > 0:\n            worst = max(worst, float(np.abs(a - n).max() / scale))",
        "new": "        worst = float(np.maximum(worst, np.abs(a - n).max() / scale))",
        "fails": ["worst_error"],
        "told": "0 divided by 0",
    },
    {
        "name": "zip stops at the shorter list",
        "old": "    if len(analytic) != len(numeric):\n        return np.inf\n",
        "new": "",
        "fails": ["worst_error"],
        "told": "no gradient for one input",
    },
    {
        "name": "checks with a cotangent of ones",
        "old": _COTANGENTS,
        "new": "    cotangents = np.ones((2, *y.shape))\n",
        "fails": ["check"],
        "told": "a cotangent of ones; draw it at random",
    },
    {
        "name": "checks with positive cotangents",
        "old": _COTANGENTS,
        "new": "    cotangents = rng.random((2, *y.shape))\n",
        "fails": ["check"],
        "told": "cotangents that are never negative; draw them of either sign",
    },
    {
        "name": "checks with every unit cotangent",
        "old": _COTANGENTS,
        "new": "    cotangents = np.eye(y.size).reshape(-1, *y.shape)\n",
        "fails": ["check"],
        "told": "cotangents of 0 and 1 alone",
    },
    {
        "name": "checks with one cotangent",
        "old": _COTANGENTS,
        "new": "    cotangents = rng.standard_normal((1, *y.shape))\n",
        "fails": ["check"],
        "told": "backward is called once",
    },
    {
        "name": "checks the middle entry",
        "old": _ENTRIES,
        "new": "        numeric[:] = [np.resize(a[position], x.shape) for a in answers]\n"
        "        for index in [tuple(n // 2 for n in x.shape)]:\n            h = CUBE_ROOT",
        "fails": ["check"],
        "told": "not all entries are looked at",
    },
    {
        "name": "checks the first input",
        "old": "    for position, x in enumerate(inputs):\n        numeric = np.zeros((",
        "new": "    for position, x in enumerate(inputs[:1]):\n        numeric = np.zeros((",
        "fails": ["check"],
        "told": "not all inputs are looked at",
    },
    {
        "name": "a tolerance of one per cent",
        "old": _VERDICT,
        "new": _VERDICT.replace("TOLERANCE", "0.01"),
        "fails": ["check"],
        "told": "the tolerance is too large",
    },
    {
        "name": "a tolerance that no difference keeps",
        "old": _VERDICT,
        "new": _VERDICT.replace("TOLERANCE", "1e-13"),
        "fails": ["check"],
        "told": "rejected a right backward",
    },
    {
        "name": "an absolute tolerance",
        "old": _VERDICT,
        "new": "            if np.abs(a - n).max() > TOLERANCE:",
        "fails": ["check"],
        "told": "an absolute tolerance; compare with the largest entry of the gradient",
    },
    {
        "name": "the relative error of zeros",
        "old": _VERDICT,
        "new": "            if not np.abs(a - n).max() / max(np.abs(a).max(), np.abs(n).max()) <= TOLERANCE:",
        "fails": ["check"],
        "told": "0 divided by 0: where both gradients are 0, they agree",
    },
    {
        "name": "compares norms",
        "old": _VERDICT,
        "new": "            a, n = np.linalg.norm(a), np.linalg.norm(n)\n"
        "            if abs(a - n) > TOLERANCE * max(a, n):",
        "fails": ["check"],
        "told": "norms, sums or absolute values are compared",
    },
    {
        "name": "accepts NaN",
        "old": _FINITE,
        "new": "            if a is None or np.shape(a) != x.shape:",
        "fails": ["check"],
        "told": "every comparison with NaN is False",
    },
    {
        "name": "accepts what broadcasts",
        "old": _FINITE,
        "new": "            if a is None or not np.isfinite(a).all():",
        "fails": ["check"],
        "told": "shapes are not compared",
    },
    {
        "name": "one step for the verdict",
        "old": "h = CUBE_ROOT * (abs(float(x[index])) or 1.0)",
        "new": "h = STEP",
        "fails": ["check"],
        "told": "the step is not chosen by the size of x",
    },
    {
        "name": "moves an input in place and back",
        "old": "            ahead = forward(moved(inputs, position, index, h))\n"
        "            behind = forward(moved(inputs, position, index, -h))\n",
        "new": "            x[index] += h\n            ahead = forward(inputs)\n            x[index] -= 2 * h\n"
        "            behind = forward(inputs)\n            x[index] += h\n",
        "fails": ["check"],
        "told": "check changed its third argument; work on a copy",
    },
    {
        "name": "True for wrong",
        "old": "                return False\n    return True\n",
        "new": "                return True\n    return False\n",
        "fails": ["check"],
        "told": "rejected a right backward",
    },
    {
        "name": "a step that does not shrink",
        "old": "np.where(x == 0, 1.0, np.abs(x))",
        "new": "np.maximum(np.abs(x), 1.0)",
        "fails": ["derivative"],
        "told": "it has to be CUBE_ROOT |x|, for |x| below 1 too",
    },
    {
        "name": "the inputs one by one for backward",
        "old": "answers = [backward(inputs, dy) for",
        "new": "answers = [backward(*inputs, dy) for",
        "fails": ["check"],
        "told": "inputs is a list of arrays",
    },
    {
        "name": "the inputs one by one for forward",
        "old": "    y = forward(inputs)\n",
        "new": "    y = forward(*inputs)\n",
        "fails": ["check"],
        "told": "inputs is a list of arrays",
    },
    {
        "name": "inputs are taken to be one-dimensional",
        "old": "np.ndindex(x.shape):\n            above",
        "new": "range(len(x)):\n            above",
        "fails": ["vector_jacobian"],
        "told": "raised",
    },
]
