"""The errors that a user can cause and mend; the command line prints them without a traceback."""

from typing import NamedTuple


class Wording(NamedTuple):
    """A piece of a message that is one thing to a user of Python and another on the command line."""

    python: str
    command_line: str

    def __str__(self):
        return self.python


def option(name):
    """The option of the command line for an argument or a setting called `name`: "--data-dir"."""
    return "--lambda" if name == "lam" else "--" + name.replace("_", "-")


def argument(name, value=""):
    """The Wording of an argument: data_dir="FILE.npz" in Python, --data-dir FILE.npz as an option."""
    if not value:
        return Wording(name, option(name))
    return Wording(f'{name}="{value}"', f"{option(name)} {value}")


class InputError(ValueError):
    """Something the user gave (a file, an option, a configuration) cannot be used.

    The message says what was wrong, what was expected and what to do. It is what the arguments say one
    after the other; those that are a Wording say it as `str` to Python and as an option to the command line.
    """

    def __str__(self):
        return "".join(map(str, self.args))

    def on_command_line(self):
        """The message for a user of the command line."""
        return "".join(
            part.command_line if isinstance(part, Wording) else str(part) for part in self.args
        )


class DivergedError(ArithmeticError):
    """A loss or a gradient became NaN or infinite; the message says where."""
