"""The settings of a search and of a training, in one place; they check themselves.

Each setting stands with its default and its meaning; the command line makes an option of every one.
Symbols in brackets are those of the equations.
"""

from dataclasses import dataclass, field, fields

from bnas.errors import InputError, argument

DATASETS = ("digits", "fashion", "mnist", "cifar10", "npz")
DISTANCES = ("frobenius", "l1", "cosine")
CURVATURES = ("fisher", "ggn", "hvp")
TANGENT_SCALES = ("absolute", "relative")
TANGENT_BATCHES = ("validation", "last", "mean")
SURROGATES = ("clip", "identity", "polynomial", "tanh")
BETAS = ("closed", "learned")
PRECISIONS = ("binary", "real")
ENGINES = ("fused", "plain")
KERNELS = ("numba", "numpy")
# The search space of section 4.4 of the book: axis M of α, in this order.
PRIMITIVES = (
    "none",
    "skip_connect",
    "dil_conv_3x3",
    "dil_conv_5x5",
    "max_pool_3x3",
    "avg_pool_3x3",
    "sep_conv_3x3",
    "sep_conv_5x5",
)
# Ways to search, by name (bnas/search/, a file each), and the families that share settings.
STRATEGIES = ("dcp", "cp", "bnas", "darts", "random", "shared", "evolution")
CHILD_PARENT = ("dcp", "cp")
ALONE = ("bnas", "darts", "shared")  # one supernet
DIFFERENTIABLE = ("dcp", "cp", "bnas", "darts")  # α moves by gradients
SUPERNETS = (*CHILD_PARENT, *ALONE)
INDIVIDUALS = ("random", "evolution")  # every architecture is trained by itself
IN_ONE_BIT = ("dcp", "cp", "bnas", "random", "shared", "evolution")  # something learns in 1 bit
SELECTIONS = ("magnitude", "perturbation")
BENCH_PARTS = ("kernels", "networks", "steps", "memory", "roofline", "growth")
BENCH_SCALES = ("digits", "cifar", "darts")  # of a search step: image, channels, layers, batch

LATER = (  # settings that runs of earlier versions lack
    "operations",
    "tied_cells",
    "engine",
    "kernels",
    "hold_out",
    "strategy",
    "supernet_epochs",
    "beta_p",
    "samplings",
    "order",
    "samples",
    "individuals",
    "individual_epochs",
    "population",
    "tournament",
    "warmup",
    "temperature",
    "entropy",
    "stop_skips",
    "selection",
    "eta_factor",
    "tangent_scale",
    "tangent_batches",
)

# What --quick stands for: small enough for seconds, and enough for far more than chance on the digits.
QUICK_SEARCH = {
    "channels": 4,
    "layers": 3,
    "nodes": 2,
    "rounds": 1,
    "parent_epochs": 1,
    "child_epochs": 1,
    "samples": 20,
    "individuals": 6,
    "individual_epochs": 2,
    "population": 3,
    "tournament": 2,
    "batch_size": 32,
    "limit": 1024,
}
QUICK_TRAIN = {"channels": 8, "layers": 3, "epochs": 6, "batch_size": 32, "limit": 1024}

_TYPES = {
    int: (int, "a whole number"),
    int | None: (int, "a whole number"),
    float: ((int, float), "a number"),
    float | None: ((int, float), "a number"),
    bool: (bool, "true or false"),
    str: (str, "text"),
    str | None: (str, "text"),
}


def setting(default, help, choices=None, least=None, above=None, most=None, of=None):
    """A field with its meaning and its range: `least` <= value <= `most`, or `above` < value.

    of: the strategies that read it; None: all do.
    """
    limits = {"choices": choices, "least": least, "above": above, "most": most}
    return field(default=default, metadata={"help": help, "of": of, **limits})


ENGINE = setting(
    "fused",
    "fused: fast training; plain: the networks as they are written, to read and debug",
    ENGINES,
)
KERNEL_CHOICE = setting(
    "numba",
    "numba: compiled kernels; numpy: their twins in plain NumPy, with --engine plain",
    KERNELS,
)


def check(config):
    """Raise InputError for the first setting of a configuration that is of a wrong type or out of range."""
    for f in fields(config):
        value = getattr(config, f.name)
        if value is None and f.default is None:
            continue
        wanted, kind = _TYPES[f.type]
        name = argument(f.name)
        if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
            raise InputError(name, f" must be {kind}, got {value!r:.60}")
        if isinstance(value, int) and abs(value) >= 2**63:  # too large for arrays, some for floats
            raise InputError(name, " must be less than 2**63")
        if isinstance(value, str) and "\0" in value:  # which no path or name can hold
            raise InputError(name, " holds a zero character")
        limits, finite = f.metadata, " and finite" if f.type in (float, float | None) else ""
        if limits["choices"] and value not in limits["choices"]:
            allowed = ", ".join(str(choice) for choice in limits["choices"])
            raise InputError(name, f" must be one of {allowed}; got {value!r}")
        if limits["least"] is not None and not limits["least"] <= value < float("inf"):
            raise InputError(name, f" must be at least {limits['least']}{finite}, got {value}")
        if limits["above"] is not None and not limits["above"] < value < float("inf"):
            raise InputError(name, f" must be above {limits['above']}{finite}, got {value}")
        if limits["most"] is not None and not value <= limits["most"]:
            raise InputError(name, f" must be at most {limits['most']}, got {value}")
        if finite and not abs(value) < float("inf"):
            raise InputError(name, f" must be finite, got {value}")
    if config.kernels == "numpy" and config.engine != "plain":
        raise InputError(
            "kernels numpy goes with engine plain alone: the fused engine has kernels of its own; give ",
            argument("engine", "plain"),
            " too, or leave out ",
            argument("kernels"),
        )


def reads(strategy, field):
    """Whether a strategy, of ours or of the user's own, reads that field of SearchConfig."""
    return ":" in strategy or field.metadata["of"] is None or strategy in field.metadata["of"]


def names_in(text):
    """The names in a text with commas between them, a tuple."""
    return tuple(name.strip() for name in text.split(","))


def module_of(strategy):
    """MODULE:CLASS for a strategy that is named by its file, MODULE.py:CLASS; any other name as it is."""
    return strategy.replace(".py:", ":")


def config_from_dict(kind, values):
    """The configuration of dataclass `kind` that `dataclasses.asdict` made, of this version or an older one.

    The settings in LATER may be missing: their defaults mean what an older version did. Those that the
    strategy does not read were at the defaults of that version, and are at those of this one. Raises
    InputError for any other that is missing, and for one that this version does not know.
    """
    odd = sorted((set(values) ^ {f.name for f in fields(kind)}) - (set(LATER) - set(values)))
    if odd:
        raise InputError(
            f"the saved configuration does not fit the {kind.__name__} of this version "
            f"({', '.join(odd[:3])}); use the version of bnas that wrote it, or start a new run"
        )
    strategy = str(values.get("strategy", SearchConfig.strategy))
    read = [f.name for f in fields(kind) if reads(strategy, f)]
    return kind(**{name: values[name] for name in read if name in values})


@dataclass(frozen=True)
class SearchConfig:
    """What a search is told. Raises InputError for a value out of range."""

    dataset: str = setting("digits", "data set", DATASETS)
    data_dir: str | None = setting(
        None, "folder of the data files (mnist, cifar10), or the file itself (npz)"
    )
    limit: int | None = setting(
        None, "at most this many training images, others in proportion", least=1
    )
    seed: int = setting(0, "seed of everything random", least=0)
    channels: int = setting(
        8, "channels of the first cell; a reduction doubles them", least=1, most=4096
    )
    layers: int = setting(
        3,
        "cells; those at one and two thirds are reductions (1 or 2 have no normal cell)",
        least=1,
        most=200,
    )
    nodes: int = setting(4, "intermediate nodes of a cell", least=1, most=20)
    tied_cells: bool = setting(
        False,
        "one cell for both kinds: normal and reduction cells have the same α and the same genotype",
    )
    operations: str = setting(
        ", ".join(PRIMITIVES),
        "candidate operations of every edge, with commas between [axis M of α]",
    )
    strategy: str = setting(
        "dcp",
        f"how to search: {', '.join(STRATEGIES)}, or MODULE:CLASS, one of your own",
    )
    batch_size: int = setting(64, "images of a step (batch norm needs 2)", least=2)
    rounds: int = setting(
        2,
        "how often Parent and Child phases alternate [R]",
        least=1,
        most=1000,
        of=SUPERNETS,
    )
    parent_epochs: int = setting(5, "epochs of each Parent phase", least=1, most=1000, of=SUPERNETS)
    child_epochs: int = setting(8, "epochs of each Child phase", least=1, most=1000, of=SUPERNETS)
    supernet_epochs: int | None = setting(
        None,
        "epochs of the one supernet; unless given as many as Parent and Child take together",
        least=1,
        most=100_000,
        of=ALONE,
    )
    lr: float = setting(
        0.1, "peak learning rate of the weights (SGD, a cosine a phase)", above=0, of=SUPERNETS
    )
    momentum: float = setting(0.9, "momentum of the weights", least=0, most=0.999, of=SUPERNETS)
    weight_decay: float = setting(3e-4, "weight decay of the weights", least=0, of=SUPERNETS)
    clip: float = setting(5.0, "bound on the norm of the weights' gradient", above=0, of=SUPERNETS)
    alpha_lr: float = setting(
        0.01, "learning rate of the architecture (Adam)", above=0, of=DIFFERENTIABLE
    )
    alpha_weight_decay: float = setting(
        1e-3, "weight decay of the architecture", least=0, of=DIFFERENTIABLE
    )
    warmup: float = setting(
        0.0,
        "share of each phase's epochs, its first, in which the weights learn and α rests; whole epochs",
        least=0,
        most=0.99,
        of=DIFFERENTIABLE,
    )
    temperature: float = setting(
        1.0,
        "T of softmax(α / T) in the last epoch; it begins at 1 and changes by equal factors",
        above=0,
        of=DIFFERENTIABLE,
    )
    entropy: float = setting(
        0.0,
        "reward for the entropy of softmax(α / T), summed over the edges, in the loss for α; it falls evenly "
        "to 0 over the search; negative: a penalty",
        of=DIFFERENTIABLE,
    )
    stop_skips: int | None = setting(
        None,
        "stop once the normal cell of the genotype has so many skips, but not while α rests; never "
        "unless given",
        least=1,
        of=("dcp", "bnas", "darts"),
    )
    selection: str = setting(
        "magnitude",
        "what the genotype keeps: what α weighs most, or what the supernet's validation accuracy "
        "suffers most without",
        SELECTIONS,
        of=("dcp", "bnas", "darts"),
    )
    lam: float = setting(
        5e-3, "weight of the tangent distance D [λ, Eq. 4.32]", least=0, of=("dcp",)
    )
    distance: str = setting(
        "frobenius", "D: squared Frobenius (Eq. 4.31), L1 or cosine", DISTANCES, of=("dcp",)
    )
    curvature: str = setting(
        "fisher",
        "what stands for the Hessian in D's gradient (4.36-4.41)",
        CURVATURES,
        of=("dcp",),
    )
    tangent_scale: str = setting(
        "absolute",
        "λ is absolute, as in Eq. 4.32, or relative: the gradient of D is first given the length of that of G",
        TANGENT_SCALES,
        of=("dcp",),
    )
    tangent_batches: str = setting(
        "validation",
        "what t is of: the validation split when the Parent's phase ends, the phase's last batch, or the mean "
        "over all its batches [t, Eq. 4.29]",
        TANGENT_BATCHES,
        of=("dcp",),
    )
    eta: float | None = setting(
        None,
        "step of the backtracking, 0 for none; unless given the product of the two learning rates "
        "in force [η = η₁η₂, Eq. 4.50]",
        least=0,
        of=("dcp",),
    )
    eta_factor: float = setting(
        1.0,
        "factor on the product of the two learning rates, where eta is not given",
        least=0,
        of=("dcp",),
    )
    psi_lr: float = setting(1.0, "learning rate of ψ [η_ψ, Eq. 4.51]", least=0, of=("dcp",))
    tau: float = setting(
        5.0,
        "backtrack operations whose weight norm ranks above this in their edge [τ, Eq. 4.52]",
        least=0,
        of=("dcp",),
    )
    mu: float = setting(
        0.2, "weight of the reconstruction loss L_R [μ, Eq. 4.32]", least=0, of=CHILD_PARENT
    )
    beta_p: float = setting(
        0.5,
        "weight of the Parent's accuracy in an operation's score, the Child's being 1 less it [β_P, Eq. 4.15]",
        of=("cp",),
    )
    samplings: int = setting(
        1, "how often every operation is scored before one is dropped [T]", least=1, of=("cp",)
    )
    order: int = setting(
        1, "gradient for α: 1, or 2 with the step of the weights unrolled", (1, 2), of=("darts",)
    )
    samples: int = setting(
        100,
        "genotypes drawn at the end, of which the best is taken",
        least=1,
        most=100_000,
        of=("shared",),
    )
    individuals: int = setting(
        25, "architectures trained, each by itself", least=1, most=10_000, of=INDIVIDUALS
    )
    individual_epochs: int = setting(
        8, "epochs of each of these trainings", least=1, most=1000, of=INDIVIDUALS
    )
    population: int = setting(
        8, "the youngest individuals, which may have offspring", least=1, of=("evolution",)
    )
    tournament: int = setting(
        3, "individuals drawn of them; the best has the offspring", least=1, of=("evolution",)
    )
    surrogate: str = setting(
        "clip",
        "derivative that stands in for that of sign (tanh never sharpens)",
        SURROGATES,
        of=IN_ONE_BIT,
    )
    beta: str = setting(
        "closed", "channel scale: closed form mean|ŵ|, or learned", BETAS, of=IN_ONE_BIT
    )
    augment: bool = setting(True, "augment training images as usual for the data set")
    engine: str = ENGINE
    kernels: str = KERNEL_CHOICE

    def __post_init__(self):
        check(self)
        object.__setattr__(self, "operations", ", ".join(self.operation_names))
        object.__setattr__(self, "strategy", module_of(self.strategy))
        if self.eta is not None and self.eta_factor != 1:
            raise InputError(
                argument("eta_factor"),
                f" {self.eta_factor:g} is a factor on the product of the learning rates, which ",
                argument("eta"),
                f" {self.eta:g} takes the place of; leave one of them out",
            )
        if ":" in self.strategy:  # one of the user's own reads what it likes
            return
        if self.strategy not in STRATEGIES:
            raise InputError(
                argument("strategy"),
                f" must be one of {', '.join(STRATEGIES)}, or MODULE:CLASS for one of your own; "
                f"got {self.strategy!r}",
            )
        for f in fields(self):
            if getattr(self, f.name) != f.default and not reads(self.strategy, f):
                raise InputError(
                    argument(f.name),
                    f" means nothing to the strategy {self.strategy} (it is for "
                    f"{', '.join(f.metadata['of'])}); leave it out",
                )

    @property
    def operation_names(self):
        """The candidate operations as a tuple, in the order of axis M of α."""
        return names_in(self.operations)

    @property
    def total_epochs(self):
        """Epochs of a search of supernets: `supernet_epochs`, or as many as Parent and Child take together."""
        return self.supernet_epochs or self.rounds * (self.parent_epochs + self.child_epochs)


@dataclass(frozen=True)
class TrainConfig:
    """What a training of a found network is told. Raises InputError for a value out of range."""

    genotype: str = setting(
        "", "the architecture, as bnas.space.genotype.format_genotype writes it"
    )
    dataset: str = setting("digits", "data set", DATASETS)
    data_dir: str | None = setting(
        None, "folder of the data files (mnist, cifar10), or the file itself (npz)"
    )
    limit: int | None = setting(
        None, "at most this many training images, others in proportion", least=1
    )
    precision: str = setting("binary", "1-bit network, or its real twin", PRECISIONS)
    seed: int = setting(0, "seed of everything random", least=0)
    channels: int = setting(
        16, "channels of the first cell; a reduction doubles them", least=1, most=4096
    )
    layers: int = setting(
        4,
        "cells; those at one and two thirds are reductions (1 or 2 have no normal cell)",
        least=1,
        most=200,
    )
    epochs: int = setting(20, "epochs, both stages together", least=1, most=100_000)
    stages: int = setting(1, "2: binary activations first, then weights too", (1, 2))
    batch_size: int = setting(64, "images of a step (batch norm needs 2)", least=2)
    lr: float = setting(0.01, "peak learning rate (Adam, a cosine a stage)", above=0)
    weight_decay: float = setting(0.0, "weight decay", least=0)
    clip: float = setting(5.0, "bound on the norm of the gradient", above=0)
    distil: float = setting(0.0, "share of KL(real twin ‖ network) in the loss", least=0, most=1)
    mu: float = setting(0.0, "weight of the reconstruction loss L_R [μ, Eq. 4.23]", least=0)
    drop_path: float = setting(0.0, "chance of dropping an operation", least=0, most=0.9)
    surrogate: str = setting(
        "clip", "derivative that stands in for that of sign (tanh sharpens over time)", SURROGATES
    )
    beta: str = setting("closed", "channel scale: closed form mean|ŵ|, or learned", BETAS)
    augment: bool = setting(True, "augment training images as usual for the data set")
    hold_out: bool = setting(
        False, "keep the validation images out of training, to choose settings by their accuracy"
    )
    engine: str = ENGINE
    kernels: str = KERNEL_CHOICE

    def __post_init__(self):
        check(self)
        if self.stages > self.epochs:
            raise InputError(
                f"{self.stages} stages need at least as many epochs, got {self.epochs}; give more ",
                argument("epochs"),
            )
        if self.precision == "real" and (self.stages == 2 or self.distil or self.mu):
            raise InputError(
                "stages, distil and mu are for binary networks; leave them out for ",
                argument("precision", "real"),
            )
