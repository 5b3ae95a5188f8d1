"""Training without the background: its pixels teach nothing (Appendix C.3)."""

import numpy as np

from robustseg.data.arrays import ArrayDataset, save_split
from robustseg.data.opening import load_split
from robustseg.models.checkpoints import read_weights
from robustseg.training.train import train_segmentation
from tests.training.test_train import MODEL, TRAINING, data, files, quiet

__all__ = ["data"]  # the fixture
CLEAN = MODEL | {"scheme": "clean", "epochs": 1}


def weights(made, model):
    train_segmentation(model, TRAINING, "convnext_demo", made, 0, quiet())
    tensors, _ = read_weights(made.weights)
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def test_labels_of_the_background_do_not_matter_when_it_is_ignored(data, tmp_path):
    split = load_split(data / "scenes" / "train.npz")
    ignored = np.where(split.labels == 0, np.uint8(255), split.labels)
    names, palette = split.class_names, split.palette
    by_hand = ArrayDataset(split.images, ignored, split.image_ids, names, palette)
    save_split(tmp_path / "scenes" / "train.npz", by_hand)
    save_split(tmp_path / "scenes" / "val.npz", load_split(data / "scenes" / "val.npz"))
    (tmp_path / "backbone.safetensors").write_bytes((data / "backbone.safetensors").read_bytes())
    without = weights(files(data, tmp_path / "a"), CLEAN | {"background": False})
    same = weights(files(tmp_path, tmp_path / "b"), CLEAN)
    learnt = weights(files(data, tmp_path / "c"), CLEAN)
    assert all(np.array_equal(without[name], same[name]) for name in same)
    assert any(not np.array_equal(without[name], learnt[name]) for name in learnt)
