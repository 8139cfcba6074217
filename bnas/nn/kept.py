"""What a layer computes from its weights once and keeps for as long as the weights are the same.

Weights are arrays, which anybody may write to. To compare them with a copy would take longer than the
convolution. But whoever writes to an array has got it from its Parameter, which counts how often that
happens, or holds it, or a view of it, from before, which Python counts. If both counts say that nobody can
have written since, then nobody has. (Only the bare address of an array leaves no trace.)
"""

import sys

import numpy as np


def _holders(array):
    """How many references there are to an array, with those of this call."""
    return sys.getrefcount(array)


def _unshared():
    """What `_holders` says of an array that nothing but its Parameter and `Kept.of` refer to."""
    owner = [np.empty(1)]
    array = owner[0]
    return _holders(array)


UNSHARED = _unshared()


class Kept:
    """make(array of a Parameter, *arguments), kept for as long as the array cannot have changed."""

    def __init__(self):
        self._parameter = self._made = self._value = None

    def of(self, parameter, make, *arguments):
        """The value for this Parameter, as it is now."""
        made_by = make, arguments
        if parameter is not self._parameter or (parameter.uses, made_by) != self._made:
            array = parameter.data
            alone = array.base is None and _holders(array) == UNSHARED
            self._parameter, self._made = parameter, (parameter.uses if alone else None, made_by)
            self._value = make(array, *arguments)
        return self._value

    def __reduce__(self):
        """A copy, of a layer say, keeps nothing: it has weights of its own."""
        return Kept, ()
