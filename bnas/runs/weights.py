"""The weights of any Module in a file: saved whole or not at all, and refused if damaged."""

from bnas.errors import InputError
from bnas.runs.files import load_checkpoint, save_checkpoint


def save_weights(module, path):
    """Write all Parameters and buffers of a Module to a file.

    Raises:
        InputError: the file cannot be written.
    """
    save_checkpoint(path, module.state_dict(), {"weights_of": type(module).__name__})


def load_weights(module, path):
    """Give a Module the Parameters and buffers that `save_weights` wrote; returns the Module.

    Raises:
        InputError: the file is missing, damaged or no file of weights, or those of another Module; the Module
            is left as it was.
    """
    arrays, meta = load_checkpoint(path, "save the weights again with bnas.save_weights")
    if "weights_of" not in meta:
        raise InputError(f"{path} holds no weights that bnas.save_weights wrote")
    try:
        module.load_state_dict(arrays)
    except ValueError as error:
        raise InputError(
            f"{path} holds the weights of another {meta['weights_of']}: {error}"
        ) from error
    return module
