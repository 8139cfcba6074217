"""The search: DCP-NAS, one file per idea and one function per equation.

`objectives` holds the losses of Parent and Child, `tangent` the tangent propagation, `decoupled` the
decoupled optimisation, `phases` how Parent and Child take their steps, `dcp` the loop that puts it all
together (algorithm 10).
"""
