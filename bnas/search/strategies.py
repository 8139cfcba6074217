"""The strategies by name: ours, and those of the user's own files."""

import importlib
import sys

from bnas.errors import InputError, argument
from bnas.search import bnas, cp, darts, dcp, evolution, random, shared
from bnas.search.strategy import Strategy

STRATEGIES = {
    "dcp": dcp.Search,
    "cp": cp.CPSearch,
    "bnas": bnas.DirectSearch,
    "darts": darts.DartsSearch,
    "random": random.RandomSearch,
    "shared": shared.SharedSearch,
    "evolution": evolution.EvolutionSearch,
}


def strategy_named(name):
    """The class of a strategy: one of ours by its name, or "MODULE:CLASS", also of the working directory.

    Raises InputError where there is no such module or class, or where it is no Strategy; an error in the module
    itself is raised as it is.
    """
    if name in STRATEGIES:
        return STRATEGIES[name]
    module_name, _, class_name = name.partition(":")
    module = _imported(module_name)
    if module is None:
        raise InputError(
            argument("strategy"),
            f" {name}: there is no module {module_name!r}; give MODULE:CLASS for a file MODULE.py in the "
            "working directory, or for an installed module",
        )
    found = getattr(module, class_name, None)
    if not (isinstance(found, type) and issubclass(found, Strategy)):
        raise InputError(
            argument("strategy"),
            f" {name}: {module_name} has no class {class_name!r} that is derived from "
            "bnas.search.strategy.Strategy",
        )
    return found


def _imported(name):
    """The module of that name, also of the working directory; None if there is none."""
    if not all(part.isidentifier() for part in name.split(".")):
        return None
    sys.path.insert(0, "")  # a console script does not have the working directory there
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if not f"{name}.".startswith(f"{error.name}."):  # one that the module asks for
            raise
        return None
    finally:
        sys.path.remove("")


def new_search(config, dataset):
    """The search that a SearchConfig asks for: a job for `bnas.runs.jobs.run`."""
    return strategy_named(config.strategy)(config, dataset)
