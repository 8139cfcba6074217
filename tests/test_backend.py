"""The choice between compiled kernels and their twins in plain NumPy."""

import threading

import numpy as np
import pytest
from helpers.arrays import normal

import bnas.functional as F
from bnas import backend, kernels, reference
from bnas.autodiff import Tensor
from bnas.space import BINARY, PRIMITIVES, Supernet


def test_inside_the_context_and_after_it():
    assert backend.kernels() is kernels
    with backend.using("numpy"):
        assert backend.kernels() is reference
        with backend.using("numba"):
            assert backend.kernels() is kernels
        assert backend.kernels() is reference
    with pytest.raises(KeyError), backend.using("numpy"):
        raise KeyError
    assert backend.kernels() is kernels


def test_each_thread_chooses_for_itself():
    inside, leave, seen = threading.Event(), threading.Event(), []

    def work():
        with backend.using("numpy"):
            inside.set()
            leave.wait(10)
            seen.append(backend.kernels())

    thread = threading.Thread(target=work)
    thread.start()
    inside.wait(10)
    assert backend.kernels() is kernels
    with backend.using("numpy"):
        leave.set()
        thread.join()
    assert seen == [reference] and backend.kernels() is kernels


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="numba, numpy.*'cuda'"), backend.using("cuda"):
        pass


def test_a_supernet_computes_without_a_compiled_kernel(monkeypatch):
    """Forward and backward of all operations, with the same results in float64."""
    x, labels = normal(0, 4, 1, 6, 6), np.array([0, 1, 2, 0])
    net = Supernet(1, 3, 2, 3, 2, BINARY, np.random.default_rng(0), PRIMITIVES).astype(np.float64)
    results, state = [], net.state_dict()
    for name in ("numba", "numpy"):
        net.load_state_dict(state)
        net.zero_grad()
        with backend.using(name), monkeypatch.context() as patch:
            if name == "numpy":
                for kernel in kernels.__all__:
                    patch.setattr(kernels, kernel, None)
            logits = net(Tensor(x))
            F.cross_entropy(logits, labels).backward()
        gradients = {n: p.grad for n, p in net.named_parameters()}
        results.append({"logits": logits.data, **gradients})
    for name, expected in results[0].items():
        np.testing.assert_allclose(results[1][name], expected, rtol=1e-9, atol=1e-12, err_msg=name)
