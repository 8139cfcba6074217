"""Packed networks: a trained 1-bit network compiled to bits, integer thresholds and a plan of calls.

`PackedNetwork` is the door. Behind it: `layers`, what a packed network consists of; `fold`, how a trained one
becomes that; `plan`, how it runs; `files`, how it is stored, and `check`, whether a file makes sense.
"""

from bnas.packed.network import PackedNetwork

__all__ = ["PackedNetwork"]
