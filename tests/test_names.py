import pytest

from robustseg.names import amount


@pytest.mark.parametrize(
    ("number", "words", "said"),
    [
        (1, ("image",), "1 image"),
        (0, ("image",), "0 images"),
        (1449, ("image",), "1,449 images"),
        (1, ("radius", "radii"), "1 radius"),
        (2, ("radius", "radii"), "2 radii"),
    ],
)
def test_one_is_singular_and_all_else_plural(number, words, said):
    assert amount(number, *words) == said
