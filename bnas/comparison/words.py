"""What a comparison says: labels of groups, tables, notes."""

import textwrap
from dataclasses import fields

from bnas.comparison.groups import MEASURES, spread
from bnas.config import SearchConfig, reads
from bnas.errors import option

FEW = 6  # pairs below which chance alone puts all differences on one side in more than 5 % of cases
WIDTH = 105  # characters of a line of the notes
LABEL = 40  # of a label in a table, which goes on in the next line
_TO_CHOOSE = """\
Choose by the validation accuracy: the networks were not trained on those images (the searches knew them).
What is chosen by its test accuracy has no test accuracy any more."""
_NOT_TO_CHOOSE = """\
Nothing here may be used to choose one of them: what is chosen by its test accuracy has no test accuracy
any more. Networks trained with --hold-out have a validation accuracy to choose by."""
_FEW_PAIRS = f"""\
With fewer than {FEW} pairs chance alone puts all differences on one side in more than 5 % of cases: such an
interval is too narrow, and that it lies beside 0 means little."""


def label(settings, groups):
    """The strategy of a group, and the settings in which `groups` of that strategy differ."""
    words = [_words(name, settings[name]) for name in _told(settings, groups)]
    return ", ".join([settings["strategy"], *words])


def _told(settings, groups):
    """The names of the settings in which `groups` of the same strategy as `settings` differ."""
    alike = [other for other in groups if other["strategy"] == settings["strategy"]]
    return [name for name in settings if any(o[name] != settings[name] for o in alike)]


def _words(name, value):
    name = option(name)[2:]
    if isinstance(value, bool):
        return name if value else f"no {name}"
    if value is None:
        return f"{name} by default"
    return f"{name} {int(value) if isinstance(value, float) and value.is_integer() else value}"


def notes(runs, groups, settings, name):
    """What a reader of the tables has to know, a tuple of texts; settings: of each group, a dict."""
    texts = [_NOT_TO_CHOOSE if groups[0].validation_accuracy is None else _TO_CHOOSE]
    first = set(groups[0].seeds)
    if any(1 < len(first & set(group.seeds)) < FEW for group in groups[1:]):
        texts.append(_FEW_PAIRS)
    texts += _hidden_settings(groups, settings)
    places = {run.trainings[name].config.data_dir for run in runs}
    if len(places) > 1:
        told = ", ".join(sorted(str(place) for place in places))
        texts.append(f"The data are taken for the same, though they lay in several places: {told}.")
    return tuple(texts)


def _hidden_settings(groups, settings):
    """A note of the settings that tell strategies apart and are not in the labels, in a list; [] without any."""
    told = []
    for field in fields(SearchConfig):
        name = field.name
        if name == "strategy" or name not in settings[0]:
            continue
        reading = [pair for pair in zip(groups, settings) if reads(pair[1]["strategy"], field)]
        hidden = {g.label: own[name] for g, own in reading if name not in _told(own, settings)}
        differ = len(reading) < len(groups) or len({own[name] for _, own in reading}) > 1
        if differ and not set(hidden.values()) <= {field.default}:
            told += [
                f"{_words(name, value)} ({'; '.join(g for g in hidden if hidden[g] == value)})"
                for value in dict.fromkeys(hidden.values())
            ]
    return [_wrapped(f"What the labels leave out: {', '.join(told)}.")] if told else []


def text_tables(comparison):
    """The tables of a comparison, as texts."""
    groups, first = comparison.groups, comparison.groups[0]
    config = first.trained[0].config
    head = f"Networks RUN/{comparison.name} on {config.dataset}; mean ± standard deviation over the seeds"
    measures = [measure for measure in MEASURES if getattr(first, measure) is not None]
    rows = [["search", "seeds", *(MEASURES[m] for m in measures), "skips and poolings"]]
    for group in groups:
        idle = f"{_number(group.weightless.mean())} of {group.operations}"
        shares = [_share(getattr(group, measure)) for measure in measures]
        rows.append([group.label, str(len(group.seeds)), *shares, idle])
    yield f"{head}\n{_aligned(rows)}"
    rows = [["cost of a search", "seconds", "gradient steps", "images seen", "peak memory"]]
    for group in groups:
        steps, images = (_number(group.cost(name)) for name in ("gradient_steps", "images_seen"))
        memory = group.cost("peak_memory")
        memory = "-" if memory is None else f"{memory / 2**20:,.0f} MiB"
        rows.append([group.label, _number(group.cost("seconds")), steps, images, memory])
    yield _aligned(rows)
    for measure in measures if comparison.differences else ():
        rows = [["search", "pairs", "mean", "95 % interval", ""]]
        for one in comparison.differences:
            if one.measure == measure:
                mean, between = "-" if one.mean is None else _points(one.mean), "-"
                if one.low is not None:
                    between = f"{_points(one.low)} to {_points(one.high)}"
                rows.append([one.label, str(len(one.values)), mean, between, one.verdict])
        what = f"{MEASURES[measure].capitalize()} minus that of {first.label}"
        head = _wrapped(f"{what}, in percentage points, seed by seed")
        yield f"{head}\n{_aligned(rows)}"


def _wrapped(text):
    return textwrap.fill(text, WIDTH, break_on_hyphens=False)


def _points(share):
    return f"{100 * share:+.2f}"


def _share(values):
    mean, deviation = spread(values)
    return f"{100 * mean:.2f} %" + (f" ± {100 * deviation:.2f}" if deviation is not None else "")


def _number(value):
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 or float(value).is_integer() else f"{value:.1f}"


def _aligned(rows):
    """Rows of texts as lines; the first column is to the left, and the last where it has no head."""
    labels = [textwrap.wrap(row[0], LABEL, break_on_hyphens=False) for row in rows]
    widths = [max(map(len, column)) for column in zip(*(row[1:] for row in rows))]
    first, last = max(len(line) for label in labels for line in label), len(widths) - 1
    lines = []
    for (label, *more), (_, *row) in zip(labels, rows):
        cells = [
            f"{cell:<{width}}" if k == last and not rows[0][-1] else f"{cell:>{width}}"
            for k, (cell, width) in enumerate(zip(row, widths))
        ]
        lines += ["   ".join([f"{label:<{first}}", *cells]).rstrip(), *(f"  {m}" for m in more)]
    return "\n".join(lines)
