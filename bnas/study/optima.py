"""The two optima and the tangent (Figure 4.10), from a real slice.

A DCP-NAS search leaves a Parent and a Child. With their weights as they are, L_NAS of the Parent and the KL
divergence of the Child from it, -G, are computed over a plane of α: through the α of both, and along the Parent's
tangent direction t.
"""

import numpy as np

from bnas.autodiff import Tensor, no_grad
from bnas.config import SearchConfig
from bnas.data import batches, load_dataset
from bnas.evaluation import BATCH
from bnas.runs.jobs import run_in_memory
from bnas.search.objectives import kl_to_teacher, nas_loss, teacher_probabilities
from bnas.search.paths import batch_statistics
from bnas.search.strategies import new_search
from bnas.search.tangent import angle, tangent_gradient
from bnas.study.words import table

POINTS, QUICK_POINTS = 25, 5  # of the grid along each axis
REACH = 2.0  # of the plane beyond the two α, in lengths of the step between them


def jobs(experiment, datasets, seeds=None, quick=False):
    """{key: job}: what `Experiment.jobs` gives, with "points"."""
    points = QUICK_POINTS if quick else POINTS
    found = experiment.jobs(datasets, 1, quick)
    return {key: {**job, "points": points} for key, job in found.items()}


def plane(first, second, t):
    """Two unit vectors of the shape of α: from `first` towards `second`, and the part of t at a right angle to it.

    Where one of them vanishes, an axis of α stands in.
    """
    towards = _unit(second - first, [])
    return towards, _unit(t, [towards])


def _unit(vector, others):
    candidates = [vector, *np.eye(vector.size).reshape(-1, *vector.shape)]
    for candidate in candidates:
        candidate = np.float64(candidate)
        rest = candidate - sum((candidate * other).sum() * other for other in others)
        length = np.linalg.norm(rest)
        if length > 1e-6 * max(np.linalg.norm(candidate), 1e-6):
            return rest / length
    raise ValueError("no direction is left")


def measure(job):
    """A search, and its two objectives over the plane.

    job: settings of SearchConfig, for the strategy dcp, and "points". Returns a dict of lists: "u" and "v", the
    coordinates along the two directions, from the Parent's α; "parent" (v, u), L_NAS; "child" (v, u), -G; and the
    points and arrows in these coordinates: "child_alpha", "tangent" t, "child_gradient" ∂G/∂α̂ at the Child's α;
    with "angle", of the last two in degrees, "lengths", of both before they are projected, and "step", the length
    from the Parent's α to the Child's.
    """
    config = SearchConfig(**{k: v for k, v in job.items() if k != "points"})
    dataset = load_dataset(config.dataset, config.data_dir, config.limit)
    search = new_search(config, dataset)
    run_in_memory(search)
    parts = list(batches(dataset.validation, BATCH))
    parent, child, t = search.parent, search.child, np.float64(search.t)
    start, end = np.float64(parent.alpha.data), np.float64(child.alpha.data)
    directions = plane(start, end, t)
    step = float(np.linalg.norm(end - start))
    teacher = [teacher_probabilities(parent, images) for images, _ in parts]
    u = np.linspace(-REACH * step, (1 + REACH) * step, job["points"])
    v = np.linspace(-(0.5 + REACH) * step, (0.5 + REACH) * step, job["points"])

    def over_plane(supernet, loss):
        with batch_statistics(supernet), no_grad():
            return [
                [
                    _mean(supernet, start + a * directions[0] + b * directions[1], parts, loss)
                    for a in u
                ]
                for b in v
            ]

    surfaces = {
        "parent": over_plane(parent, lambda logits, k: nas_loss(logits, parts[k][1])),
        "child": over_plane(child, lambda logits, k: kl_to_teacher(logits, teacher[k])),
    }
    g = child_gradient(child, parts, teacher)

    def coordinates(vector):
        return [float((vector * direction).sum()) for direction in directions]

    return {
        "u": u.tolist(),
        "v": v.tolist(),
        **surfaces,
        "child_alpha": coordinates(end - start),
        "tangent": coordinates(t),
        "child_gradient": coordinates(g),
        "angle": angle(g, t),
        "lengths": [float(np.linalg.norm(t)), float(np.linalg.norm(g))],
        "step": step,
    }


def child_gradient(child, parts, teacher):
    """∂G/∂α̂ of the Child at its α, over all parts."""
    total, samples = 0.0, 0
    for (images, _), p in zip(parts, teacher):
        with batch_statistics(child):
            found = tangent_gradient(
                lambda alpha, images=images: child(images, alpha),
                child.alpha.data,
                p,
                np.zeros_like(child.alpha.data),
                0.0,
            )
        total = total + len(images) * np.float64(found.g)
        samples += len(images)
    return total / samples


def _mean(supernet, alpha, parts, loss):
    """The mean of a loss over all parts, at an α."""
    alpha = Tensor(alpha.astype(supernet.alpha.dtype))
    losses = [
        loss(supernet(images, alpha), k).item() * len(images) for k, (images, _) in enumerate(parts)
    ]
    return sum(losses) / sum(len(images) for images, _ in parts)


def analyse(experiment, table, results, datasets, seeds=None, quick=False):
    """All figures: {"experiment", "datasets": {name: what `measure` gives, with both "optima"}}.

    An optimum is the point of the grid where the objective is least, (u, v).
    """
    found = {}
    for dataset in datasets:
        key = experiment.key(next(iter(experiment.runs)), dataset, 0, quick)
        measured = results[key]
        optima = {}
        for name in ("parent", "child"):
            row, column = np.unravel_index(np.argmin(measured[name]), np.shape(measured[name]))
            optima[name] = [measured["u"][column], measured["v"][row]]
        found[dataset] = {**measured, "optima": optima}
    return {"experiment": experiment.name, "datasets": found}


_NOTE = """\
The plane goes through the α of both supernets (first axis, from that of the Parent) and along the Parent's tangent
direction t (second axis, the part at a right angle to the first). Weights stay as the search left them; L_NAS of
the Parent and the KL divergence of the Child, -G, are over all validation images, batch norms going by the images.
An optimum is the least value on the grid, and lies at its edge where the plane is too small to hold it."""


def page(experiment, figures):
    """The page of the experiment, Markdown."""
    rows = [
        [
            dataset,
            f"{one['step']:.3f}",
            *("({:.2f}, {:.2f})".format(*one["optima"][name]) for name in ("parent", "child")),
            f"{np.hypot(*np.subtract(one['optima']['parent'], one['optima']['child'])):.2f}",
            f"{one['angle']:.0f}°",
            "{:.3g}, {:.3g}".format(*one["lengths"]),
        ]
        for dataset, one in figures["datasets"].items()
    ]
    head = ["data set", "from the Parent's α to the Child's", "least L_NAS at", "least KL at"]
    head += ["between them", "angle of t and ∂G/∂α̂", "their lengths"]
    lines = [
        f"# {experiment.title}",
        "",
        experiment.question,
        "",
        *table(head, rows),
        "",
        _NOTE,
    ]
    return "\n".join(lines) + "\n"
