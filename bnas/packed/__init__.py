"""Inference in bits: a trained 1-bit network compiled to bits, integer thresholds and a list of kernel calls.

Use `PackedNetwork`; the rest is how it works. `layers` holds the records that a packed network consists of,
`fold` makes them from a trained network, `plan` turns them into buffers and kernel calls, `kernels` are those
kernels, `files` stores the records, and `check` refuses files whose records do not fit together.
"""

from bnas.packed.network import PackedNetwork

__all__ = ["PackedNetwork"]
