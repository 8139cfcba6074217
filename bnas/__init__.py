"""bnas: binary neural architecture search (DCP-NAS) in NumPy and Numba, made to be read.

The usual names are `bnas.Tensor`, `bnas.no_grad`, `bnas.functional`, `bnas.nn`, `bnas.optim`; every
module can also be imported by itself. Names are loaded when first used, so that `bnas --help` is quick.
"""

from importlib import import_module

__version__ = "0.1.0"

_WHERE = {
    "Tensor": "bnas.autodiff",
    "Function": "bnas.autodiff",
    "frozen": "bnas.autodiff",
    "grad": "bnas.autodiff",
    "is_grad_enabled": "bnas.autodiff",
    "no_grad": "bnas.autodiff",
    "manual_seed": "bnas.random",
    "check_gradients": "bnas.gradcheck",
    "Genotype": "bnas.space",
    "register_operation": "bnas.space",
    "load_weights": "bnas.runs",
    "save_weights": "bnas.runs",
    "load_run": "bnas.results",
    "compare": "bnas.comparison",
    "sweep": "bnas.sweeps",
}
_MODULES = (
    "functional",
    "nn",
    "optim",
    "data",
    "space",
    "gradcheck",
    "search",
    "train",
    "evaluation",
    "runs",
    "fused",
    "packed",
    "plots",
    "tabular",
    "sweeps",
)
_ALIASES = {"genotypes": "bnas.space.published"}

__all__ = ["__version__", *_WHERE, *_MODULES, *_ALIASES]


def __getattr__(name):
    if name in _WHERE:
        import_module("bnas.functional")  # gives Tensor its operators
        return getattr(import_module(_WHERE[name]), name)
    if name in _MODULES:
        return import_module(f"bnas.{name}")
    if name in _ALIASES:
        return import_module(_ALIASES[name])
    raise AttributeError(f"module 'bnas' has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
