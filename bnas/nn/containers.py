"""Modules made of Modules."""

from bnas.nn.module import Module, own_values


class _Numbered(Module):
    """Modules in a row, named "0", "1", ..."""

    def _entries(self):
        """All of them in their order; a Module that is there twice counts twice."""
        return [module for _, module in own_values(self, Module)]

    def __iter__(self):
        return iter(self._entries())

    def __len__(self):
        return len(self._entries())

    def __getitem__(self, i):
        return self._entries()[i]

    def _add(self, module, advice):
        if isinstance(module, type) and issubclass(module, Module):
            raise TypeError(
                f"{type(self).__name__} holds Modules, got the class {module.__name__}; write {module.__name__}()"
            )
        if not isinstance(module, Module):
            raise TypeError(
                f"{type(self).__name__} holds Modules, got {type(module).__name__}; {advice}"
            )
        setattr(self, str(len(self)), module)


class ModuleList(_Numbered):
    """A list of Modules, as in PyTorch; a plain list in an attribute does as well.

    Raises:
        TypeError: an entry is no Module.
    """

    def __init__(self, modules=()):
        self.extend(modules)

    def append(self, module):
        """Add one Module at the end; returns the list."""
        self._add(module, "add one at a time, or extend() by several")
        return self

    def extend(self, modules):
        """Add several Modules at the end; returns the list."""
        for module in modules:
            self.append(module)
        return self


class Sequential(_Numbered):
    """Modules one after another; `sequence[i]` is the i-th, its name in the state dict is `i`.

    Raises:
        TypeError: an argument is no Module.
    """

    def __init__(self, *modules):
        for module in modules:
            self._add(
                module, "give them one by one, as Sequential(first, second) or Sequential(*modules)"
            )

    def __getitem__(self, i):
        part = super().__getitem__(i)
        return Sequential(*part) if isinstance(i, slice) else part

    def forward(self, x):
        for module in self:
            x = module(x)
        return x
