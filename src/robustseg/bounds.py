"""How large and small numbers may be that people write, wherever they write them."""

import re

NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?|nan|[+-]?inf", re.I)
"""A real number as people write it; Python would take 1_000, and digits of other scripts, too."""
LARGEST_SEED = 2**31 - 1
"""Of trainings, attacks and data: evidence keeps seeds as int32. Torch takes larger ones, and for
`derive_seed`, from which an image's draws follow, any number would do."""
MOST_LETTERS = 100
"""ASSUME: of a name; file systems end one at 255 bytes, and files add to it."""
LARGEST_PX = 16_384
"""ASSUME: of a side of an image, in pixels; cameras of 200 million pixels stay below."""
MOST_ITEMS = 10**7
"""ASSUME: of images or anything that is counted; ImageNet has 1.3 million training images."""
MOST_PASSES = 10**6
"""ASSUME: of iterations, steps and epochs: an attack of the paper has 500 iterations. An image's
passes, several for an iteration, must fit the int32 of evidence."""
LARGEST_NUMBER = 1e6
"""ASSUME: of a real number that nothing else limits; float32 and its squares hold it."""
SMALLEST_Q = -100
"""ASSUME: of the Tsallis loss; the default begins at -2, and far below p ** q leaves float32."""
SMALLEST_NUMBER = 1e-12
"""ASSUME: of a real number that must be above 0; in float32, less vanishes beside 1e-4."""
MOST_AT_ONCE = 2**16
"""ASSUME: of images in a batch, and of jobs that share the images of an attack."""
SMALLEST_RADIUS_255 = 1e-3
"""Evidence takes a norm that is so much above the radius for rounding (`EPS_TOLERANCE_255`)."""


def fits_a_name(number: float) -> bool:
    """Return whether names of files and attacks, of six digits, tell a number from others."""
    return float(f"{number:g}") == number
