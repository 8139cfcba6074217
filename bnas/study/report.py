"""What an experiment found, as a page of Markdown."""

import numpy as np

from bnas.study.statistics import LEVEL
from bnas.study.words import interval, p_value, share, table


def page(experiment, figures):
    """The page of an experiment that compares searches, from what `bnas.study.searches.analyse` found."""
    lines = [f"# {experiment.title}", "", experiment.question, ""]
    for dataset, found in figures["datasets"].items():
        lines += [f"## {dataset}", "", *_frame(found), "", *_runs(found["runs"]), ""]
        compared = figures["comparisons"].get(dataset)
        if compared:
            lines += [*_comparisons(experiment.reference, compared), ""]
            lines += [sentence(experiment.reference, dataset, compared), ""]
    lines.append(_NOTE if any(figures["comparisons"].values()) else _SHORT_NOTE)
    return "\n".join(lines) + "\n"


_SHORT_NOTE = """\
An architecture is chosen by what its search says. Its test accuracy is the mean over the seeds of the table,
looked up at the end."""
_NOTE = f"""\
{_SHORT_NOTE}
Differences are taken seed by seed, with a 95 % bootstrap interval of their mean; p is that of Wilcoxon's
signed-rank test, exact; corrected by Holm's method over all comparisons of this page. Higher and lower are said
where the corrected p is below {LEVEL}, within noise otherwise."""


def _frame(found):
    apart = found["told_apart"]
    yield (
        f"The best architecture of the table has {share(found['optimum'])} on the test images, the average one "
        f"{share(found['random'])} ± {100 * found['deviation']:.2f}."
        + (f" Two that differ by less than {100 * apart:.2f} are not told apart." if apart else "")
    )


def _runs(runs):
    yield from table(
        [
            "search",
            "seeds",
            "test accuracy",
            "regret",
            "percentile rank",
            "improvement over random",
            "skips and poolings, of 4",
            "seconds",
            "gradient steps",
        ],
        [
            [
                name,
                len(run["regret"]),
                f"{share(np.mean(run['test_accuracy']))}{_deviation(run['test_accuracy'])}",
                f"{100 * np.mean(run['regret']):.2f}",
                f"{np.mean(run['percentile']):.1f}",
                f"{100 * np.mean(run['improvement']):+.2f} %",
                f"{np.mean(run['weightless']):.1f}",
                f"{np.mean(run['seconds']):,.1f}",
                f"{np.mean(run['gradient_steps']):,.0f}",
            ]
            for name, run in runs.items()
        ],
    )


def _comparisons(reference, compared):
    yield f"Test accuracy minus that of {reference}, in percentage points:"
    yield ""
    yield from table(
        ["search", "pairs (unequal)", "mean", "95 % interval", "p", "corrected", ""],
        [
            [
                name,
                f"{one['pairs']} ({one['unequal']})",
                f"{100 * one['mean']:+.2f}",
                interval(one["low"], one["high"]),
                p_value(one["p"]),
                p_value(one["corrected"]),
                one["verdict"],
            ]
            for name, one in compared.items()
        ],
    )


def sentence(reference, dataset, compared):
    """In plain words, what the comparisons of a data set say."""
    told = {}
    for name, one in compared.items():
        told.setdefault(one["verdict"], []).append(name)
    parts = [
        f"{', '.join(told[verdict])}: {verdict}{' than' if verdict != 'within noise' else ' of'} {reference}"
        for verdict in ("higher", "lower", "within noise")
        if verdict in told
    ]
    return f"On {dataset}, " + "; ".join(parts) + "."


def _deviation(values):
    return f" ± {100 * np.std(values, ddof=1):.2f}" if len(values) > 1 else ""
