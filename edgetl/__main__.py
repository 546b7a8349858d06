"""`python -m edgetl`: the same as the command `edgetl`."""

import sys

from edgetl.cli.main import main

sys.exit(main())
