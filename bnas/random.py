"""Random numbers where no generator is given: initial weights, dropout, cotangents of gradient checks.

Searches and trainings never draw from here: all they draw comes from their seed.
"""

import numpy as np

_default = np.random.default_rng()


def manual_seed(seed):
    """Let everything that is drawn without a generator of its own start anew from `seed`, an int from 0 up.

    Without a call the numbers are others in each process.
    """
    global _default
    _default = np.random.default_rng(seed)


def generator(rng, operation):
    """`rng`, a numpy.random.Generator or the like, or the default one if it is None.

    Raises:
        TypeError: `rng` is something else, such as a seed.
    """
    if rng is None:
        return _default
    if not hasattr(rng, "random"):
        raise TypeError(
            f"{operation}: rng must be a numpy.random.Generator, such as np.random.default_rng(0), "
            f"got {rng!r}"
        )
    return rng
