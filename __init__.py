"""What `import bnas` finds from the folder that holds this clone: it hands on to the package inside.

Without this file Python would take the clone itself for the package, an empty one.
"""

import sys
from importlib import import_module
from pathlib import Path

_clone = str(Path(__file__).resolve().parent)
sys.path.insert(0, _clone)
sys.modules.pop("bnas", None)
try:
    sys.modules[__name__] = import_module("bnas")
finally:
    sys.path.remove(_clone)
