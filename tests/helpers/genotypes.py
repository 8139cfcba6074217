"""Random cells of a genotype."""

from hypothesis import strategies as st

from bnas.genotypes import OPERATIONS


@st.composite
def wirings(draw, most_nodes=6):
    """(pairs, concat) of one cell: any operations, any predecessors, some of the states."""
    nodes = draw(st.integers(1, most_nodes))
    pairs = tuple(
        (draw(st.sampled_from(OPERATIONS[1:])), draw(st.integers(0, k // 2 + 1)))
        for k in range(2 * nodes)
    )
    return pairs, tuple(draw(st.lists(st.integers(2, nodes + 1), min_size=1, unique=True)))
