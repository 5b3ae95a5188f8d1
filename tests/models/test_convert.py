"""Published weights become the project's: each key used or dropped with a reason, none invented."""

import json
import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from timm import create_model

from robustseg.errors import RobustsegError
from robustseg.files import sha256
from robustseg.models.checkpoints import load_network
from robustseg.models.convert import Conversion, write_report
from robustseg.models.convert import convert as convert_verified
from robustseg.models.interpolation import resize
from robustseg.models.key_names import KEY_NAMES, rename
from robustseg.models.published import CLASSIFIERS, ESPNET_CAMVID, FILES, MODELS
from robustseg.models.registry import BACKBONES, DECODERS, backbones_for
from robustseg.models.unpickling import read_checkpoint
from tests.models.published_keys import SEGMENTATION, classifier_state, column, published_state

SMALL = "pir_at_5_128ep_segmenter_vit_s"


def convert(weights: str, source: Path, target: Path) -> Conversion:
    return convert_verified(weights, source, target, sha256(source))


def accounted(conversion, state):
    """Check that each key of the file has one fate."""
    fates = [*conversion.renamed, *conversion.kept, *conversion.dropped]
    assert sorted(fates) == sorted(state)
    assert conversion.fresh == []
    assert all(conversion.dropped.values())


@pytest.mark.parametrize("weights", SEGMENTATION)
def test_every_key_of_a_released_model_is_used(weights, tmp_path):
    state, target = published_state(weights), tmp_path / "weights.safetensors"
    content = {"state_dict": {f"module.{k}": v for k, v in state.items()}, "epoch": 50}
    plain = MODELS[weights].naming != "pspnet"
    torch.save(state if plain else content, tmp_path / "file")
    conversion = convert(weights, tmp_path / "file", target)
    accounted(conversion, state if plain else content["state_dict"])
    model, metadata = load_network(target)
    assert metadata["published"] == {
        "weights": weights,
        "file": "file",
        "sha256": sha256(tmp_path / "file"),
    }
    after = model.state_dict()
    names = conversion.renamed | {key: key for key in conversion.kept}
    assert sorted(names.values()) == sorted(after)
    for old, new in names.items():
        assert torch.equal(after[new], state[old.removeprefix("module.")])
    unused = {key.split(".")[0] for key in conversion.dropped}
    if weights == SMALL:
        assert sorted(conversion.dropped) == ["encoder.head.bias", "encoder.head.weight"]
    elif plain:
        assert not unused
    else:
        branches = {key.split(".")[1] for key in conversion.dropped}
        assert branches == {"mask1", "cls2"}


def test_some_weights_are_where_they_belong():
    """Independent of the namings' patterns: pairs that were matched by hand."""
    pairs = {
        "pir_at_5_50ep_upernet_convnext_t": [
            ("backbone.downsample_layers.0.stem.3.weight", "backbone.stem.stem.3.weight"),
            ("backbone.downsample_layers.2.1.bias", "backbone.stages.2.downsample.1.bias"),
            ("backbone.stages.2.8.dwconv.weight", "backbone.stages.2.blocks.8.conv_dw.weight"),
            ("backbone.stages.3.0.pwconv2.bias", "backbone.stages.3.blocks.0.mlp.fc2.bias"),
            ("backbone.stages.0.1.gamma", "backbone.stages.0.blocks.1.gamma"),
            ("backbone.norm3.weight", "norms.3.weight"),
            ("decode_head.classifier.weight", "decode_head.classifier.weight"),
        ],
        SMALL: [
            ("encoder.pos_embed", "backbone.pos_embed"),
            ("decoder.proj_patch", "decode_head.project_patches"),
            ("decoder.proj_classes", "decode_head.project_classes"),
            ("decoder.proj_dec.weight", "decode_head.project.weight"),
            ("decoder.decoder_norm.bias", "decode_head.norm.bias"),
            ("decoder.blocks.1.attn.qkv.weight", "decode_head.blocks.1.attn.qkv.weight"),
        ],
        "ddc_at_3_50ep_pspnet_resnet50": [
            ("layer0.6.weight", "backbone.conv1.6.weight"),
            ("layer0.7.running_mean", "backbone.bn1.running_mean"),
            ("layer4.0.downsample.1.running_var", "backbone.layer4.0.downsample.1.running_var"),
            ("ppm.features.2.1.weight", "decode_head.pyramid.2.1.conv.weight"),
            ("ppm.features.2.2.bias", "decode_head.pyramid.2.1.batch_norm.bias"),
            ("cls1.4.weight", "decode_head.classifier.2.weight"),
            ("aux_cls1.0.weight", "auxiliary_head.0.conv.weight"),
        ],
    }
    for weights, expected in pairs.items():
        naming = rename(published_state(weights), MODELS[weights].naming, "file")
        for old, new in expected:
            assert naming.new_names[old] == new


def test_ddc_at_takes_images_in_0_1_and_its_archive_as_it_is(tmp_path):
    weights = "ddc_at_3_50ep_pspnet_resnet50"
    state = {f"module.{key}": tensor for key, tensor in published_state(weights).items()}
    torch.save({"epoch": 50, "state_dict": state}, tmp_path / "one.pth")
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        path = "pretrained_model/pretrain/voc2012/pspnet"
        archive.write(tmp_path / "one.pth", f"{path}/ddcat/train_epoch_50.pth")
        archive.writestr(f"{path}/sat/train_epoch_50.pth", b"another")
    packed = convert(weights, tmp_path / "all.zip", tmp_path / "packed.safetensors")
    bare = convert(weights, tmp_path / "one.pth", tmp_path / "bare.safetensors")
    assert packed.renamed == bare.renamed
    model, metadata = load_network(tmp_path / "packed.safetensors")
    assert metadata["architecture"]["mean"] == [0.485, 0.456, 0.406]
    assert (tmp_path / "one.pth").stat().st_size > 2**20

    # RGB 0..255, minus 255 * mean, over 255 * std
    images = torch.rand(1, 3, 57, 57)
    mean, std = column([0.485, 0.456, 0.406]), column([0.229, 0.224, 0.225])
    as_published = (255 * images - 255 * mean) / (255 * std)
    with torch.no_grad():
        coarse, _ = model.segment(as_published, auxiliary=False)
        expected = resize(coarse, (57, 57), align_corners=True)
        assert torch.allclose(model(images), expected, atol=1e-3)

    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("readme", b"")
    with pytest.raises(RobustsegError, match=r"all\.zip has 0 files voc2012/pspnet/ddcat"):
        convert(weights, tmp_path / "all.zip", tmp_path / "packed.safetensors")


def test_plain_training_of_the_same_authors_has_other_names(tmp_path):
    state = OrderedDict()
    for key, tensor in published_state("ddc_at_3_50ep_pspnet_resnet50").items():
        if not key.startswith(("mask1", "cls2")):
            new = key.replace("aux_cls1", "aux").replace("cls1", "cls")
            state[f"module.{new}"] = tensor
    torch.save({"state_dict": state}, tmp_path / "sat.pth")
    conversion = convert("at_3_50ep_pspnet_resnet50", tmp_path / "sat.pth", tmp_path / "w")
    accounted(conversion, state)
    assert not conversion.dropped


CLASSIFIER_FILES = {
    "convnext_t_cvst_robust": ("base_model.", {}),
    "convnext_t_cvst_clean": ("module.", {}),
    "convnext_s_cvst_robust": ("base_model.", {}),
    "convnext_b_cvst_robust": ("base_model.", {}),
    "vit_s_robust": ("base_model.model.", {"base_normalize.": ("mean", "std")}),
}


@pytest.mark.parametrize("weights", CLASSIFIER_FILES)
def test_classifiers_keep_all_weights_and_know_their_input(weights, tmp_path):
    prefix, normaliser = CLASSIFIER_FILES[weights]
    state = classifier_state(CLASSIFIERS[weights].architecture, prefix)
    for name, (mean, std) in normaliser.items():
        state[name + mean], state[name + std] = column([0.4, 0.5, 0.6]), column([0.2, 0.3, 0.4])
    torch.save(state, tmp_path / "file.pt")
    conversion = convert(weights, tmp_path / "file.pt", tmp_path / "weights")
    accounted(conversion, state)
    assert len(conversion.dropped) == 2 * len(normaliser)
    assert (conversion.input_mean is not None) == bool(normaliser)
    classifier, _ = load_network(tmp_path / "weights")
    for key, tensor in classifier.state_dict().items():
        assert torch.equal(tensor, state[prefix + key])


def test_timms_vit_reads_what_timm_reads(tmp_path):
    torch.manual_seed(0)
    timms = create_model("vit_small_patch16_224", pretrained=False).eval()
    save_file(timms.state_dict(), tmp_path / "model.safetensors")
    conversion = convert("vit_s_clean", tmp_path / "model.safetensors", tmp_path / "weights")
    assert conversion.renamed == conversion.dropped == {}
    own, _ = load_network(tmp_path / "weights")
    images = torch.rand(1, 3, 224, 224)
    with torch.no_grad():
        assert torch.allclose(own(images), timms(images * 2 - 1), atol=1e-4)


class Evil:
    """What a hostile checkpoint may hold: a call of our choice, made while it is read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self):
        return (os.mkdir, (str(self.folder / "executed"),))


def robustness_checkpoint(folder: Path) -> dict:
    """As the library `robustness` writes it: two copies, normalisers, optimizer, functions."""
    state = OrderedDict()
    for name in ("normalizer", "attacker.normalize"):
        state[f"module.{name}.new_mean"] = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
        state[f"module.{name}.new_std"] = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    weights = classifier_state("resnet50")
    for name in ("model", "attacker.model"):
        state |= {f"module.{name}.{key}": tensor for key, tensor in weights.items()}
    return {"model": state, "schedule": Evil(folder), "epoch": 90, "optimizer": {"x": [1]}}


@pytest.mark.parametrize("zipped", [True, False])
def test_salmans_checkpoint_is_read_and_its_functions_are_not_made(zipped, tmp_path):
    content = robustness_checkpoint(tmp_path)
    path = tmp_path / "resnet.ckpt"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    conversion = convert("resnet50_robust", path, tmp_path / "weights")
    assert not (tmp_path / "executed").exists()
    accounted(conversion, content["model"])
    assert conversion.input_std == pytest.approx([0.229, 0.224, 0.225])
    assert conversion.dropped["module.attacker.model.conv1.weight"].startswith("a second copy")
    classifier, _ = load_network(tmp_path / "weights")
    assert torch.equal(classifier.fc.bias, content["model"]["module.model.fc.bias"])


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_with_code_is_refused_and_not_executed(zipped, tmp_path):
    state = published_state(SMALL) | {"encoder.evil": Evil(tmp_path)}
    path = tmp_path / "evil.pth"
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(
        RobustsegError, match=r"evil\.pth is refused: its pickle asks for"
    ) as caught:
        convert(SMALL, path, tmp_path / "weights")
    assert "\n" not in str(caught.value)
    assert "mkdir" in str(caught.value)
    path.write_bytes(pickle.dumps(Evil(tmp_path)))
    with pytest.raises(RobustsegError, match=r"evil\.pth"):
        convert(SMALL, path, tmp_path / "weights")
    assert not (tmp_path / "executed").exists()
    assert not (tmp_path / "weights").exists()


def test_a_pickle_with_code_among_salmans_weights_is_refused(tmp_path):
    content = robustness_checkpoint(tmp_path)
    content["model"]["module.model.fc.bias"] = Evil(tmp_path)
    torch.save(content, tmp_path / "evil.ckpt")
    with pytest.raises(RobustsegError, match=r"module\.model\.fc\.bias is inert and no weight"):
        read_checkpoint(tmp_path / "evil.ckpt", other_objects=True)
    assert not (tmp_path / "executed").exists()


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_a_program_is_not_run(tmp_path):
    torch.jit.script(torch.nn.Linear(1, 1)).save(str(tmp_path / "program.pt"))
    for other_objects in (True, False):
        with pytest.raises(RobustsegError, match=r"program\.pt is"):
            read_checkpoint(tmp_path / "program.pt", other_objects)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.pop("decoder.mask_norm.bias"), r"lacks the weight decode_head\.mask_norm\.bi"),
        (
            lambda s: s.update(extra=s["decoder.cls_emb"]),
            "has a weight extra, which the naming segmenter does not know",
        ),
        (
            lambda s: s.update({"encoder.blocks.12.norm1.bias": torch.zeros(384)}),
            r"has a weight encoder\.blocks\.12\.norm1\.bias that the network does not know",
        ),
        (
            lambda s: s.update({"decoder.cls_emb": torch.zeros(1, 150, 384)}),
            r"weight decoder\.cls_emb has shape \(1, 150, 384\), .* needs \(1, 151, 384\)",
        ),
        (lambda s: s.update({"decoder.cls_emb": 3}), r"decoder\.cls_emb is int and no weight"),
    ],
)
def test_a_key_too_few_too_many_or_of_another_shape_is_named(change, words, tmp_path):
    state = published_state(SMALL)
    change(state)
    torch.save(state, tmp_path / "file.pth")
    with pytest.raises(RobustsegError, match=words) as caught:
        convert(SMALL, tmp_path / "file.pth", tmp_path / "weights")
    assert str(tmp_path / "file.pth") in str(caught.value)
    assert not (tmp_path / "weights").exists()


def test_a_network_of_several_gpus_has_the_same_names():
    keys = list(published_state(SMALL))
    plain = rename(keys, "segmenter", "file").new_names
    wrapped = rename([f"module.{key}" for key in keys], "segmenter", "file").new_names
    assert wrapped == {f"module.{old}": new for old, new in plain.items()}
    with pytest.raises(RobustsegError, match=r"has a weight module\.encoder\.cls_token, which"):
        rename([*keys, "module.encoder.cls_token"], "segmenter", "file")


def test_two_keys_for_one_weight_are_refused():
    with pytest.raises(RobustsegError, match=r"has both model\.fc\.bias and fc\.bias for one"):
        rename(["model.fc.bias", "fc.bias"], "classifier", "file")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
@pytest.mark.parametrize("kind", ["zip", "legacy", "salman", "safetensors"])
def test_truncated_files_get_one_sentence(share, kind, tmp_path):
    path = tmp_path / ("file.safetensors" if kind == "safetensors" else "file.pth")
    state = {"a": torch.rand(1000)}
    if kind == "safetensors":
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=kind == "zip")
    os.truncate(path, int(path.stat().st_size * share))
    with pytest.raises(RobustsegError, match=r"file\.\w+ is ") as caught:
        read_checkpoint(path, other_objects=kind == "salman")
    assert "\n" not in str(caught.value)
    assert "fetch it again" in str(caught.value) or "do not trust" in str(caught.value)


@pytest.mark.parametrize("content", [[torch.zeros(1)], {}, {"model": {}}, torch.zeros(1)])
def test_a_checkpoint_without_weights_by_name_is_refused(content, tmp_path):
    torch.save(content, tmp_path / "file.pth")
    with pytest.raises(RobustsegError, match=r"file\.pth"):
        read_checkpoint(tmp_path / "file.pth")


def test_the_report_is_json(tmp_path):
    torch.save(published_state(SMALL), tmp_path / "file.pth")
    conversion = convert(SMALL, tmp_path / "file.pth", tmp_path / "weights")
    write_report(tmp_path / "report.json", conversion)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["renamed"]["encoder.cls_token"] == "backbone.cls_token"
    assert report["fresh"] == []
    assert str(conversion) == "183 weights used (183 renamed), 2 dropped"


def test_the_registry_is_complete():
    for weights in (CLASSIFIERS | MODELS).values():
        assert weights.file in FILES
        assert weights.naming in KEY_NAMES
        assert weights.architecture in BACKBONES
    for model in MODELS.values():
        assert model.decoder in DECODERS
        assert model.architecture in backbones_for(model.decoder)
    files = {weights.file for weights in (CLASSIFIERS | MODELS).values()}
    assert files | {ESPNET_CAMVID} == set(FILES)


NOT_IN_THE_PAPER = (
    "convnext_s_cvst_clean",
    "convnext_b_cvst_robust",
    "convnext_l_cvst_robust",
    "pir_at_5_128ep_upernet_convnext_s",
)


def test_the_expected_accuracies_are_the_papers():
    from tests.workflow.running import ROOT

    reported = {}
    for table in ("table3", "table6"):
        for line in (ROOT / "config" / "paper" / f"{table}.csv").read_text().splitlines()[1:]:
            _, _, model, attack, _, metric, value, *_ = line.split(",")
            if (attack, metric) == ("clean", "acc"):
                reported[model] = float(value)
    for name, weights in (CLASSIFIERS | MODELS).items():
        if name not in NOT_IN_THE_PAPER:
            assert weights.clean_accuracy == reported[name]
