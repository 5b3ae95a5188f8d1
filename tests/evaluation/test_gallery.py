"""What is kept of attacked images is what the model saw and said."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from robustseg.workflow_job import job
from robustseg.data.disk import DiskDataset
from robustseg.data.folder import open_folder
from robustseg.errors import RobustsegError
from robustseg.evaluation.gallery import _perturbations, attack_gallery, attack_targeted
from robustseg.evaluation.over_batches import evaluate_clean
from robustseg.evidence.attacked_images import (
    ARRAYS,
    perturbed,
    read_shots,
    read_targeted,
    save_arrays,
)
from tests.evaluation.test_suites import network, noise

GALLERY = {"images": 3, "loss": "mask_ce", "schedule": "reduced", "iterations": 9}
TARGETED = {"images": 2, "classes": ["green", "red"], "eps_255": 40.0, "iterations": 30}


def test_the_page_reads_what_is_kept(tmp_path: Path) -> None:
    model, dataset = network(0), noise()
    arrays = attack_gallery(model, dataset, {**GALLERY, "eps_255": [4, 16]}, batch_size=2)
    assert set(arrays) == set(ARRAYS)
    save_arrays(tmp_path / "shots.npz", arrays)
    shots = read_shots(tmp_path / "shots.npz")
    assert shots.loss == GALLERY["loss"]
    assert shots.eps_255.tolist() == [0, 4, 16]
    assert not shots.perturbation[0].any()
    largest = np.abs(shots.perturbation.astype(float)).max(axis=(1, 2, 3, 4))
    assert largest == pytest.approx([0, 4, 16], abs=0.02)
    for radius in range(3):
        for place in range(3):
            right = shots.prediction[radius, place] == dataset.labels[place]
            assert shots.accuracy[radius, place] == right.mean()
    assert (shots.images == dataset.images[:3]).all()


def test_predictions_are_of_the_perturbed_image() -> None:
    model, dataset = network(0), noise()
    arrays = attack_gallery(model, dataset, {**GALLERY, "eps_255": [16]}, batch_size=4)
    attacked = (arrays["images"] + arrays["perturbation"][1].astype(np.float64)) / 255
    with torch.no_grad():
        logits = model(torch.from_numpy(attacked).float().permute(0, 3, 1, 2))
    same = logits.argmax(1).numpy() == arrays["prediction"][1]
    assert same.mean() > 0.99  # but for the rounding of float16


def test_images_of_different_sizes_are_filled_up(tmp_path: Path) -> None:
    """Each is attacked as it is, and grey is added without a label."""
    for number, size in enumerate([(20, 30), (20, 30), (25, 14)]):
        pixels = np.random.default_rng(number).integers(0, 256, (*size, 3), np.uint8)
        for part, array in (("images", pixels), ("masks", pixels.argmax(2).astype(np.uint8))):
            (tmp_path / part).mkdir(exist_ok=True)
            Image.fromarray(array).save(tmp_path / part / f"{number}.png")

    def opened(*ids: str) -> DiskDataset:
        return open_folder(tmp_path / "images", tmp_path / "masks", classes=3, ids=ids)

    settings = GALLERY | {"eps_255": [16]}
    arrays = attack_gallery(network(0), opened("0", "1", "2"), settings, batch_size=3)
    save_arrays(tmp_path / "shots.npz", arrays)
    shots = read_shots(tmp_path / "shots.npz")
    assert shots.images.shape == (3, 25, 30, 3)
    for place, (height, width) in enumerate([(20, 30), (20, 30), (25, 14)]):
        alone = attack_gallery(network(0), opened(str(place)), settings | {"images": 1}, 1)
        assert (shots.accuracy[:, place] == alone["accuracy"][:, 0]).all()
        for name, outside in (("images", 128), ("labels", 255)):
            whole = getattr(shots, name)[place]
            assert (whole[:height, :width] == alone[name][0]).all()
            assert (whole[height:] == outside).all()
            assert (whole[:, width:] == outside).all()
        for name, outside in (("perturbation", 0), ("prediction", 255)):
            whole = getattr(shots, name)[:, place]
            assert (whole[:, :height, :width] == alone[name][:, 0]).all()
            assert (whole[:, height:] == outside).all()
            assert (whole[:, :, width:] == outside).all()
    targeted = TARGETED | {"images": 3, "iterations": 3}
    assert attack_targeted(
        network(0), opened("0", "1", "2"), targeted | {"classes": ["class 1"]}, 3
    )["share"].shape == (1, 3)


def test_images_without_a_label_are_passed_over(tmp_path: Path) -> None:
    dataset = noise()
    dataset.labels[[0, 2]] = 255
    arrays = attack_gallery(
        network(0), dataset, {**GALLERY, "images": 2, "eps_255": [4]}, batch_size=2
    )
    save_arrays(tmp_path / "shots.npz", arrays)
    assert read_shots(tmp_path / "shots.npz").image_ids.tolist() == ["image1", "image3"]
    targeted = attack_targeted(network(0), dataset, TARGETED | {"iterations": 3}, batch_size=2)
    assert targeted["image_ids"].tolist() == ["image1", "image3"]
    with pytest.raises(RobustsegError, match="3 images are to be kept and 2 have labels; lower"):
        attack_gallery(network(0), dataset, {**GALLERY, "eps_255": [4]}, batch_size=2)


def test_the_same_attack_gives_the_same_bytes(tmp_path: Path) -> None:
    for turn in (1, 2):
        arrays = attack_gallery(network(0), noise(), {**GALLERY, "eps_255": [4]}, batch_size=3)
        save_arrays(tmp_path / f"{turn}.npz", arrays)
    assert (tmp_path / "1.npz").read_bytes() == (tmp_path / "2.npz").read_bytes()


def test_targets_are_reached_more_often_than_without_an_attack(tmp_path: Path) -> None:
    arrays = attack_targeted(network(0), noise(), TARGETED, batch_size=2)
    save_arrays(tmp_path / "t.npz", arrays)
    kept = read_targeted(tmp_path / "t.npz")
    for index, label in enumerate((2, 1)):
        share = (kept["prediction"][index] == label).mean(axis=(1, 2))
        assert kept["share"][index] == pytest.approx(share)
        assert (kept["share"][index] > kept["clean_share"][index]).all()
    assert np.abs(kept["perturbation"].astype(float)).max() <= 40.05


def test_the_log_says_how_far_it_is(tmp_path: Path) -> None:
    with job("look", tmp_path / "log") as progress:
        progress.every_s = 0
        model, dataset = network(0), noise()
        attack_gallery(model, dataset, {**GALLERY, "eps_255": [4, 8]}, 2, progress)
        attack_targeted(model, dataset, TARGETED, 1, progress)
        evaluate_clean(model, dataset, batch_size=1, identity={}, progress=progress)
    said = (tmp_path / "log").read_text()
    for unit in ("batches x radii", "batches x classes", "batches"):
        shares = re.findall(rf"(\d+)%\|.* [1-4]/4 \[.* {unit}[/\]]", said)
        assert shares == ["25", "50", "75", "100"], said


def test_pictures_are_rounded_and_clipped() -> None:
    image = np.array([[[0, 250, 100]]], dtype=np.uint8)
    assert perturbed(image, np.array([[[-3, 8, 0.6]]], np.float16)).tolist() == [[[0, 255, 101]]]


def test_bad_input_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(RobustsegError, match="target class 'sky' is not one of the data set's: ba"):
        attack_targeted(network(0), noise(), {**TARGETED, "classes": ["sky"]}, batch_size=2)
    with pytest.raises(RobustsegError, match="5 images are to be kept and 4 have labels"):
        attack_gallery(network(0), noise(), {**GALLERY, "images": 5, "eps_255": [4]}, batch_size=2)
    (tmp_path / "cut.npz").write_bytes(b"PK")
    with pytest.raises(RobustsegError, match=r"cut\.npz cannot be read"):
        read_targeted(tmp_path / "cut.npz")


def test_a_perturbation_too_small_for_half_precision_is_no_error() -> None:
    """Where a caller lets NumPy raise on underflow, a whole run would end in it."""
    image = torch.full((1, 3, 2, 2), 0.5, dtype=torch.float64)
    with np.errstate(all="raise"):
        found = _perturbations([image + 1e-8], [(image, torch.zeros(1, 2, 2), ["a"])])
    assert found.max() < 1e-5
