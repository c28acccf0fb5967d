"""`python -m heedful`, which is also what `torchrun -m heedful` runs."""

import sys

from heedful.cli.main import main

sys.exit(main())
