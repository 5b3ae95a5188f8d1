"""Data sets: the generated ones and how a split is read."""
