"""`python -m mtlbench`."""

import sys

from mtlbench.cli import main

sys.exit(main())
