"""A second opinion on robustness figures: what speaks for one being too high."""
