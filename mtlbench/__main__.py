"""`python -m mtlbench`."""

import sys

from mtlbench.cli.main import main

sys.exit(main())
