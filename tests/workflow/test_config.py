"""Wrong configurations are refused with one sentence that names file and key."""

import json
import math
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from robustseg.attacks.losses import PAPER_LOSSES
from robustseg.claims.language import ClaimsFile
from robustseg.config import Config, describe, json_schema, load_config, read_yaml
from robustseg.errors import RobustsegError
from robustseg.figures.registry import EXHIBITS, FIGURES
from robustseg.models.published import MODELS
from robustseg.names import ADVERSARIAL_SHARE
from robustseg.page.submission import Submission
from robustseg.sections import PATTERNS
from robustseg.tables.registry import TABLES
from robustseg.training.settings import TrainingSettings, settings_of
from tests.workflow.running import MATCHBOX, ROOT, replace, snakemake

SUITE = "attacks.suites.sea"
READ = "tables.table9.0"

VIT_S = {"kind": "released", "weights": "pir_at_5_128ep_segmenter_vit_s", "dataset": "scenes"}
CN_T = {"kind": "fetched", "weights": "convnext_t_cvst_robust"}
HASH = {"urls": ["file:///a"], "sha256": "12"}

WRONG = [
    ("models.vit_s", VIT_S, "vit_s.dataset is 'scenes', which has not the 151 classes of pir_at_5"),
    ("models.vit_s", VIT_S | {"dataset": "x"}, "vit_s.dataset is 'x', which is not one of `data`"),
    ("models.vit_s", VIT_S | {"weights": "x"}, "models.vit_s.weights should be 'pir_at_5_50ep_up"),
    ("models.vit_s", VIT_S | {"epochs": 1}, "vit_s.epochs is not a known key; known here: kind, w"),
    ("models.vit_s", VIT_S | {"kind": "x"}, "vit_s has the kind 'x'; known are trained, released"),
    ("backbones.cn_t", CN_T | {"dataset": "shapes"}, "cn_t.dataset is 'shapes', a set of kind sha"),
    ("backbones.cn_t", CN_T | {"kind": "x"}, "cn_t has the kind 'x'; known are trained, fetched"),
    (
        "backbones.convnext_clean",
        CN_T | {"weights": "convnext_t_cvst_clean"},
        "tables.table6[0].model is 'convnext_clean', a fetched backbone that has no dataset",
    ),
    ("downloads", {"weights": {"x.pt": HASH}}, "downloads.weights.x.pt should be 'convnext_tiny"),
    ("downloads", {"weights": {"weights_vit_s.pt": HASH}}, "sha256 should be the 64 digits"),
    ("foo", 1, "foo is not a known key; known here: run, training_seeds"),
    ("models.clean.foo", 1, "models.clean.foo is not a known key; known here: kind, scheme"),
    ("attacks.foo", 1, "attacks.foo is not a known key; known here: batch_size, shards, radii"),
    (f"{READ}.foo", 1, "tables.table9[0].foo is not a known key; known here: model, suites"),
    ("tables.table99", [], "tables.table99 should be 'table1', 'table2'"),
    ("run", "a/b", "run should have only letters"),
    ("run", 3, "run should be text, not 3"),
    (
        "throughput",
        "none.json",
        "throughput is 'none.json', where no file is; a relative path begins",
    ),
    ("training_seeds", [], "training_seeds needs at least 1 entry, not []"),
    ("training_seeds", [0, 0], "training_seeds names 0 twice"),
    ("data.scenes.size_px", 33, "data.scenes.size_px should be a multiple of 16, not 33"),
    (
        "data.scenes.kind",
        "coco",
        "scenes has the kind 'coco'; known are scenes, shapes, voc, ade20k",
    ),
    ("data.scenes", {"size_px": 32}, "data.scenes needs a kind"),
    ("data.scenes.object_radius_px", [9, 8], "has object_radius_px [9, 8], which should be the sm"),
    (
        "data.camvid",
        {"kind": "camvid", "resize_px": 361},
        "camvid.resize_px should be less than or equal to 360, not 361",
    ),
    ("data.shapes.object_radius_px", [8, 9], "has object_radius_px, which only scenes have"),
    (
        "data.voc",
        {"kind": "voc", "split": "x"},
        "voc.split is not a known key; known here: root, cr",
    ),
    (
        "data.voc",
        {"kind": "voc", "train_split": "train"},
        "voc.train_split should be 'paper_8498', '",
    ),
    (
        "downloads",
        {"archives": {"coco": {"urls": ["x"]}}},
        "archives.coco should be 'voc2012', 'sbd'",
    ),
    (
        "tables.leak",
        [{"model": "clean", "suites": ["sea"], "eps_255": [4]}],
        "tables.leak[0].model is 'clean', but needs a model",
    ),
    ("models.clean.epochs", "3", "models.clean.epochs should be a whole number, not '3'"),
    ("models.clean.epochs", 0, "models.clean.epochs should be greater than or equal to 1, not 0"),
    ("models.at_5.eps_255", -1, "models.at_5.eps_255 should be greater than or equal to 0, not -1"),
    ("models.at_5.eps_255", 256, "models.at_5.eps_255 should be less than or equal to 255"),
    ("models.at_5.steps", 0, "models.at_5 needs eps_255 and steps above 0 for the scheme at"),
    ("models.clean.steps", 2, "models.clean has the scheme clean, which takes neither eps_255"),
    ("models.at_5.scheme", "fgsm", "models.at_5.scheme should be 'clean', 'at', 'pir_at' or"),
    ("models.at_5.backbone", "resnet", "models.at_5.backbone is 'resnet', which is not one of"),
    ("models.at_5.backbone", "convnext_robust", "the scheme at starts from a clean one"),
    ("models.pir_at_5.backbone", "convnext_clean", "the scheme pir_at starts from a robust one"),
    ("models.at_5.dataset", "voc", "models.at_5.dataset is 'voc', which is not one of `data`"),
    ("models.at_5.dataset", "shapes", "models.at_5.dataset is 'shapes', a set of kind shapes, but"),
    ("models.at_5.training", "sgd", "models.at_5.training is 'sgd', which is not one of"),
    ("models.at_5.decoder", "fcn", "models.at_5.decoder should be 'upernet'"),
    ("models.at_5.decoder", "segmenter", "needs a backbone of one of the architectures vit_demo"),
    ("backbones.convnext_clean.dataset", "scenes", "needs one of kind shapes or cifar10: shapes"),
    ("backbones.convnext_robust.steps", 0, "backbones.convnext_robust needs both eps_255 and"),
    ("training.upernet.learning_rate", "1e-3", "and 1e-3 as 1.0e-3"),
    (
        f"{SUITE}.losses",
        ["dice"],
        "losses[0] is not a loss: unknown loss dice; choose one of ce, bal_ce",
    ),
    (
        f"{SUITE}.losses",
        ["js@0"],
        "losses[0] is not a loss: js@0: a margin must be above 0",
    ),
    (
        f"{SUITE}.losses",
        ["ce:0:1"],
        "losses[0] is not a loss: ce:0:1: only tsallis has q, at most 1",
    ),
    (f"{SUITE}.choices", ["best"], "choices[0] should be 'default', 'lambda_whole'"),
    (f"{SUITE}.losses", ["js", "js"], "the attack apgd-js-reduced-4, which is already in attacks"),
    (f"{SUITE}.losses", [], "attacks.suites.sea.losses needs at least 1 entry, not []"),
    (f"{SUITE}.iterations", [3], "names the attack apgd-mask_ce-reduced-3, which is already in"),
    (f"{SUITE}.iterations", [2], "needs at least 3 iterations"),
    (f"{SUITE}.step_size", {4: 0.01}, "attacks.suites.sea is refused"),
    ("attacks.shards", 0, "attacks.shards should be greater than or equal to 1, not 0"),
    ("attacks.suites.baselines.step_size", {8: 0.01}, "[0].eps_255 asks for 4, for which attacks"),
    (f"{READ}.eps_255", [-1], "tables.table9[0].eps_255[0] should be greater than 0, not -1"),
    (f"{READ}.eps_255", [300], "tables.table9[0].eps_255[0] should be less than or equal to 255"),
    (f"{READ}.eps_255", [4, 4.0], "tables.table9[0].eps_255 names 4.0 twice"),
    (f"{READ}.suites", ["square"], "tables.table9[0].suites is 'square', which is not one of"),
    (f"{READ}.eps_255", [], "tables.table9[0].eps_255 is empty, but sea needs at least one radius"),
    (READ.rpartition(".")[0], [], "tables.table9 reads nothing: name a model"),
    ("tables.table5", [{"model": "clean", "suites": ["sea"]}], "tables.table5 reads no evidence"),
    (
        "tables.table6.0.model",
        "clean",
        "table6[0].model is 'clean', which is not one of `backbones",
    ),
    ("tables.table6.0.suites", ["alma"], "names alma, which attacks no backbone: it is alma"),
    ("tables.table11.0.model", "at_5", "names transfer, one of whose sources is at_5 itself"),
    (
        "tables.leave_one_out.0.suites",
        ["objects"],
        "tables.leave_one_out reads no attack on pir_at_5; name a suite that attacks it",
    ),
    ("attacks.suites.transfer.sources", ["vit"], "transfer.sources is 'vit', which is not one of"),
    ("attacks.suites.transfer.sources", ["at_5", "at_5"], "transfer.sources names at_5 twice"),
    ("attacks.suites.transfer.loss", 1, "transfer.loss is not a known key; known here: kind, sour"),
    ("attacks.suites.transfer.iterations", [2], "attacks.suites.transfer is refused: attack apgd"),
    ("attacks.suites.alma.threshold", 1.5, "alma.threshold should be less than or equal to 1"),
    ("attacks.suites.alma.images", 3, "alma.images is 3, more than the 2 validation images of sce"),
    ("attacks.suites.alma.kind", "pixle", "alma has the kind 'pixle'; known are white_box, tra"),
    ("attacks.suites.blackbox.iterations", 0, "blackbox.iterations should be greater than or equa"),
    ("attacks.suites.blackbox.p_init", 0, "blackbox.p_init should be greater than 0, not 0"),
    ("tables.table6.0.suites", ["blackbox"], "names blackbox, which attacks no backbone: it is sq"),
    (
        "attacks.suites.doubt.of",
        "x",
        "attacks.suites.doubt.of is 'x', which is not one of `attacks.s",
    ),
    (
        "attacks.suites.doubt.of",
        "alma",
        "is 'alma', of kind alma, but needs one of kind white_box or",
    ),
    (
        "attacks.suites.doubt.of",
        "losses",
        "[0].suites names doubt without losses, which it doubts: a",
    ),
    ("attacks.suites.doubt.iterations", 2, "doubt.iterations should be greater than or equal to 3"),
    (
        "attacks.suites.doubt.sources",
        ["vit"],
        "doubt.sources is 'vit', which is not one of `models`",
    ),
    ("attacks.suites.doubt.sources", ["pir_at_5"], "one of whose sources is pir_at_5 itself"),
    (f"{READ}.suites", ["sea", "doubt"], "names doubt, a second opinion, which it does not show"),
    ("tables.table6.0.suites", ["doubt"], "names doubt, which attacks no backbone: it is doubt"),
    ("gallery.images", 3, "gallery.images is 3, more than the 2 validation images of"),
    ("gallery.eps_255", {"pir_at_5": [4, 4]}, "gallery.eps_255.pir_at_5 must ascend, each radius"),
    (
        "gallery.eps_255",
        {"vit": [4], "pir_at_5": [4]},
        "gallery.eps_255.vit is 'vit', which is not",
    ),
    ("pictures.figure8", ["clean"], "pictures.figure8 is 'clean', which is not one of `gallery.ep"),
    ("pictures.figure8", ["pir_at_5"] * 2, "pictures.figure8 names 2 models; it needs one"),
    ("pictures.figure1", ["vit"], "pictures.figure1 is 'vit', which is not one of `models`"),
    ("targeted", None, "pictures.figure1 needs the section `targeted`"),
    ("training.upernet.optimizer", "sgd", "training.upernet needs momentum with the optimizer sgd"),
    ("training.upernet.momentum", 0.9, "training.upernet has no momentum with the optimizer adamw"),
    ("training.upernet.betas", None, "training.upernet needs betas with the optimizer adamw"),
    ("training.upernet.images_per_pass", 3, "images_per_pass must divide the batch_size 4: 3 does"),
    ("training.upernet.images_per_pass", 1, "has passes of one image, of which the scheme half_at"),
    (
        "training.upernet.images_per_pass",
        1,
        "has passes of one image, but BatchNorm, in upernet_de",
    ),
    ("training.upernet.drop_path", 1.0, "training.upernet.drop_path should be less than 1, not 1"),
    ("training.upernet.betas", [1, 0.999], "upernet.betas[0] should be less than 1, not 1"),
    ("training.upernet.betas", [0.9, 1], "upernet.betas[1] should be less than 1, not 1"),
    ("training.upernet.momentum", 1, "training.upernet.momentum should be less than 1, not 1"),
    ("training.upernet.attack_loss", "dice", "training.upernet.attack_loss should be 'ce', 'bal_c"),
    ("training.upernet.precision", "fp16", "training.upernet.precision should be 'fp32' or 'bf16'"),
    (
        "models.clean.decoder",
        "segmenter",
        "training is 'upernet', which has an auxiliary_weight, b",
    ),
    ("training.backbone.learning_rate_ratio", 10.0, "learning_rate_ratio is for a decoder, which"),
    (f"{READ}.model", "vit", "tables.table9[0].model is 'vit', which is not one of `models`"),
    ("run", "reference", "run is 'reference', the folder of results kept with the code; choose"),
    ("run", "Reference", "run is 'Reference', the folder of results kept with the code; choose"),
    ("models", [], "models should be a section of keys, not []"),
    ("attacks", 3, "attacks should be a section of keys, not 3"),
    ("models.clean", 3, "models.clean should be a section of keys, not 3"),
    ("training.upernet", 3, "training.upernet should be a section of keys, not 3"),
    ("training_seeds", 0, "training_seeds should be a list, not 0"),
    ("training.upernet.betas", [0.9], "betas needs at least 2 entries, not [0.9]"),
    ("training.upernet.betas", [0.9] * 3, "betas has room for 2 entries, not [0.9, 0.9, 0.9]"),
    ("models.clean.background", "no", "models.clean.background should be true or false, not 'no'"),
    ("training.upernet.learning_rate", math.inf, "learning_rate should be a finite number, not "),
    ("training.upernet.learning_rate", math.nan, "learning_rate should be a finite number, not "),
    ("training.upernet.step_size", math.inf, "upernet.step_size should be a finite number, not i"),
    ("training.upernet.weight_decay", math.inf, "weight_decay should be a finite number, not inf"),
    ("attacks.suites.baselines.step_size", {4: math.inf}, "should be a finite number, not inf"),
    ("training.upernet.batch_size", 1000, "batch_size is 1000, more than the 8 training images of"),
    ("targeted.classes", ["grass"], "classes is 'grass', which is not one of the classes of scen"),
]


FOLDER = {"kind": "folder", "images": "images", "masks": "masks", "classes": "classes.txt"}
TRAIN = {"train_images": "images", "train_masks": "masks", "crop_px": 32, "base_px": 32}
SHOWN = ["background", "red plain"]
"""Classes that the configuration of the tests names."""
NO_LIST = "should be a file, a list of names or a number, not"

WRONG_FOLDERS = [
    (
        {"classes": "none.txt"},
        ".classes is refused: the file of classes none.txt is missing or not ",
    ),
    ({"classes": ["a", "a"]}, ".classes is refused: `classes` names the class 'a' twice"),
    ({"classes": 1}, ".classes is refused: `classes` names 1 classes; at least 2 are needed"),
    (
        {"classes": ["a", True]},
        f".classes is refused: `classes` {NO_LIST} ['a', True]; in YAML",
    ),
    ({"classes": None}, f".classes is refused: `classes` {NO_LIST} None"),
    (
        {"ignore": "255"},
        ".ignore should be a value of the masks, a list, others, or null, not '255'",
    ),
    ({"ignore": [-1]}, " is refused: `ignore` should hold values of masks, whole numbers from"),
    (
        {"classes": 256},
        " is refused: `ignore` is 255, which is the value of the class 'class 2",
    ),
    ({"images": "none"}, ".images is 'none', where no folder is; a relative path begins where"),
    (
        {"images": "classes.txt"},
        ".images is 'classes.txt', where no folder is; a relative path",
    ),
    ({"ids": "images"}, ".ids is 'images', where no file is; a relative path begins where sna"),
    (
        {"ids": "twice.txt"},
        ".ids is refused: the list of ids twice.txt names a twice; name eac",
    ),
    ({"resize_px": 8}, ".resize_px should be greater than or equal to 32, not 8"),
    ({"interpolation": "area"}, ".interpolation should be 'bilinear' or 'bicubic', not 'area'"),
    (
        {"root": "/"},
        ".root is not a known key; known here: kind, images, masks, classes, values",
    ),
    ({"train_images": "images"}, " has train_images, which need train_masks, crop_px, base_px"),
    (
        {"train_ids": "a", "crop_px": 32},
        " has crop_px, train_ids, for training alone, but no t",
    ),
]


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return a configuration with a folder of one's own, relative to where it is read."""
    monkeypatch.chdir(tmp_path)
    for name in ("images", "masks"):
        Path(name).mkdir()
    for number in range(5):
        Path("images", f"{number}.png").touch()
    Path("classes.txt").write_text("road 128 64 128\nsky 70 130 180\n")
    Path("twice.txt").write_text("a\na\n")
    config: dict[str, Any] = yaml.safe_load(MATCHBOX.read_text())
    config["data"]["mine"] = dict(FOLDER)
    return config


@pytest.mark.parametrize(("changes", "sentence"), WRONG_FOLDERS, ids=lambda one: str(one)[:30])
def test_wrong_folders_are_refused(
    changes: dict[str, Any], sentence: str, mine: dict[str, Any]
) -> None:
    mine["data"]["mine"] |= changes
    with pytest.raises(RobustsegError) as refusal:
        load(mine, Path("wrong.yaml"))
    (line,) = str(refusal.value).splitlines()
    assert line.startswith(f"wrong.yaml: data.mine{sentence}")


def test_classes_are_read_with_the_configuration(mine: dict[str, Any]) -> None:
    config = load(mine, Path("right.yaml"))
    data = config.data["mine"]
    assert (data.kind, data.num_classes, data.ignore) == ("folder", 2, 255)
    assert config.data_of("mine")["classes"] == ["road 128 64 128", "sky 70 130 180"]
    assert Config.model_validate(config.model_dump()) == config


def test_what_can_only_be_evaluated_is_not_trained_on(mine: dict[str, Any]) -> None:
    mine["models"]["at_5"]["dataset"] = "mine"
    del mine["attacks"]["suites"]["transfer"], mine["tables"]["table11"]
    says = r"models\.at_5\.dataset is 'mine', which has nothing to train on: give it train_images"
    with pytest.raises(RobustsegError, match=says) as refusal:
        load(mine, Path("wrong.yaml"))
    assert len(str(refusal.value).splitlines()) == 1
    mine["data"]["mine"] |= TRAIN
    assert load(mine, Path("right.yaml")).dataset_of("at_5") == "mine"


def test_released_weights_fit_a_folder_of_as_many_classes(mine: dict[str, Any]) -> None:
    mine["models"]["vit_s"] = VIT_S | {"dataset": "mine"}
    with pytest.raises(RobustsegError, match=r"is 'mine', which has not the 151 classes of pir_at"):
        load(mine, Path("wrong.yaml"))
    mine["data"]["mine"]["classes"] = 151
    assert load(mine, Path("right.yaml")).dataset_of("vit_s") == "mine"


def test_pictures_are_kept_of_at_most_255_classes(mine: dict[str, Any]) -> None:
    names = [*SHOWN, *map(str, range(254))]
    mine["data"]["scenes"] = FOLDER | TRAIN | {"classes": names[:255]}
    assert load(mine, Path("right.yaml")).gallery
    mine["data"]["scenes"] |= {"classes": names, "ignore": None}
    says = r"models\.pir_at_5 is on 256 classes, and attacked images are kept with at most 255"
    with pytest.raises(RobustsegError, match=says):
        load(mine, Path("wrong.yaml"))


def test_shards_are_no_more_than_a_folder_has_batches(mine: dict[str, Any]) -> None:
    mine["data"]["scenes"] = FOLDER | TRAIN | {"classes": SHOWN}
    mine["attacks"] |= {"shards": 8, "batch_size": 2}
    mine["attacks"]["suites"]["alma"]["images"] = 3
    config = load(mine, Path("right.yaml"))
    assert config.cut_of("sea", "pir_at_5") == (3, 2)
    assert config.cut_of("alma", "pir_at_5") == (2, 2)


ON_A_FOLDER = [
    ("training.upernet.batch_size", 6, "batch_size is 6, more than the 5 training images of mine"),
    ("attacks.suites.alma.images", 6, "alma.images is 6, more than the 5 validation images of mi"),
    ("gallery.images", 6, "gallery.images is 6, more than the 5 validation images of mine: lower"),
    ("targeted.images", 6, "targeted.images is 6, more than the 5 validation images of mine: lowe"),
    ("targeted.classes", ["zebra"], "is 'zebra', which is not one of the classes of mine: back"),
    (
        "data.mine.classes",
        ["red plain", "sky"],
        "models.clean_objects.background is false, but mine has no class 'background' to ignore",
    ),
    (
        "data.mine.classes",
        ["red plain", "sky"],
        "tables.appendix_c3[1].suites names objects, which leaves out the class 'background', and",
    ),
]


@pytest.fixture
def trained_on_mine(mine: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration whose models are all on a folder of five images."""
    mine["data"]["mine"] |= TRAIN | {"classes": SHOWN}
    for model in mine["models"].values():
        model["dataset"] = "mine"
    return mine


@pytest.mark.parametrize(("key", "value", "sentence"), ON_A_FOLDER)
def test_what_a_folder_lacks_is_said_before_anything_starts(
    key: str, value: Any, sentence: str, trained_on_mine: dict[str, Any]
) -> None:
    assert load(trained_on_mine, Path("right.yaml"))
    replace(trained_on_mine, key, value)
    with pytest.raises(RobustsegError) as refusal:
        load(trained_on_mine, Path("wrong.yaml"))
    assert sentence in str(refusal.value)


PUBLISHED = [
    ({"kind": "camvid"}, "clean_objects.background is false, but scenes has no class 'background'"),
    (
        {"kind": "ade20k", "background": "ignore"},
        "models.clean_objects.background is false, but scenes has no class 'background' to ignore",
    ),
    (
        {"kind": "camvid"},
        "classes is 'red plain', which is not one of the classes of scenes: sky, ",
    ),
    ({"kind": "voc"}, "classes is 'red plain', which is not one of the classes of scenes: backgro"),
    (
        {"kind": "camvid", "train_images": 3},
        "batch_size is 4, more than the 3 training images of scenes",
    ),
    (
        {"kind": "camvid", "val_images": 2},
        "gallery.images is 3, more than the 2 validation images of scenes",
    ),
]


@pytest.mark.parametrize(("data", "sentence"), PUBLISHED)
def test_what_a_published_data_set_lacks_is_said_before_anything_starts(
    data: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    config = yaml.safe_load(MATCHBOX.read_text())
    config["data"]["scenes"] = data
    config["gallery"]["images"] = 3
    with pytest.raises(RobustsegError) as refusal:
        load(config, tmp_path / "wrong.yaml")
    assert sentence in str(refusal.value)


def test_published_numbers_of_images_are_known(tmp_path: Path) -> None:
    config = yaml.safe_load(MATCHBOX.read_text())
    config["data"] |= {"voc": VOC, "ade20k": {"kind": "ade20k", "check_counts": False}}
    config["training"]["upernet"]["batch_size"] = 20_211
    config["gallery"] = {**config["gallery"], "images": 1450, "eps_255": {"clean": [4]}}
    for name, model in config["models"].items():
        model["dataset"] = "voc" if name == "clean" else "ade20k"
    with pytest.raises(RobustsegError) as refusal:
        load(config, tmp_path / "wrong.yaml")
    assert "is 20211, more than the 5623 training images of voc" in str(refusal.value)
    assert "is 1450, more than the 1449 validation images of voc" in str(refusal.value)
    assert "training images of ade20k" not in str(refusal.value)


def test_a_second_opinion_takes_all_images_where_there_are_fewer(
    trained_on_mine: dict[str, Any],
) -> None:
    trained_on_mine["attacks"]["suites"]["doubt"]["images"] = 6
    assert load(trained_on_mine, Path("right.yaml"))


def test_a_small_data_set_that_no_suite_is_read_on_is_no_obstacle(tmp_path: Path) -> None:
    config = yaml.safe_load(MATCHBOX.read_text())
    config["data"]["small"] = dict(config["data"]["scenes"])
    config["data"]["scenes"]["val_images"] = 3
    config["models"]["other"] = config["models"]["clean"] | {"dataset": "small"}
    for section in (config["attacks"]["suites"]["alma"], config["gallery"], config["targeted"]):
        section["images"] = 3
    config["tables"]["appendix_c3"].append({"model": "other", "suites": ["objects"]})
    assert load(config, tmp_path / "right.yaml").models["other"]
    config["tables"]["black_box"][0]["suites"] = ["blackbox", "sea", "alma"]
    config["tables"]["black_box"].append({"model": "other", "suites": ["alma"]})
    says = (
        r"attacks\.suites\.alma\.images is 3, more than the 2 validation images of small: lower it"
    )
    with pytest.raises(RobustsegError, match=says):
        load(config, tmp_path / "wrong.yaml")


def test_batch_norm_never_gets_a_single_image(tmp_path: Path) -> None:
    config = yaml.safe_load(MATCHBOX.read_text())
    single = config["training"]["backbone"] | {"images_per_pass": 1}
    config["training"] |= {"single": single}
    resnet = config["backbones"]["convnext_clean"] | {"training": "single"}
    config["backbones"]["resnet"] = resnet
    assert load(config, tmp_path / "convnext.yaml")
    resnet["architecture"] = "resnet_demo"
    says = (
        r"training\.single has passes of one image, but BatchNorm, in resnet_demo, needs at least"
    )
    with pytest.raises(RobustsegError, match=says):
        load(config, tmp_path / "wrong.yaml")
    config["data"]["shapes"]["size_px"] = 48  # two pixels are left at the end
    assert load(config, tmp_path / "larger.yaml")


def test_a_scheme_that_is_new_needs_passes_of_which_it_can_attack_its_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not by its name, which `half_at` had been refused by, but by its share."""
    monkeypatch.setitem(ADVERSARIAL_SHARE, "half_at", 0.2)
    config = yaml.safe_load(MATCHBOX.read_text())
    config["training"]["upernet"]["images_per_pass"] = 2
    with pytest.raises(RobustsegError, match=r"passes of 2 images, of which the scheme half_at"):
        load(config, tmp_path / "wrong.yaml")


def test_half_a_pass_that_is_attacked_in_the_mode_train_is_no_single_image(tmp_path: Path) -> None:
    config = yaml.safe_load(MATCHBOX.read_text())
    training = config["training"]["upernet"]
    training |= {"images_per_pass": 2}
    assert load(config, tmp_path / "eval.yaml")
    training |= {"attack_mode": "train"}
    says = (
        r"training\.upernet attacks one of 2 images of a pass, in the mode train, but BatchNorm, in"
    )
    with pytest.raises(RobustsegError, match=says):
        load(config, tmp_path / "wrong.yaml")
    training |= {"images_per_pass": 4}
    assert load(config, tmp_path / "more.yaml")


NO_ATTACK = {
    "step_size": 0.02,
    "attack_loss": "js",
    "attack_start": "random",
    "attack_mode": "train",
    "gradient_contamination": True,
}


@pytest.mark.parametrize("key", [*NO_ATTACK, "images_per_pass"])
def test_no_training_is_repeated_for_what_cannot_change_it(key: str, tmp_path: Path) -> None:
    config = yaml.safe_load(MATCHBOX.read_text())
    before = load(config, tmp_path / "before.yaml")
    for training in config["training"].values():
        training[key] = NO_ATTACK.get(key, training["batch_size"])
    after = load(config, tmp_path / "after.yaml")
    same = {
        name for name in before.trainings() if before.lineage_of(name) == after.lineage_of(name)
    }
    clean = {"convnext_clean", "clean", "clean_objects"}
    assert same == (set(before.trainings()) if key == "images_per_pass" else clean)
    for name in clean:
        one = after.models.get(name) or after.backbones[name]
        assert settings(before, one) == settings(after, one)


def test_what_decays_repeats_no_training_where_nothing_does(tmp_path: Path) -> None:
    config = yaml.safe_load(MATCHBOX.read_text())
    lineages = []
    for decay, of in ((0.0, "all"), (0.0, "matrices"), (0.1, "all"), (0.1, "matrices")):
        for training in config["training"].values():
            training |= {"weight_decay": decay, "weight_decay_of": of}
        lineages.append(load(config, tmp_path / f"{decay}_{of}.yaml").lineage_of("clean"))
    assert lineages[0] == lineages[1]
    assert lineages[2] != lineages[3]


def settings(config: Config, one: Any) -> TrainingSettings:
    scheme = getattr(one, "scheme", "clean")
    return settings_of(one.model_dump(), config.training_of(one), scheme, 0)


VOC = {"kind": "voc", "train_split": "noleak_5623"}

LACKING = {
    "table1": ("tables.table1.0.suites", ["sea"], "needs one run of loss cossim_ce, optimizer pgd"),
    "table2": ("tables.table2.0.suites", ["sea"], "needs one run of loss ce, optimizer apgd"),
    "table3": ("tables.table3.0.suites", ["losses"], "needs one run of loss mask_ce, optimizer ap"),
    "table4": ("tables.table4.0.suites", ["losses"], "needs one run of loss mask_ce, optimizer ap"),
    "table6": ("tables.table6.0.suites", ["alma"], "names alma, which attacks no backbone"),
    "table7": ("attacks.suites.baselines_100.iterations", [5], "give both suites the same iterat"),
    "table8": ("tables.table8.0.suites", ["sea"], "needs one run of loss ce, optimizer apgd"),
    "table9": ("tables.table9.0.suites", ["losses"], "needs one run of loss mask_ce, optimizer ap"),
    "table10": ("tables.table10.0.seeds", [0], "needs at least two attack seeds of pir_at_5 at 4"),
    "table11": ("tables.table11.0.suites", ["sea"], "reads no transfer to pir_at_5; name a suite"),
    "appendix_c3": ("tables.appendix_c3.0.suites", ["alma"], "needs one run of model clean, attac"),
    "black_box": ("tables.black_box.0.suites", ["sea"], "needs one run of optimizer square, model"),
    "second_opinions": (
        "tables.second_opinions.0.suites",
        ["sea"],
        "reads no second opinion on pir_at_5; name a suite of kind doubt",
    ),
    "by_class": (
        "tables.by_class.0.suites",
        ["losses"],
        "needs one run of loss mask_ce, optimizer",
    ),
    "each_attack": (
        "tables.each_attack.0.suites",
        ["objects"],
        "reads no attack on pir_at_5; name",
    ),
    "by_size": (
        "tables.by_size.0.suites",
        ["objects"],
        "reads no attack on pir_at_5 at a radius; name",
    ),
    "worst_miou": (
        "tables.worst_miou.0.suites",
        ["alma"],
        "reads no attack on pir_at_5 at a radius; name",
    ),
    "eccv_2024": ("tables.eccv_2024.0.suites", ["sea"], "needs one run of loss mask_ce_balanced"),
    "leave_one_out": (
        "attacks.suites.sea.losses",
        ["js"],
        "needs attacks of at least two losses on pir_at_5 at 4/255 and reads js alone",
    ),
    "strength": (
        "tables.strength.0.suites",
        ["alma"],
        "reads no attack on pir_at_5 at a radius; name",
    ),
    "strength_by_passes": (
        "figures.strength_by_passes",
        [
            {"model": "pir_at_5", "suites": ["sea"], "eps_255": [4], "seeds": [0, 1]},
            {"model": "pir_at_5", "suites": ["losses"], "eps_255": [4]},
        ],
        "compares suites with the same attack seeds, and reads [0, 1] of sea and [0] of losses",
    ),
    "logit_scales": (
        "attacks.suites.open.losses",
        ["js@10"],
        "needs a loss with one schedule and number of iterations on logits of two scales on pir_",
    ),
    "open_choices": (
        "attacks.suites.open.choices",
        ["js_by_ce"],
        "needs one run of model pir_at_5, eps_255 4.0, seed 0, attack apgd-js-reduced-6 and finds",
    ),
    "ablation_training": (
        "tables.ablation_training",
        [{"model": "pir_at_5", "suites": ["losses"], "eps_255": [4]}],
        "needs one run of loss mask_ce, optimizer apgd, schedule reduced",
    ),
    "leak": (
        "tables.leak",
        [
            {"model": "at_5", "suites": ["sea"], "eps_255": [4]},
            {"model": "pir_at_5", "suites": ["sea"], "eps_255": [8]},
        ],
        "compares models at the same radii, and reads",
    ),
    "figure2": ("figures.figure2.0.suites", ["sea"], "needs one run of loss mask_ce, optimizer ap"),
    "figure3": ("attacks.suites.schedules.schedules", ["constant"], "schedule restarts and finds"),
    "figure4": ("figures.figure4.0.suites", ["schedules"], "schedule reduced and finds none"),
    "figure5": ("attacks.suites.iterations.losses", ["js"], "loss mask_ce, optimizer apgd, sched"),
    "figure6": ("figures.figure6.0.suites", ["sea"], "needs one run of model pir_at_5, optimizer"),
}
"""What each table and figure misses when a thing that it needs is taken away."""


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, one in EXHIBITS.items()
        # This one shows whatever attacks there are, or none.
        if one.select is not None and name != "robustness"
    ],
)
def test_what_a_table_or_figure_needs_is_checked_when_the_configuration_is_read(
    name: str, tmp_path: Path
) -> None:
    assert name in LACKING, (
        f"{name} has no case here: add to LACKING a key of tests/workflow/matchbox.yaml, a value "
        "that takes away something that it needs, and the beginning of the sentence that says so"
    )
    key, value, sentence = LACKING[name]
    config = yaml.safe_load(MATCHBOX.read_text())
    if name == "leak":
        config["data"]["scenes"] = VOC
        config["targeted"] = config["pictures"] = None
        del config["targeted"], config["pictures"], config["gallery"]
    replace(config, key, value)
    with pytest.raises(RobustsegError) as refusal:
        load(config, tmp_path / "wrong.yaml")
    found = [line for line in str(refusal.value).splitlines() if sentence in line]
    assert found
    section = "figures" if name in FIGURES else "tables"
    assert any(f"wrong.yaml: {section}.{name}" in line for line in found), found


def test_a_second_model_is_refused_where_a_figure_shows_one(tmp_path: Path) -> None:
    config = yaml.safe_load(MATCHBOX.read_text())
    config["figures"]["figure2"].append({**config["figures"]["figure2"][0], "model": "at_5"})
    with pytest.raises(RobustsegError, match=r"figures\.figure2 shows one model and reads"):
        load(config, tmp_path / "wrong.yaml")


def test_two_second_opinions_at_one_place_are_refused(tmp_path: Path) -> None:
    config = yaml.safe_load(MATCHBOX.read_text())
    config["attacks"]["suites"]["doubt_longer"] = {
        **config["attacks"]["suites"]["doubt"], "iterations": 9,
    }  # fmt: skip
    config["tables"]["second_opinions"][0]["suites"].append("doubt_longer")
    says = (
        r"second_opinions shows one second opinion on a model at a radius, and reads 2 on pir_at_5"
    )
    with pytest.raises(RobustsegError, match=says):
        load(config, tmp_path / "wrong.yaml")


def test_a_second_opinion_is_on_all_radii_that_are_doubted(tmp_path: Path) -> None:
    """Whatever else the suite is read at, whether radii are together, and in one job a radius."""
    config = yaml.safe_load(MATCHBOX.read_text())
    config["tables"]["second_opinions"][0]["eps_255"] = [8, 2]
    config["attacks"] |= {"shards": 2, "batch_size": 1}
    for radii, files in (("apart", {"2", "8"}), ("together", {"2,4,8"})):
        config["attacks"]["radii"] = radii
        read = load(config, tmp_path / f"{radii}.yaml")
        doubts = [job for job in read.evidence_of("second_opinions") if job.suite == "doubt"]
        assert [(job.eps_255, job.shard) for job in doubts] == [(8, 0), (2, 0)]
        for job in doubts:
            assert read.doubted_radii(job) == [2, 8]
            clean, *attacks = read.doubted_by(job)
            assert clean.suite == "clean"
            assert [(one.eps_255, one.shard) for one in attacks] == [(2, 0), (2, 1), (8, 0), (8, 1)]
            assert {one.suite for one in attacks} == {"sea"}
            assert {read.wildcards_of(one)["eps_255"] for one in attacks} == files


def test_two_sources_of_one_scheme_are_refused(tmp_path: Path) -> None:
    config = yaml.safe_load(MATCHBOX.read_text())
    config["models"]["at_2"] = {**config["models"]["at_5"], "steps": 2}
    config["attacks"]["suites"]["transfer"]["sources"] = ["at_5", "at_2"]
    with pytest.raises(RobustsegError, match=r"tables\.table11 has one line for each training sch"):
        load(config, tmp_path / "wrong.yaml")


def test_needs_over_training_seeds_are_checked_too(tmp_path: Path) -> None:
    config = yaml.safe_load(MATCHBOX.read_text())
    config["seeds"]["figure2"][0]["suites"] = ["sea"]
    with pytest.raises(RobustsegError, match=r"seeds\.figure2 needs one run of loss mask_ce, opt"):
        load(config, tmp_path / "wrong.yaml")


def load(config: dict[str, Any], path: Path) -> Config:
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return load_config(read_yaml(path), [path])


@pytest.mark.parametrize(("key", "value", "sentence"), WRONG, ids=[f"{k}={v}" for k, v, _ in WRONG])
def test_wrong_values_are_refused(key: str, value: Any, sentence: str, tmp_path: Path) -> None:
    config = yaml.safe_load(MATCHBOX.read_text())
    replace(config, key, value)
    path = tmp_path / "wrong.yaml"
    with pytest.raises(RobustsegError) as refusal:
        load(config, path)
    lines = str(refusal.value).splitlines()
    assert any(sentence in line for line in lines)
    assert all(line.startswith(f"{path}: ") for line in lines)
    assert len(lines) <= 2  # one for each place that the wrong value spoils


def test_released_weights_have_one_training_seed(tmp_path: Path) -> None:
    config = yaml.safe_load(MATCHBOX.read_text())
    config["data"]["ade20k"] = {"kind": "ade20k"}
    config["models"]["vit_s"] = VIT_S | {"dataset": "ade20k"}
    config["seeds"]["table4"][0]["model"] = "vit_s"
    says = r"seeds\.table4\[0\]\.model is 'vit_s', whose released weights"
    with pytest.raises(RobustsegError, match=says):
        load(config, tmp_path / "wrong.yaml")


def test_released_weights_must_come_near_their_published_accuracy(tmp_path: Path) -> None:
    config = yaml.safe_load(MATCHBOX.read_text())
    config["data"]["ade20k"] = {"kind": "ade20k"}
    for own, least in (
        ({}, MODELS[VIT_S["weights"]].clean_accuracy),
        ({"min_clean_accuracy": 0}, 0),
    ):
        config["models"]["vit_s"] = VIT_S | {"dataset": "ade20k"} | own
        found = load(config, tmp_path / "right.yaml").min_clean_accuracy_of("vit_s")
        assert found is not None
        assert least - 5 <= found <= least


def test_a_throughput_that_was_measured_is_taken(tmp_path: Path) -> None:
    config = yaml.safe_load(MATCHBOX.read_text())
    config["throughput"] = str(tmp_path / "throughput.json")
    Path(config["throughput"]).touch()
    assert load(config, tmp_path / "right.yaml").throughput == config["throughput"]


def test_missing_keys_are_named(tmp_path: Path) -> None:
    config = yaml.safe_load(MATCHBOX.read_text())
    del config["models"]["clean"]["epochs"]
    with pytest.raises(RobustsegError, match=r"models\.clean\.epochs is missing$"):
        load(config, tmp_path / "wrong.yaml")


def test_every_problem_is_said_at_once(tmp_path: Path) -> None:
    config = yaml.safe_load(MATCHBOX.read_text())
    config["models"]["clean"]["backbone"] = config["models"]["at_5"]["backbone"] = "resnet"
    with pytest.raises(RobustsegError) as refusal:
        load(config, tmp_path / "wrong.yaml")
    assert len(str(refusal.value).splitlines()) == 2


def test_a_suite_named_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "twice.yaml"
    path.write_text("attacks:\n  suites:\n    sea: {}\n    sea: {}\n")
    with pytest.raises(RobustsegError, match=r"twice\.yaml, line 4: the key sea is there twice"):
        read_yaml(path)


def test_what_is_not_yaml_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text("models: [")
    with pytest.raises(RobustsegError, match=r"broken\.yaml is not YAML"):
        read_yaml(path)


def test_the_file_with_the_wrong_key_is_named(tmp_path: Path) -> None:
    change = tmp_path / "change.yaml"
    change.write_text("models: {clean: {epochs: 0}}")
    config = yaml.safe_load(MATCHBOX.read_text())
    config["models"]["clean"]["epochs"] = 0
    with pytest.raises(RobustsegError, match=r"change\.yaml: models\.clean\.epochs"):
        load_config(config, [MATCHBOX, change])


def test_null_takes_an_entry_of_an_earlier_file_away(tmp_path: Path) -> None:
    config, change = yaml.safe_load(MATCHBOX.read_text()), tmp_path / "change.yaml"
    config["tables"]["table11"] = config["attacks"]["suites"]["transfer"] = None
    change.write_text("tables: {table11: null}\nattacks: {suites: {transfer: null}}\n")
    smaller = load_config(config, [MATCHBOX, change])
    assert "table11" not in smaller.tables
    assert "transfer" not in smaller.attacks.suites
    assert "table10" in smaller.tables


def test_an_entry_that_is_empty_in_all_files_is_refused(tmp_path: Path) -> None:
    config = yaml.safe_load(MATCHBOX.read_text())
    config["tables"]["table5"] = None
    with pytest.raises(RobustsegError, match=r"tables\.table5 should be a list, not None"):
        load(config, tmp_path / "wrong.yaml")


def test_what_no_file_says_is_from_the_command_line(tmp_path: Path) -> None:
    config = yaml.safe_load(MATCHBOX.read_text())
    config |= {"foo": 1, "run": "a/b"}
    with pytest.raises(RobustsegError) as refusal:
        load_config(config, [MATCHBOX])
    lines = str(refusal.value).splitlines()
    assert sorted(line.split()[:2] for line in lines) == [
        ["--config:", "foo"],
        ["--config:", "run"],
    ]


@pytest.mark.parametrize("name", ["config.yaml", "demo.yaml", "gpu.yaml"])
def test_committed_configurations_are_right(name: str) -> None:
    path = ROOT / "config" / name
    config = load_config(read_yaml(path), [path])
    paper = (
        name == "config.yaml"
    )  # which trains once, and where ImageNet is only there if you add it
    of_the_paper = {name for name, table in TABLES.items() if table.in_paper}
    assert set(config.tables) >= of_the_paper - ({"table6"} if paper else set())
    assert ("table6" in config.tables) != paper
    assert set(config.figures) >= {name for name, figure in FIGURES.items() if figure.in_paper}
    ade20k = {"figure9", "figure10"} if paper else set()
    assert set(config.pictures) == {"figure1", "figure7", "figure8"} | ade20k
    assert config.seeds or name == "gpu.yaml" or paper


def test_each_model_of_the_ablation_differs_from_the_first_in_one_setting() -> None:
    path = ROOT / "config" / "ablation.yaml"
    models = load_config(read_yaml(path), [path]).models_of("ablation_training")
    first, *others = models.values()
    changed = [
        {key: value for key, value in other.items() if value != first[key] and key != "training"}
        for other in others
    ]
    assert {frozenset(change.items()) for change in changed} == {
        frozenset({("gradient_contamination", True)}),
        frozenset({("attack_start", "random")}),
        frozenset({("attack_mode", "train")}),
        *(frozenset({("attack_loss", loss)}) for loss in PAPER_LOSSES if loss != "ce"),
    }


def test_the_default_is_the_papers_protocol() -> None:
    config = Config.model_validate(read_yaml(ROOT / "config" / "config.yaml"))
    suites = config.attacks.suites
    assert suites["sea"].iterations == suites["baselines"].iterations == [300]
    assert suites["losses"].iterations == suites["baselines_100"].iterations == [100]
    assert suites["iterations"].iterations == [50, 100, 500]
    # App. B.1 and C.1
    assert suites["baselines"].step_size == {2: 2e-3, 4: 4e-3, 8: 5e-3, 12: 6e-3}
    assert suites["baselines_100"].step_size == {4: 5e-3, 8: 1e-2, 12: 1e-2, 16: 1e-2}
    assert config.tables["table10"][0].seeds == [0, 1, 2, 3, 4]
    assert config.tables["table2"][0].eps_255 == [0.25, 0.5, 1, 2]


def test_the_documentation_is_the_schema() -> None:
    same = (ROOT / "docs" / "config.md").read_text() == describe()
    assert same, "docs/config.md is out of date: run `make docs`"


def test_published_weights_alone_are_fetched_for_a_model_of_one_s_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = read_yaml(ROOT / "config" / "street.yaml")
    monkeypatch.chdir(tmp_path)
    loads = Path("examples/espnet_camvid/espnet.py")
    loads.parent.mkdir(parents=True)
    loads.write_text("loads")
    published, mine = Path("data/weights/espnet_p_2_q_8_camvid.pth"), Path("data/weights/mine.pth")
    for weights, is_there, fetched, known in (
        (published, False, published.name, [loads]),
        (published, True, published.name, [loads]),
        (Path("elsewhere", published.name), True, None, [loads, "weights"]),
        (mine, True, None, [loads, "weights"]),
    ):
        config["models"]["espnet"]["weights"] = str(weights)
        weights.parent.mkdir(parents=True, exist_ok=True)
        if is_there:
            weights.write_text("weights")
        read = load(config, tmp_path / "street.yaml")
        assert read.fetched_of("espnet") == fetched
        contents = {str(weights if one == "weights" else one) for one in known}
        assert set((read.own_of("espnet") or {})["contents"]) == contents


def test_what_a_page_shows_leaves_out_where_copies_lie() -> None:
    config = yaml.safe_load((ROOT / "config" / "street.yaml").read_text())
    config["data"]["camvid"]["root"] = config["data"]["cifar10"]["root"] = "/my/copies"
    config["downloads"] = {
        "weights": {"espnet_p_2_q_8_camvid.pth": {"urls": ["file:///my/copies"]}}
    }
    read = load_config(config, [])
    assert read.data["camvid"].root == "/my/copies"
    assert "/my/copies" not in json.dumps(read.to_show())
    assert read.to_show()["data"]["camvid"]["resize_px"] == 120


def test_editors_have_the_schema_of_today() -> None:
    same = (ROOT / "config" / "schema.json").read_text() == json_schema()
    assert same, "config/schema.json is out of date: run `make docs`"


NO_CONFIGURATIONS = {"claims.yaml", "street_pictures.yaml"}
"""The second is only a part of one."""
CONFIGURATIONS = [
    path for path in sorted((ROOT / "config").glob("*.yaml")) if path.name not in NO_CONFIGURATIONS
]


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: path.name)
def test_an_editor_finds_nothing_wrong_with_a_committed_configuration(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# yaml-language-server: $schema=schema.json\n")
    found = json.loads(json.dumps(yaml.safe_load(text)))  # keys are text there
    jsonschema.validate(found, json.loads(json_schema()))


@pytest.mark.parametrize(
    ("key", "value"),
    [("foo", 1), ("models.clean.epochs", "3"), ("models.clean.kind", "x"), ("tables.table99", [])],
)
def test_an_editor_marks_what_is_refused(key: str, value: Any) -> None:
    config = yaml.safe_load(MATCHBOX.read_text())
    replace(config, key, value)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(json.loads(json.dumps(config)), json.loads(json_schema()))


def test_a_person_sees_a_sentence_and_no_traceback(tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    config = yaml.safe_load(MATCHBOX.read_text())
    config["attacks"]["suites"]["sea"]["losses"] = ["dice"]
    path.write_text(yaml.safe_dump(config))
    run = snakemake("--dry-run", "--configfile", path, folder=tmp_path)
    assert run.returncode == 1
    assert f"{path}: attacks.suites.sea.losses[0] is not a loss: unknown loss dice" in run.stdout
    assert "Traceback" not in run.stdout
    assert not (tmp_path / "results").exists()


def test_every_pattern_is_said_in_words() -> None:
    def patterns(schema: Any) -> set[str]:
        inner = schema.values() if isinstance(schema, dict) else schema
        found = {schema["pattern"]} if isinstance(schema, dict) and "pattern" in schema else set()
        nested = (patterns(one) for one in inner if isinstance(one, dict | list))
        return {one for one in found if isinstance(one, str)}.union(*nested)

    sections = (Config, ClaimsFile, Submission)
    every = set().union(*(patterns(one.model_json_schema()) for one in sections))
    assert len(every) > 5
    assert every <= set(PATTERNS)
