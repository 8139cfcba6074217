"""Numbers and tables as the pages of the study have them."""


def share(value):
    """A share as a percentage."""
    return f"{100 * value:.2f} %"


def interval(low, high):
    """An interval in percentage points, or a dash where there is none."""
    return "-" if low is None else f"{100 * low:+.2f} to {100 * high:+.2f}"


def p_value(p):
    """A p-value as people write it."""
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def table(head, rows):
    """The lines of a table of Markdown."""
    yield f"| {' | '.join(head)} |"
    yield "|---" * len(head) + "|"
    for row in rows:
        yield f"| {' | '.join(map(str, row))} |"
