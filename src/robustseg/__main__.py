"""`python -m robustseg`."""

import sys

from robustseg.cli import main

sys.exit(main())
