"""Which settings a strategy reads, and what becomes of those of others and of older runs."""

from dataclasses import asdict, fields

import numpy as np
import pytest
from helpers.commands import fail, succeed

from bnas import commands
from bnas.config import LATER, STRATEGIES, SearchConfig, TrainConfig, config_from_dict, reads
from bnas.errors import InputError
from bnas.options import build_parser


def other_value(field):
    """A value of a setting that is not its default, and in its range."""
    if field.metadata["choices"]:
        return next(c for c in field.metadata["choices"] if c != field.default)
    if field.default is None:
        return 1
    return field.default + 1 if field.type is int else field.default / 2 or 0.5


OWN = [f for f in fields(SearchConfig) if f.metadata["of"] is not None]


@pytest.mark.parametrize("field", OWN, ids=[f.name for f in OWN])
def test_a_setting_belongs_to_its_strategies(field):
    value = other_value(field)
    for strategy in STRATEGIES:
        settings = {"strategy": strategy, field.name: value}
        if strategy in field.metadata["of"]:
            assert getattr(SearchConfig(**settings), field.name) == value
            assert reads(strategy, field)
        else:
            with pytest.raises(InputError, match=f"^{field.name} means nothing to .* {strategy} "):
                SearchConfig(**settings)
            assert not reads(strategy, field)
            SearchConfig(strategy=strategy, **{field.name: field.default})
    assert getattr(SearchConfig(strategy="mine:Own", **{field.name: value}), field.name) == value
    assert reads("mine:Own", field)


@pytest.mark.parametrize("setting", [{"surrogate": "tanh"}, {"beta": "learned"}])
def test_a_real_supernet_has_nothing_in_one_bit_to_set(setting):
    with pytest.raises(InputError, match="means nothing to the strategy darts"):
        SearchConfig(strategy="darts", **setting)


def test_a_strategy_of_nobody_is_refused():
    with pytest.raises(
        InputError, match="strategy must be one of dcp, cp, .*MODULE:CLASS.*got 'DCP'"
    ):
        SearchConfig(strategy="DCP")


def test_a_strategy_has_one_name_whether_its_file_is_named_or_its_module():
    config = SearchConfig(strategy="hill.py:Climber")
    assert config == SearchConfig(strategy="hill:Climber") and config.strategy == "hill:Climber"
    options = build_parser().parse_args(["search", "--strategy", "hill.py:Climber"])
    assert options.strategy == "hill:Climber"  # also in the name of the folder, and on resuming


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("field", [f.name for f in fields(SearchConfig) if "float" in str(f.type)])
def test_no_number_is_infinite(field, value):
    with pytest.raises(InputError, match=f"^{field} must be "):
        SearchConfig(strategy="mine:Own", **{field: value})


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_saved_configuration_is_read(strategy):
    config = SearchConfig(strategy=strategy, operations="skip_connect,none")
    assert config_from_dict(SearchConfig, asdict(config)) == config


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_configuration_saved_when_other_defaults_held_is_read(strategy):
    """Of what the strategy reads, the saved value holds; of what it does not read, none is of any use."""
    other = asdict(SearchConfig(strategy=strategy)) | {"rounds": 7, "individuals": 9, "eta": 0.25}
    config = config_from_dict(SearchConfig, other)
    for field in fields(SearchConfig):
        name = field.name
        assert getattr(config, name) == (other[name] if reads(strategy, field) else field.default)
    with pytest.raises(InputError, match="strategy must be one of dcp, "):
        config_from_dict(SearchConfig, other | {"strategy": "annealing"})
    with pytest.raises(InputError, match="strategy must be text, got 7"):
        config_from_dict(SearchConfig, other | {"strategy": 7})


def test_a_configuration_of_before_the_strategies_means_what_it_meant():
    names = (
        "dataset data_dir limit seed channels layers nodes operations rounds parent_epochs child_epochs "
        "batch_size lr momentum weight_decay clip alpha_lr alpha_weight_decay lam mu distance curvature eta "
        "psi_lr tau surrogate beta augment engine kernels"
    ).split()
    older = {name: asdict(SearchConfig(lam=0.5))[name] for name in names}
    assert config_from_dict(SearchConfig, older) == SearchConfig(strategy="dcp", lam=0.5)
    assert set(LATER) <= {f.name for kind in (SearchConfig, TrainConfig) for f in fields(kind)}


@pytest.mark.slow
def test_settings_of_a_run_are_understood_when_it_is_resumed(tmp_path, monkeypatch):
    """By the strategy of the run, and however they are written."""
    monkeypatch.setattr(commands, "_draw", lambda folder: [])
    path = tmp_path / "run"
    quick = ("--quick", "--limit", "96", "--channels", "2", "--individuals", "1")
    own = ("--individual-epochs", "1", "--operations", "skip_connect,none")
    succeed("search", path, "--strategy", "random", *quick, *own)
    succeed("search", path, "--resume", *quick, *own)
    fail(
        "search", path, "--resume", "--samples", "3", says="--samples: the run has 100, you gave 3"
    )
