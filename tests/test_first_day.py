"""What a user of the library tries in the first hours: names, completion, saving, what is printed."""

import numpy as np
import pytest
from helpers.arrays import rng

import bnas
from bnas import nn, optim
from bnas.errors import InputError
from bnas.runs import RunFolder, save_checkpoint
from bnas.space import parse_genotype


def test_completion_offers_what_is_public():
    for module in (bnas, bnas.functional, bnas.nn, bnas.optim, bnas.data):
        assert dir(module) == sorted(module.__all__)
        for name in dir(module):
            assert getattr(module, name) is not None


def test_published_genotypes_by_name():
    assert bnas.genotypes.DARTS_V2 is bnas.space.PUBLISHED["DARTS_V2"]
    for name, genotype in bnas.space.PUBLISHED.items():
        assert getattr(bnas.genotypes, name) is genotype
        assert parse_genotype(repr(genotype)) == genotype


def network(outputs=2):
    return nn.Sequential(
        nn.Conv2d(1, 2, 3, rng=rng(outputs)), nn.BatchNorm2d(2), nn.Linear(4, outputs, rng=rng())
    )


def test_weights_are_saved_and_loaded(tmp_path):
    path, first, second = tmp_path / "weights.npz", network(), network()
    first[1].running_mean += 1
    for parameter in first.parameters():
        parameter.data = parameter.data + 1
    bnas.save_weights(first, path)
    assert bnas.load_weights(second, path) is second
    for name, array in first.state_dict().items():
        np.testing.assert_array_equal(second.state_dict()[name], array, strict=True)


def test_other_files_are_no_weights(tmp_path):
    path, net = tmp_path / "weights.npz", network()
    before = net.state_dict()
    bnas.save_weights(network(3), path)
    with pytest.raises(InputError, match="weights of another Sequential: .*2.weight has shape"):
        bnas.load_weights(net, path)
    save_checkpoint(path, {"a": np.ones(2)}, {})
    with pytest.raises(InputError, match="no weights that bnas.save_weights wrote"):
        bnas.load_weights(net, path)
    path.write_bytes(b"PK")
    with pytest.raises(InputError, match="cut short or damaged; save the weights again"):
        bnas.load_weights(net, path)
    for name, array in net.state_dict().items():
        np.testing.assert_array_equal(before[name], array)


def test_optimisers_schedules_and_runs_are_printed(tmp_path):
    optimiser = optim.SGD(network().parameters(), 0.1, 0.9, nesterov=True)
    assert repr(optimiser) == (
        "SGD(6 parameters of 34 numbers, lr=0.1, weight_decay=0.0, momentum=0.9, nesterov=True)"
    )
    schedule = optim.lr_scheduler.StepLR(optimiser, 1, 0.5)
    schedule.step()
    assert repr(schedule) == "StepLR(lr=0.05 after 1 steps of 0.1)"
    with RunFolder.create(tmp_path / "run", {}) as run:
        run.append_history({"epoch": 1})
        assert repr(run) == f"RunFolder({str(run.path)!r}, 1 epochs, held for writing)"
    assert repr(run) == f"RunFolder({str(run.path)!r}, 1 epochs)"
    (run.path / "history.jsonl").write_text("nonsense\n")
    assert repr(run) == f"RunFolder({str(run.path)!r}, a damaged history)"


def test_a_schedule_goes_on_where_it_was_saved():
    def make(lr):
        adam = optim.Adam(network().parameters(), lr)
        return optim.lr_scheduler.CosineAnnealingLR(adam, 10, eta_min=0.01)

    schedule, other = make(0.1), make(0.3)
    for _ in range(4):
        schedule.step()
    other.load_state_dict(schedule.state_dict())
    assert other.get_last_lr() == schedule.get_last_lr()
    other.step(), schedule.step()
    assert other.get_last_lr() == schedule.get_last_lr() != [0.1]


@pytest.mark.parametrize(
    "make",
    [
        lambda o: optim.lr_scheduler.StepLR(o, 0),
        lambda o: optim.lr_scheduler.CosineAnnealingLR(o, 0),
    ],
)
def test_schedules_refuse_no_steps(make):
    with pytest.raises(ValueError, match="must be at least 1, got 0"):
        make(optim.SGD(network().parameters(), 0.1))


@pytest.mark.parametrize("update", ["iadd", "isub", "imul", "itruediv", "ipow"])
def test_updates_in_place(update):
    w = bnas.Tensor(np.float32([2, 4]), requires_grad=True)
    loss = (w * w).sum()
    with pytest.raises(RuntimeError, match=r"x .+= y would change .*with no_grad\(\).*z = x .+ y"):
        getattr(w, f"__{update}__")(1.0)
    with bnas.no_grad():
        assert getattr(w, f"__{update}__")(2.0) is w
    assert w.requires_grad and w.node is None
    np.testing.assert_array_equal(w.data, getattr(np.float32([2, 4]), f"__{update}__")(2.0))
    loss.backward()  # at the values of before, which the graph has kept
    np.testing.assert_array_equal(w.grad, [4, 8])
    total = bnas.Tensor(0.0)
    total += w.sum()  # as total = total + w.sum()
    assert total.requires_grad and total.node is not None


def test_entries_in_place():
    x = bnas.Tensor(np.zeros((2, 2), np.float32))
    x[0, 1] = 5.0
    x[:, 0] = bnas.Tensor([1.0, 2.0])
    assert x.data.tolist() == [[1, 5], [2, 0]]
    learned = bnas.Tensor([1.0], requires_grad=True)
    for target, value in ((learned, 1.0), (x, learned)):
        with pytest.raises(RuntimeError, match=r"x\[index\] = value would .*F.where"):
            target[0] = value
    with bnas.no_grad(), pytest.raises(ValueError, match="would change the shape of x"):
        learned += np.ones((2, 1), np.float32)


def test_matrix_products_in_place():
    w = bnas.Tensor(np.eye(2, dtype=np.float32), requires_grad=True)
    with bnas.no_grad():
        w @= np.float32([[1, 2], [3, 4]])
    assert w.requires_grad and w.data.tolist() == [[1, 2], [3, 4]]


def test_gradients_of_a_scalar_add_up():
    a = bnas.Tensor(3.0, requires_grad=True)
    for _ in range(2):
        (a * a).backward()
    assert a.grad == 12 and a.grad.shape == () and isinstance(a.grad, np.ndarray)
    a.grad = a.grad * 2
    a.data = a.data - 0.1 * a.grad
    assert a.item() == pytest.approx(3 - 2.4)


def test_frozen_parameters_stay_where_an_optimiser_moves_the_others():
    net = network()
    net[0].weight.requires_grad = False
    frozen, before = net[0].weight.data.copy(), net[2].weight.data.copy()
    optimiser = optim.Adam(net.parameters(), 0.1)
    net(rng().standard_normal((3, 1, 4, 6)).astype(np.float32)).sum().backward()
    optimiser.step()
    np.testing.assert_array_equal(net[0].weight.data, frozen)
    assert (net[2].weight.data != before).any()


class Triple(bnas.Function):
    @staticmethod
    def forward(ctx, x):
        return 3 * x

    @staticmethod
    def backward(ctx, dy):
        return (3 * dy,)


def test_a_function_takes_arrays_and_is_checked_by_itself():
    assert Triple.apply(np.ones(2, np.float32)).data.tolist() == [3, 3]
    assert Triple.apply([1.0, 2.0]).data.tolist() == [3, 6]
    assert bnas.check_gradients(Triple, np.ones(2)).error < 1e-8
    half = type("Half", (bnas.Function,), {"forward": Triple.forward})
    with pytest.raises(NotImplementedError, match=r"needs backward\(ctx, dy\)"):
        half.apply(bnas.Tensor([1.0], requires_grad=True)).backward()


def test_a_class_for_a_module_is_told_what_to_write():
    with pytest.raises(TypeError, match=r"got the class ReLU; write ReLU\(\)"):
        nn.Sequential(nn.ReLU)


def test_the_accuracy_on_arrays():
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    images = np.random.default_rng(0).standard_normal((6, 1, 2, 2)).astype(np.float32)
    labels = net(images).data.argmax(axis=1)
    labels[:3] = 1 - labels[:3]
    assert bnas.evaluation.accuracy(net, (images, labels)) == 0.5
