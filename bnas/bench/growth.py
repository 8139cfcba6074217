"""How the cost of a search step grows: seconds and bytes, one size varied at a time."""

from bnas.bench.races import table
from bnas.bench.steps import BETTER, FORMATS, NETWORKS, Scale, peaks, race_steps

BASE = Scale((3, 16, 16), channels=8, layers=3, batch=32, repeats=3)
QUICK_BASE = Scale((3, 8, 8), channels=4, layers=3, batch=4, repeats=1, nodes=2)
VARIED = {
    "channels": (4, 8, 16, 32),
    "layers": (3, 5, 8),
    "batch": (16, 32, 64, 128),
    "image size": (8, 16, 32),
}
QUICK_VARIED = {"channels": (4, 8)}


def varied(base, quantity, value):
    """`base` with another value of one quantity; the image size is height and width in pixels."""
    if quantity == "image size":
        return base._replace(shape=(base.shape[0], value, value))
    return base._replace(**{quantity: value})


def growth_tables(threads, torch, quick, tell, repeats=None):
    """A table for each quantity, in the format of bnas.bench. tell: called before every scale."""
    base, quantities = (QUICK_BASE, QUICK_VARIED) if quick else (BASE, VARIED)
    base = base._replace(repeats=repeats or base.repeats)
    networks = NETWORKS[: 1 if quick else 2]
    measured = {}  # by scale: all quantities pass through the base

    def measure(scale):
        if scale not in measured:
            tell(f"A step of {scale} ...")
            measured[scale] = {
                network: race_steps(network, network, scale, threads, torch, quick)
                | {"bytes": peaks(network, scale, threads, torch)}
                for network in networks
            }
        return measured[scale]

    tables = []
    for quantity, values in quantities.items():
        rows = [
            found | {"name": f"{value}, {network}", "value": value, "network": network}
            for value in values
            for network, found in measure(varied(base, quantity, value)).items()
        ]
        note = (
            f"Around {base}, random images. '{BETTER}' is the better of its two formats, in time and "
            "in memory."
        )
        made = table(f"Growth with {quantity}", note, threads, rows, list(FORMATS), None)
        tables.append(made | {"better": BETTER, "quantity": quantity})
    return tables
