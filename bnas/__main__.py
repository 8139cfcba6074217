"""`python -m bnas`: the command line."""

import sys

from bnas.cli import main

sys.exit(main())
