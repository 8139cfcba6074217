"""Inference in bits: a trained 1-bit network compiled to bits, integer thresholds and a list of kernel calls.

Use `PackedNetwork`; the rest is how it works. `layers` holds the records that a packed network consists of.
`fold` makes them from the trained network of a genotype, `steps` from any Module, by the graph that `trace`
records. `plan` turns them into kernel calls, layer by layer with `calls`; `kernels` are those kernels. `files`
stores the records, and `check` refuses files whose records do not fit together.
"""

from bnas.packed.network import PackedNetwork

__all__ = ["PackedNetwork"]
