"""What warnings and second opinions let pass, and both say of it. Imports no torch."""

REPEATS = 1e-3
"""Two passes agree if their logits are at most so many units apart, see `logit_distance`."""
ALONE = 0.03
"""An image alone agrees with itself in its batch likewise."""
ZEROS = 0.05
"""Share of the gradient's values that may be 0 without a reason."""
SATURATED = 0.5
"""Share of the right pixels whose probability may be 1."""
BETTER = 0.005
"""By how much accuracy may be higher under an attack than without, as a fraction."""
CHECK_SET_UP = (
    "check normalisation, channel order, the order of classes, whether values go to 1 or to 255 "
    "(scale), and the weights"
)
"""What to do about a model that is no better than always saying one class."""
