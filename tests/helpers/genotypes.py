"""Random cells of a genotype."""

from hypothesis import strategies as st

from bnas.space import OPERATIONS


@st.composite
def wirings(draw, most_nodes=6, names=tuple(OPERATIONS)):
    """(pairs, concat) of one cell: any operations of those names, any predecessors, some of the states."""
    names = [name for name in names if name != "none"]
    nodes = draw(st.integers(1, most_nodes))
    pairs = tuple(
        (draw(st.sampled_from(names)), draw(st.integers(0, k // 2 + 1))) for k in range(2 * nodes)
    )
    return pairs, tuple(draw(st.lists(st.integers(2, nodes + 1), min_size=1, unique=True)))
