"""The errors that a user can cause and mend; the command line prints them without a traceback."""


class InputError(ValueError):
    """Something the user gave (a file, an option, a configuration) cannot be used.

    The message says what was wrong, what was expected and what to do.
    """


class DivergedError(ArithmeticError):
    """A loss or a gradient became NaN or infinite; the message says where."""
