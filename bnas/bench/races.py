"""One race as a row of a table, and rows as a table: what all files of cases have in common."""

from bnas.bench.timing import race

REPEATS, QUICK_REPEATS = 9, 3


def ours(threads):
    """Our label in a table of so many threads, as the rates of the peak have it."""
    return f"bnas {threads}t"


def row(name, contenders, threads, quick, work=None, alone=None, repeats=REPEATS, settle=0):
    """A race in which everybody has so many threads; `alone`, if given, is ours once more, on one.

    repeats: measurements of each contender, where quick does not ask for fewer. settle: see `race`.
    """
    threads_of = dict.fromkeys(contenders, threads)
    if alone is not None and threads > 1:
        contenders = {**contenders, ours(1): alone}
        threads_of[ours(1)] = 1
    repeats = min(repeats, QUICK_REPEATS) if quick else repeats
    timings = race(contenders, repeats, threads_of=threads_of, settle=settle)
    figures = {label: timing._asdict() for label, timing in timings.items()}
    return {"name": name, "figures": figures, "work": work}


def table(title, note, threads, rows, peers, unit="us"):
    """Rows as a table in the format of bnas.bench."""
    return {
        "title": f"{title}, {threads} thread{'s' * (threads > 1)}",
        "note": note,
        "unit": unit,
        "ours": [ours(threads)],
        "peers": peers,
        "rows": rows,
    }
