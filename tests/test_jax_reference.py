"""The JAX reference takes the same search steps as we do, from the same weights.

An XNOR convolution gives integers times β, and where one of them is the mean of its channel, JAX's batch
norm leaves a rounding error where ours leaves an exact 0: so here JAX's sign takes what is that small for 0.
`tests/test_torch_reference.py` says more of it.
"""

import numpy as np
import pytest
from helpers.references import TAUS, assert_close, batch_of, our_step, search_of

from bnas.errors import InputError

jax = pytest.importorskip("jax")
from bnas.bench import jax_reference  # noqa: E402

pytestmark = pytest.mark.slow

TOLERANCE, TIE = 1e-9, 1e-12  # of float64


@pytest.fixture(autouse=True)
def exact_and_soon_begun(monkeypatch):
    """float64, ties that are 0, and one operation after another: XLA compiles a step for minutes."""
    sign, zero = jax_reference.sign_ste, jax.lax.stop_gradient

    def without_ties(x):
        return sign(x - zero(jax.numpy.where(abs(x) <= TIE, x, 0)))

    monkeypatch.setattr(jax_reference, "sign_ste", without_ties)
    monkeypatch.setattr(jax_reference, "compiled", lambda function, arguments: function)
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("network, tau", [("Parent", TAUS[0]), ("Child", TAUS[1])])
def test_a_network_takes_the_same_steps(network, tau):
    search = search_of(np.float64, tau=tau, nodes=1)
    reference = jax_reference.JaxSearch(search)
    if network == "Parent":
        phase, their_step = search.train_parent(1), reference.parent_step
    else:
        phase, their_step = search.train_child(1), reference.child_step
    for step in range(2):
        given = batch_of(np.float64, step), batch_of(np.float64, 50 + step)
        ours, theirs = our_step(phase, *given), their_step(*given)
        assert theirs.keys() == ours.keys()
        for name, figure in ours.items():
            assert_close(theirs[name], figure, TOLERANCE, f"{name} in step {step}")
        arrays = reference.states[network]["arrays"]
        for name, array in phase.supernet.state_dict().items():
            if "running_mean" in name:  # of what is centred already it is a rounding error
                array, arrays = array + 1, arrays | {name: arrays[name] + 1}
            assert_close(arrays[name], array, TOLERANCE, f"{name} after step {step}")


def test_a_search_that_the_reference_does_not_cover_is_refused():
    search = search_of(np.float64, nodes=1, distance="l1")
    with pytest.raises(InputError, match="distance=.* only, not 'l1'"):
        jax_reference.JaxSearch(search)
