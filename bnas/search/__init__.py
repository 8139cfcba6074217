"""The search: strategies, a file each, and DCP-NAS with one function per equation.

`dcp` (algorithm 10), `cp`, `bnas`, `darts`, `random`, `shared` and `evolution` are strategies, `strategies`
finds one by its name, and `strategy` is the interface of all, also of one's own. Those with supernets go by
`epochs`, which makes epochs of an algorithm, and `phases`, which say how a supernet takes its steps; those
without by `individuals`.

`objectives` holds the losses of Parent and Child, `tangent` the tangent propagation, `decoupled` the decoupled
optimisation, `paths` what judges a part of a supernet, `remedies` what helps against collapse.
"""
