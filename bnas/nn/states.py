"""The states of Modules and optimisers: {name: array}, joined, taken apart and compared."""


def join_states(**parts):
    """Several {name: array} as one, the names prefixed with their part and a dot."""
    return {f"{part}.{name}": array for part, own in parts.items() for name, array in own.items()}


def part_of(arrays, part):
    """What `join_states` put in under the name `part`."""
    prefix = f"{part}."
    return {n.removeprefix(prefix): array for n, array in arrays.items() if n.startswith(prefix)}


def without(arrays, parts):
    """What belongs to none of these parts of `join_states`."""
    return {n: array for n, array in arrays.items() if n.partition(".")[0] not in parts}


class ShapeMismatch(ValueError):
    """An array of a state has another shape than that which it is for."""


def require_alike(state, own):
    """Raise ValueError unless two {name: array} have the same names, shapes and dtypes.

    state: what is to be loaded; own: what is there to take it. For a shape it is a `ShapeMismatch`.
    """
    missing, unknown = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    if missing or unknown:
        raise ValueError(
            f"load_state_dict: {len(missing)} names are missing {missing[:3]} and {len(unknown)} are "
            f"unknown {unknown[:3]}; give the state of a module built with the same arguments"
        )
    for name, value in own.items():
        shape, dtype = state[name].shape, state[name].dtype
        if (shape, dtype) != (value.shape, value.dtype):
            raise (ValueError if shape == value.shape else ShapeMismatch)(
                f"load_state_dict: {name} has shape {shape} and dtype {dtype}, expected "
                f"{value.shape} and {value.dtype}"
            )
