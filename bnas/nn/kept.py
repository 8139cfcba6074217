"""What a layer computes from its weights once and keeps for as long as the weights are the same.

Weights are arrays, which anybody may write to. To compare them with a copy would take longer than the
convolution. But whoever writes to an array has got it from its Parameter, which counts how often that
happens, or holds it, or a view of it, from before, which Python counts. If both counts say that nobody can
have written since, then nobody has. (Only the bare address of an array leaves no trace.)
"""

import sys
import weakref

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
        # All of it in one object: another thread sees the whole, or what was before.
        self._kept = None

    def of(self, parameter, make, *arguments):
        """The value for this Parameter, as it is now."""
        kept, made_by = self._kept, (make, arguments)
        if kept is None or parameter is not kept[0] or (parameter.uses, made_by) != kept[1]:
            array = parameter.data
            uses = parameter.uses
            alone = array.base is None and _holders(array) == UNSHARED
            alone = alone and not weakref.getweakrefcount(array)
            value = make(array, *arguments)
            kept = self._kept = parameter, (uses if alone else None, made_by), value
        return kept[2]

    def __reduce__(self):
        """A copy, of a layer say, keeps nothing: it has weights of its own."""
        return Kept, ()
