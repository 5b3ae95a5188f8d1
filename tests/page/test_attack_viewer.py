import base64
import io

import numpy as np
import pytest
from PIL import Image

from robustseg.errors import RobustsegError
from robustseg.evidence.attacked_images import read_shots
from robustseg.page.attack_viewer import encode_gallery


def shots(images=2, size=6, eps_255=(0.0, 4.0, 8.0), seed=0):
    """Return arrays of a gallery file: noise, perturbed like a checkerboard."""
    draw = np.random.default_rng(seed)
    radii, shape = len(eps_255), (images, size, size)
    labels = draw.integers(0, 3, shape, dtype=np.uint8)
    labels[:, 0, 0] = 255
    sign = np.where(np.indices((size, size)).sum(0) % 2, 1, -1)[..., None]
    prediction = draw.integers(0, 3, (radii, *shape), dtype=np.uint8)
    counted = labels != 255
    right = (prediction == labels) & counted
    return {
        "image_ids": np.array([f"fake_{index}" for index in range(images)]),
        "labels": labels,
        "images": draw.integers(20, 230, (*shape, 3), dtype=np.uint8),
        "eps_255": np.array(eps_255),
        "perturbation": np.stack(
            [np.full((*shape, 3), eps) * sign for eps in eps_255], dtype=np.float16
        ),
        "prediction": prediction,
        "accuracy": right.sum((2, 3)) / counted.sum((1, 2)),
        "loss": np.array("mask_ce"),
        "class_names": np.array(["ground", "a <b>", "c"]),
        "palette": np.array([[0, 0, 0], [250, 10, 20], [3, 200, 255]], dtype=np.uint8),
    }


def write(path, **changes):
    arrays = {**shots(), **changes}
    np.savez_compressed(
        path, **{name: value for name, value in arrays.items() if value is not None}
    )
    return path


def pixels(gallery, index):
    uri = gallery["pictures"][index]
    assert uri.startswith("data:image/png;base64,")
    picture = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
    return np.asarray(picture.convert("RGB"))


def test_pictures_are_those_of_the_file(tmp_path):
    arrays = shots()
    gallery = encode_gallery({"net": write(tmp_path / "net.npz")})
    (model,) = gallery["models"]
    image = model["images"][1]
    assert image["id"] == "fake_1"
    np.testing.assert_array_equal(pixels(gallery, image["image"]), arrays["images"][1])
    moved = arrays["images"][1] + arrays["perturbation"][2, 1].astype(int)
    np.testing.assert_array_equal(pixels(gallery, image["attacked"][2]), moved)
    colours = arrays["palette"][arrays["prediction"][2, 1]]
    np.testing.assert_array_equal(pixels(gallery, image["prediction"][2]), colours)
    truth = pixels(gallery, image["truth"])
    assert truth[0, 0].tolist() == [128, 128, 128]
    np.testing.assert_array_equal(truth[1], arrays["palette"][arrays["labels"][1, 1]])
    assert model["classes"][1] == ("a <b>", "#fa0a14")


def test_the_perturbation_is_magnified_by_what_is_stated(tmp_path):
    gallery = encode_gallery({"net": write(tmp_path / "net.npz")})
    model = gallery["models"][0]
    assert model["amplification"] == pytest.approx(127 / 8, abs=0.05)
    grey, small, large = (
        pixels(gallery, model["images"][0]["perturbation"][radius]).astype(int) - 128
        for radius in range(3)
    )
    assert not grey.any()
    assert set(np.unique(small)) == {-64, 64}
    assert set(np.unique(large)) == {-127, 127}


def test_a_picture_is_there_once(tmp_path):
    path = write(tmp_path / "net.npz")
    one, two = (encode_gallery(dict.fromkeys(names, path)) for names in ("a", "ab"))
    assert len(two["models"]) == 2
    assert two["pictures"] == one["pictures"]
    assert one["models"][0]["images"][0]["image"] == one["models"][0]["images"][0]["attacked"][0]


def test_images_beyond_the_budget_are_left_out_and_counted(tmp_path):
    paths = {}
    for seed, name in enumerate("ab"):
        paths[name] = write(tmp_path / f"{name}.npz", **shots(images=5, seed=seed))
    whole = encode_gallery(paths)
    assert whole["left_out"] == 0
    size = sum(map(len, whole["pictures"]))
    half = encode_gallery(paths, budget_bytes=size // 2)
    assert half["left_out"] == 3
    assert [len(model["images"]) for model in half["models"]] == [2, 2]
    assert sum(map(len, half["pictures"])) <= size // 2
    least = encode_gallery(paths, budget_bytes=100)
    assert [len(model["images"]) for model in least["models"]] == [1, 1]


def test_large_pictures_are_small_and_nearly_right(tmp_path):
    smooth = np.linspace(0, 200, 200 * 200).reshape(200, 200)
    images = np.repeat(smooth[None, ..., None], 3, axis=-1).astype(np.uint8)
    gallery = encode_gallery(
        {"net": write(tmp_path / "net.npz", **(shots(1, 200) | {"images": images}))}
    )
    assert gallery["lossy"]
    image = gallery["models"][0]["images"][0]
    uri = gallery["pictures"][image["image"]]
    assert uri.startswith("data:image/jpeg;base64,")
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))
    assert np.abs(shown.astype(int) - images[0]).mean() < 2
    assert gallery["pictures"][image["truth"]].startswith("data:image/png;")
    assert not encode_gallery({"net": write(tmp_path / "small.npz")})["lossy"]


def test_no_files_no_gallery():
    assert encode_gallery({}) is None


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"palette": None}, "net.npz has no array palette"),
        ({"labels": np.zeros((2, 6, 5), np.uint8)}, r"images has the shape \(2, 6, 6, 3\) where"),
        ({"accuracy": np.zeros((3, 2, 1))}, r"accuracy has the shape .* \(3, 2\) is needed"),
        ({"prediction": np.full((3, 2, 6, 6), 3, np.uint8)}, "prediction has class 3, but there"),
        ({"eps_255": np.array([0.0, 8.0, 4.0])}, "must begin with 0 and ascend"),
        ({"image_ids": np.array([{}, {}], dtype=object)}, "cannot be read"),
        ({"images": np.zeros((2, 6, 6, 3))}, "images has values float64 where uint8 are needed"),
        ({"accuracy": np.full((3, 2), np.nan)}, "accuracy has values that are not finite"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path, changes, sentence):
    with pytest.raises(RobustsegError, match=sentence):
        read_shots(write(tmp_path / "net.npz", **changes))


def test_a_truncated_or_missing_file_is_refused(tmp_path):
    path = write(tmp_path / "net.npz")
    path.write_bytes(path.read_bytes()[:-500])
    for wrong in (path, tmp_path / "nothing.npz"):
        with pytest.raises(RobustsegError, match=f"{wrong.name} cannot be read"):
            read_shots(wrong)


def test_accuracies_are_rounded_once_and_as_in_figures(tmp_path):
    """Of 446/1024, 43.555 %, two roundings make 43.5; of 6.25 % a script makes 6.3."""
    shares = np.array([[446], [64], [1]]) / 1024
    made = encode_gallery(
        {"net": write(tmp_path / "net.npz", **{**shots(images=1), "accuracy": shares})}
    )
    (image,) = made["models"][0]["images"]
    assert image["accuracy"] == [43.6, 6.2, 0.1]
