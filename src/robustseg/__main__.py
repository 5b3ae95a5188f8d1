"""`python -m robustseg`."""

from robustseg.cli import console

console()
