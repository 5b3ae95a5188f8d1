"""Networks of other libraries, at random weights, against the library's own way to logits."""

import doctest
import functools
import shutil
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import segmentation as torchvision_nets
from torchvision.transforms.functional import normalize

from robustseg.attacks.ensemble import sea
from robustseg.attacks.outcomes import count
from robustseg.errors import RobustsegError
from robustseg.evaluation.over_batches import on_device
from robustseg.metrics import miou
from robustseg.models import wrap as module
from robustseg.models.build import build_segmentation_model
from robustseg.models.modules_behind import modules_behind
from robustseg.models.wrap import wrap
from robustseg.names import IMAGENET_MEAN, IMAGENET_STD

CLASSES = 5
PLAIN = {"weights": None, "weights_backbone": None, "num_classes": CLASSES}
IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
NORMALISED = normalize(IMAGES, IMAGENET_MEAN, IMAGENET_STD)
IMAGENET = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}

pytestmark = pytest.mark.filterwarnings("ignore")


def seeded(make: Callable[[], Any]) -> Any:
    torch.manual_seed(0)
    return make().eval()


def conv(outputs: int = CLASSES, **settings: Any) -> nn.Module:
    return seeded(lambda: nn.Conv2d(3, outputs, **({"kernel_size": 3, "padding": 1} | settings)))


def resized(logits: Tensor, height: int = 64, width: int = 64) -> Tensor:
    return functional.interpolate(logits, (height, width), mode="bilinear", align_corners=False)


def refused(call: Callable[[], Any], says: str) -> None:
    with pytest.raises(RobustsegError) as caught:
        call()
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def works(model: nn.Module, images: Tensor = IMAGES) -> Tensor:
    """Return the logits, after a look at the image's gradient and at an attack."""
    leaf = images.clone().requires_grad_()
    logits = model(leaf)
    logits.square().mean().backward()
    assert leaf.grad is not None
    assert leaf.grad.isfinite().all()
    assert (leaf.grad != 0).double().mean() > 0.5
    labels = logits.detach().argmax(1)
    result = sea(model, images, labels, 8, losses=["js@10"], iterations=3)
    assert result.clean_acc == 1
    assert result.acc <= 1
    assert result.warnings == []
    return logits.detach()


@pytest.mark.parametrize(
    "name", ["fcn_resnet50", "deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large"]
)
def test_torchvision(name: str) -> None:
    net = seeded(lambda: getattr(torchvision_nets, name)(**PLAIN))
    with torch.no_grad():
        expected = net(NORMALISED)["out"]
    torch.testing.assert_close(works(wrap(net, **IMAGENET)), expected)


def transformers_nets() -> dict[str, tuple[Callable[[Any], nn.Module], str]]:
    """Return tiny networks, each with the image processor whose post-processing is its own."""
    few = {"num_labels": CLASSES}
    stages = {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 16, 24, 32]}
    vit = {"image_size": 64, "hidden_size": 32, "num_hidden_layers": 4, "intermediate_size": 64}
    vit |= {"num_attention_heads": 2, "use_auxiliary_head": False}
    outputs = {"out_features": ["stage1", "stage2", "stage3", "stage4"]}

    def segformer(lib: Any) -> nn.Module:
        sizes = {"decoder_hidden_size": 16, "num_attention_heads": [1, 1, 2, 4]}
        return lib.SegformerForSemanticSegmentation(lib.SegformerConfig(**stages, **sizes, **few))

    def upernet(lib: Any) -> nn.Module:
        backbone = lib.ConvNextConfig(**stages, **outputs)
        sizes = {"hidden_size": 16, "auxiliary_channels": 8, "auxiliary_in_channels": 24}
        config = lib.UperNetConfig(backbone_config=backbone, **sizes, **few)
        return lib.UperNetForSemanticSegmentation(config)

    def beit(lib: Any) -> nn.Module:
        config = lib.BeitConfig(patch_size=16, out_indices=[1, 2, 3, 4], **vit, **few)
        return lib.BeitForSemanticSegmentation(config)

    def dpt(lib: Any) -> nn.Module:
        sizes = {"neck_hidden_sizes": [8, 8, 16, 16], "fusion_hidden_size": 16}
        config = lib.DPTConfig(backbone_out_indices=[0, 1, 2, 3], **sizes, **vit, **few)
        return lib.DPTForSemanticSegmentation(config)

    return {
        "segformer": (segformer, "SegformerImageProcessor"),
        "upernet": (upernet, "SegformerImageProcessor"),
        "beit": (beit, "BeitImageProcessor"),
        "dpt": (dpt, "DPTImageProcessor"),
    }


@pytest.mark.parametrize("name", ["segformer", "upernet", "beit", "dpt"])
def test_transformers(name: str) -> None:
    library = pytest.importorskip("transformers")
    make, processor = transformers_nets()[name]
    net = seeded(lambda: make(library))
    logits = works(wrap(net, **IMAGENET))
    with torch.no_grad():
        outputs = net(pixel_values=NORMALISED)
    torch.testing.assert_close(logits, resized(outputs.logits))
    process = getattr(library, processor)()
    maps = process.post_process_semantic_segmentation(outputs, target_sizes=[(64, 64)] * 2)
    assert (torch.stack(maps) == logits.argmax(1)).double().mean() > 0.999
    with torch.no_grad():
        as_tuple = wrap(lambda images: net(images, return_dict=False), **IMAGENET)(IMAGES)
    torch.testing.assert_close(as_tuple, logits)


def mask2former(library: Any) -> nn.Module:
    backbone = library.SwinConfig(
        embed_dim=12,
        depths=[1, 1, 1, 1],
        num_heads=[1, 2, 2, 4],
        window_size=4,
        image_size=64,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    sizes = {"hidden_dim": 32, "feature_size": 32, "mask_feature_size": 32, "num_queries": 8}
    sizes |= {"dim_feedforward": 32, "encoder_feedforward_dim": 32, "num_attention_heads": 4}
    config = library.Mask2FormerConfig(
        backbone_config=backbone, encoder_layers=1, decoder_layers=2, num_labels=CLASSES, **sizes
    )
    net = library.Mask2FormerForUniversalSegmentation(config)
    # Queries of random networks are all the same; these have classes and masks of their own.
    nn.init.normal_(net.class_predictor.weight, std=1.5)
    for name, parameter in net.named_parameters():
        if "queries_features" in name or ("mask_embedder" in name and parameter.ndim == 2):
            nn.init.normal_(parameter, std=0.5)
    return net


def test_mask_queries() -> None:
    library = pytest.importorskip("transformers")
    net = seeded(lambda: mask2former(library))
    logits = works(wrap(net, **IMAGENET))
    with torch.no_grad():
        outputs = net(pixel_values=NORMALISED)
    process = library.Mask2FormerImageProcessor()
    maps = process.post_process_semantic_segmentation(outputs, target_sizes=[(64, 64)] * 2)
    assert len(torch.stack(maps).unique()) > 1
    assert (torch.stack(maps) == logits.argmax(1)).double().mean() > 0.99
    shares = outputs.class_queries_logits.softmax(2)[..., :-1]
    scores = torch.zeros(2, CLASSES, 64, 64)
    for query in range(8):
        mask = resized(outputs.masks_queries_logits[:, query : query + 1]).sigmoid()
        scores += shares[:, query, :, None, None] * mask
    torch.testing.assert_close(logits.exp(), scores, rtol=1e-4, atol=1e-6)
    # The authors' own networks have other names for the same.
    names = {"pred_logits": "class_queries_logits", "pred_masks": "masks_queries_logits"}
    theirs = wrap(lambda images: {own: net(images)[name] for own, name in names.items()})
    with torch.no_grad():
        torch.testing.assert_close(theirs(NORMALISED), logits)
    # What the user says about the output comes first.
    chosen = wrap(net, output=lambda given: given["masks_queries_logits"], **IMAGENET)
    with torch.no_grad():
        torch.testing.assert_close(chosen(IMAGES), resized(outputs.masks_queries_logits))


@pytest.mark.parametrize(
    ("name", "encoder"),
    [("Unet", "resnet18"), ("FPN", "mobilenet_v2"), ("DeepLabV3Plus", "resnet18")],
)
def test_segmentation_models_pytorch(name: str, encoder: str) -> None:
    library = pytest.importorskip("segmentation_models_pytorch")
    net = seeded(lambda: getattr(library, name)(encoder, encoder_weights=None, classes=CLASSES))
    with torch.no_grad():
        expected = net(NORMALISED)
    torch.testing.assert_close(works(wrap(net, **IMAGENET)), expected)
    odd = IMAGES[:, :, :50, :35]
    padded = functional.pad(NORMALISED[:, :, :50, :35], (0, 29, 0, 14))
    with torch.no_grad():
        expected = net(padded)[:, :, :50, :35]
        torch.testing.assert_close(wrap(net, divisor=32, **IMAGENET)(odd), expected)


class Headed(nn.Module):
    """A timm backbone with a head of its own, at a quarter of the resolution."""

    def __init__(self) -> None:
        super().__init__()
        timm = pytest.importorskip("timm")
        self.body = timm.create_model("resnet18", features_only=True, out_indices=(1, 2))
        self.head = nn.Conv2d(64 + 128, CLASSES, 1)

    def forward(self, images: Tensor) -> list[Tensor]:
        fine, coarse = self.body(images)
        joined = torch.cat([fine, resized(coarse, *fine.shape[2:])], 1)
        return [self.head(joined)]


def test_a_timm_backbone_with_a_head_of_its_own() -> None:
    net = seeded(Headed)
    with torch.no_grad():
        expected = resized(net(NORMALISED)[0])
    torch.testing.assert_close(works(wrap(net, **IMAGENET)), expected)


CONV = conv()
with torch.no_grad():
    LOGITS = CONV(IMAGES)
PAIR = namedtuple("PAIR", ["features", "logits"])
AUX = torch.zeros(2, 7)
AUX_FIRST = namedtuple("AUX_FIRST", "aux out")


@pytest.mark.parametrize(
    ("form", "output"),
    [
        (lambda u: u, None),
        (lambda u: (u, AUX), None),
        (lambda u: [AUX, u], None),
        (lambda u: (None, (u,), u), None),
        (lambda u: AUX_FIRST(u * 0, u), None),
        (lambda u: AUX_FIRST(u, u * 0), "aux"),
        (lambda u: {"out": u, "aux": u * 0}, None),
        (lambda u: {"logits": u, "x": u * 0}, None),
        (lambda u: {"anything": u, "features": AUX}, None),
        (lambda u: SimpleNamespace(logits=u), None),
        (lambda u: SimpleNamespace(out=u), None),
        (lambda u: {"sem": u, "aux": u * 0}, "sem"),
        (lambda u: SimpleNamespace(sem=u), "sem"),
        (lambda u: {"out": u * 0, "sem": u}, "sem"),
        (lambda u: (u * 0, u), 1),
        (lambda u: (u * 0, u), -1),
        (lambda u: PAIR(AUX, u), None),
        (lambda u: {0: u * 0, 1: u}, 1),
        (lambda u: {"stages": [u * 0, u]}, lambda given: given["stages"][1]),
        (lambda u: u.permute(0, 2, 3, 1), lambda given: given.permute(0, 3, 1, 2)),
        (lambda u: u.flatten(2), lambda given: given.unflatten(2, (64, 64))),
    ],
)
def test_where_logits_are(form: Callable[[Tensor], Any], output: Any) -> None:
    model = wrap(lambda images: form(CONV(images)), output=output)
    with torch.no_grad():
        torch.testing.assert_close(model(IMAGES), LOGITS)


@pytest.mark.parametrize(
    ("form", "output", "says"),
    [
        (lambda u: {"a": u, "b": u}, None, "a dict with the keys a, b"),
        (lambda u: {"a": u}, "b", "no 'b'"),
        (lambda u: (u,), 3, "no 3"),
        (lambda u: u, "out", "no 'out'"),
        (lambda u: SimpleNamespace(a=u), "b", "no 'b'"),
        (lambda u: {"a": u}, lambda given: given["b"], "the function `output` failed"),
        (lambda u: None, None, "returned NoneType"),
        (lambda u: u[:1], None, "a tensor (1, 5, 64, 64) for 2 images"),
        (lambda u: u[0], None, "a tensor (5, 64, 64)"),
        (lambda u: u.argmax(1), None, "before argmax"),
        (lambda u: u.argmax(1, keepdim=True), None, "before argmax"),
        (lambda u: (AUX, "text"), None, "a tuple of ((2, 7), str)"),
        (lambda u: [u * 0, u], None, "a list of ((2, 5, 64, 64), (2, 5, 64, 64))"),
    ],
)
def test_where_no_logits_are(form: Callable[[Tensor], Any], output: Any, says: str) -> None:
    refused(lambda: wrap(lambda images: form(CONV(images)), output=output)(IMAGES), says)


@pytest.mark.parametrize("known", [{"num_classes": CLASSES}, {"classes": range(CLASSES)}])
@pytest.mark.parametrize(
    "form",
    [
        lambda u: (u, u[:, :3]),
        lambda u: [torch.cat([u] * 3, 1), u],
        lambda u: {"features": u.repeat(1, 2, 1, 1), "sem": u},
    ],
)
def test_of_several_maps_the_one_with_as_many_channels_as_classes(
    form: Callable[[Tensor], Any], known: dict[str, Any]
) -> None:
    with torch.no_grad():
        torch.testing.assert_close(wrap(lambda x: form(CONV(x)), **known)(IMAGES), LOGITS)
    refused(lambda: wrap(lambda x: form(CONV(x)))(IMAGES), "for 2 images; it must return logits")
    said = "wrap(model, output=...) or --output where they are"
    refused(lambda: wrap(lambda x: [CONV(x)] * 2, **known)(IMAGES), said)


def test_a_network_that_complains_of_the_size_is_told_how_to_say_it() -> None:
    def of_8(images: Tensor) -> Tensor:
        return CONV(images + torch.zeros(8, 8))

    refused(lambda: wrap(of_8)(torch.rand(1, 3, 4, 6)), "wrap(model, size_px=...)")
    four = wrap(lambda images: CONV(images))
    with pytest.raises(RobustsegError) as channels:
        four(torch.rand(1, CONV.in_channels + 1, 4, 6))
    assert "size_px" not in str(channels.value)


def test_logits_with_the_classes_last_are_refused() -> None:
    """As many channels as the image has rows would do for all classes of the data."""
    net = conv()
    wrong = wrap(lambda images: net(images).permute(0, 2, 3, 1), num_classes=CLASSES)
    refused(lambda: wrong(IMAGES), "with the classes last; put them second")
    right = wrap(wrong.net, output=lambda logits: logits.permute(0, 3, 1, 2), num_classes=CLASSES)
    assert torch.equal(right(IMAGES), net(IMAGES))


@pytest.mark.parametrize("leaves", [True, False])
def test_a_network_that_fails_is_told_where(tmp_path: Path, leaves: bool) -> None:
    """Whatever it raises, even what would end the process without a word."""
    code = "sys.exit(3)" if leaves else "functional.relu(images, 1, 2)"
    file = tmp_path / "mine.py"
    text = f"import sys\nfrom torch.nn import functional\n\ndef net(images):\n    {code}\n"
    file.write_text(text)
    names: dict[str, Any] = {}
    exec(compile(text, file, "exec"), names)
    kind = "SystemExit: 3" if leaves else "TypeError: relu() takes"
    refused(lambda: wrap(names["net"])(IMAGES), kind)
    refused(lambda: wrap(names["net"])(IMAGES), "(mine.py, line 5)")


def test_of_several_maps_one_channel_stands_for_two_classes() -> None:
    binary = wrap(lambda x: (x, x[:, :1]), num_classes=2)
    assert torch.equal(binary(IMAGES)[:, 1], IMAGES[:, 0])


def test_coarse_logits_are_made_larger() -> None:
    net = conv(stride=4, kernel_size=5, padding=2)
    expected = resized(net(IMAGES)).detach()
    torch.testing.assert_close(works(wrap(net)), expected)
    odd = IMAGES[:, :, :50, :35]
    assert wrap(net)(odd).shape == (2, CLASSES, 50, 35)


def test_normalisation_is_that_of_torchvision() -> None:
    seen = []
    net = nn.Identity()
    net.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    wrap(net, **IMAGENET)(IMAGES)
    torch.testing.assert_close(seen.pop(), NORMALISED)
    mean, std = [v * 255 for v in IMAGENET_MEAN], [v * 255 for v in IMAGENET_STD]
    wrap(net, mean=mean, std=std, scale=255)(IMAGES)
    torch.testing.assert_close(seen.pop(), NORMALISED, rtol=1e-5, atol=1e-5)
    wrap(net, mean=torch.tensor(IMAGENET_MEAN), std=[0.5])(IMAGES)
    expected = normalize(IMAGES, IMAGENET_MEAN, [0.5] * 3)
    torch.testing.assert_close(seen.pop(), expected)
    wrap(net)(IMAGES)
    assert torch.equal(seen.pop(), IMAGES)
    double = wrap(lambda images: seen.append(images) or images, **IMAGENET)
    double(IMAGES.double())
    assert seen.pop().dtype == torch.float64


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_networks_of_other_precisions(dtype: torch.dtype) -> None:
    model = wrap(conv().to(dtype), **IMAGENET)
    logits = works(model)
    assert logits.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    with torch.no_grad():
        expected = CONV(NORMALISED)
    torch.testing.assert_close(logits.float(), expected, rtol=0.02, atol=0.03)


def test_one_channel_stands_for_two_classes() -> None:
    net = conv(1)
    with torch.no_grad():
        net.bias += 0.1 - net(IMAGES).median()
        single = net(IMAGES)[:, 0]
    logits = works(wrap(net))
    assert torch.equal(logits[:, 1], single)
    assert not logits[:, 0].any()
    assert torch.equal(logits.argmax(1).bool(), single.sigmoid() > 0.5)
    torch.testing.assert_close(logits.softmax(1)[:, 1], single.sigmoid())
    swapped = wrap(net, classes=[1, 0])
    with torch.no_grad():
        assert torch.equal(swapped(IMAGES), logits.flip(1))


def test_padding() -> None:
    odd = IMAGES[:, :, :50, :35]
    normalised = NORMALISED[:, :, :50, :35]
    seen = []

    def net(images: Tensor) -> Tensor:
        seen.append(images.detach())
        return CONV(images)[:, :, ::2, ::2]

    for settings, height, width in (
        ({"divisor": 16}, 64, 48),
        ({"size_px": 64}, 64, 64),
        ({"size_px": (56, 64)}, 56, 64),
        ({"divisor": 1}, 50, 35),
    ):
        logits = works(wrap(net, **settings, **IMAGENET), odd)
        padded = functional.pad(normalised, (0, width - 35, 0, height - 50))
        torch.testing.assert_close(seen[-1][-2:], padded, atol=0.2, rtol=0)
        with torch.no_grad():
            expected = resized(net(padded), height, width)[:, :, :50, :35]
        torch.testing.assert_close(logits, expected)
    refused(
        lambda: wrap(net, size_px=32)(odd),
        "an image of 50 x 35 pixels (height x width) is larger than the model's size_px 32 x 32",
    )


def test_a_background_before_the_classes_of_the_data() -> None:
    """151 outputs, of which the first is no class, as of networks with a background."""
    net = conv(151)
    model = wrap(net, classes=[None, *range(150)])
    logits = works(model)
    expected = net(IMAGES).detach()
    assert torch.equal(logits, torch.cat([expected[:, 1:], expected[:, :1]], 1))
    assert model.data_classes == 150


def test_data_of_more_classes_than_the_network() -> None:
    """150 outputs are classes 1 to 150 of 151: class 0 is never predicted."""
    model = wrap(conv(150), classes=range(1, 151))
    logits = works(model)
    assert logits.shape[1] == 151
    assert torch.equal(logits[:, 1:], conv(150)(IMAGES).detach())
    assert (logits.argmax(1) > 0).all()
    assert (logits[:, 0] < logits[:, 1:].amin(1)).all()


def test_several_outputs_may_be_one_class() -> None:
    logits = works(wrap(CONV, classes=[0, 1, 0, 2, 1]))
    merged = [LOGITS[:, [0, 2]].amax(1), LOGITS[:, [1, 4]].amax(1), LOGITS[:, 3]]
    assert torch.equal(logits, torch.stack(merged, 1))
    names = torch.tensor([0, 1, 0, 2, 1])
    assert torch.equal(logits.argmax(1), names[LOGITS.argmax(1)])


@pytest.mark.parametrize(
    "settings", [{"classes": [0, 1, None, 2, None]}, {"num_classes": 3}], ids=["classes", "number"]
)
def test_an_output_that_is_no_class_is_never_right(settings: dict[str, Any]) -> None:
    classes = settings.get("classes", [0, 1, 2, None, None])
    model = wrap(CONV, **settings)
    logits = works_without_labels(model)
    names = torch.tensor([3 if name is None else name for name in classes])
    predicted = names[LOGITS.argmax(1)]
    assert torch.equal(logits.argmax(1).clamp(max=3), predicted)
    assert (predicted == 3).any(), "some pixels must get the void"
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(3, (2, 64, 64), generator=generator)
    labels = labels.where(predicted == 3, predicted)
    counts = count(model, IMAGES, labels, ["a", "b"])
    assert counts.pixels_correct.tolist() == (predicted == labels).flatten(1).sum(1).tolist()
    assert counts.union.shape == (2, 3)
    ious = [
        ((predicted == k) & (labels == k)).sum() / ((predicted == k) | (labels == k)).sum()
        for k in range(3)
    ]
    assert miou(counts.intersection, counts.union) == pytest.approx(float(sum(ious) / 3))
    result = sea(model, IMAGES, labels, 8, iterations=3)
    assert result.clean_miou == pytest.approx(float(sum(ious) / 3))
    assert result.counts.union.shape == (2, 3)
    labels[0, 0, 0] = 3
    refused(lambda: sea(model, IMAGES, labels, 8, iterations=3), "none of the classes 0..2")


def works_without_labels(model: nn.Module) -> Tensor:
    leaf = IMAGES.clone().requires_grad_()
    logits: Tensor = model(leaf)
    logits.square().mean().backward()
    assert leaf.grad is not None
    assert leaf.grad.isfinite().all()
    return logits.detach()


def test_torch_jit() -> None:
    for net in (torch.jit.script(conv()), torch.jit.trace(conv(), IMAGES)):
        torch.testing.assert_close(works(wrap(net)), LOGITS)


def test_torch_export() -> None:
    torch.compiler.reset()  # torch 2.6 counts what earlier tests compiled, up to a limit
    size = {0: torch.export.Dim("images", min=1, max=64)}
    program = torch.export.export(conv(), (IMAGES,), dynamic_shapes={"input": size})
    for net in (program, program.module()):
        torch.testing.assert_close(works(wrap(net)), LOGITS)
        torch.testing.assert_close(works(net if net is not program else wrap(net)), LOGITS)


def test_exported_programs_with_a_batch_size_of_their_own() -> None:
    """The advice works when it is followed."""
    labels = LOGITS.argmax(1)
    fixed = torch.export.export(conv(), (IMAGES,))
    for net in (fixed, fixed.module()):
        refused(lambda net=net: sea(net, IMAGES, labels, 8, iterations=3), "takes 2 images at a")
    alone = torch.export.export(conv(), (IMAGES[:1],))
    refused(lambda: sea(alone, IMAGES, labels, 8, iterations=3), "give batch_size=1")
    assert sea(alone, IMAGES, labels, 8, iterations=3, batch_size=1).clean_acc == 1
    words = module.EXPORT_AGAIN.partition("example: ")[2]
    free = eval(words, {"torch": torch, "net": conv(), "images": IMAGES})  # as it is said
    assert sea(free, IMAGES, labels, 8, iterations=3).clean_acc == 1


def test_frozen_torchscript_has_no_mode() -> None:
    labels, net = LOGITS.argmax(1), conv().eval()
    fused = torch.jit.freeze(torch.jit.script(net))
    expected, *found = (
        sea(one, IMAGES, labels, 8, iterations=3) for one in (net, fused, lambda x: fused(x))
    )
    for result in found:
        assert result.acc == pytest.approx(expected.acc, abs=0.01)


def test_lazy_layers_have_no_values_yet() -> None:
    for lazy in (nn.LazyConv2d(4, 3), functools.partial(run, nn.LazyConv2d(4, 3))):
        refused(lambda lazy=lazy: wrap(lazy), "the parameter weight of LazyConv2d has no values")
    net = nn.LazyConv2d(4, 3)
    net(IMAGES)
    assert wrap(net)(IMAGES).shape == (2, 4, 64, 64)


@pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="no compiler")
def test_torch_compile() -> None:
    net = torch.compile(conv(), dynamic=True)
    torch.testing.assert_close(works(wrap(net)), LOGITS, rtol=1e-4, atol=1e-5)


def test_networks_that_change_their_input_in_place() -> None:
    def net(images: Tensor) -> Tensor:
        return CONV(images.mul_(255).sub_(128).div_(128))

    for settings in ({}, {"divisor": 64}, {"size_px": 80}, {"scale": 1.0}):
        images = IMAGES.clone()
        logits = works(wrap(net, **settings), images)
        assert torch.equal(images, IMAGES)
        with torch.no_grad():
            expected = CONV((IMAGES * 255 - 128) / 128)
        inner = (slice(None), slice(None), slice(0, 63), slice(0, 63))
        torch.testing.assert_close(logits[inner], expected[inner], rtol=1e-4, atol=1e-5)


class Holder:
    """Something with a network that is no module itself."""

    def __init__(self, net: Any) -> None:
        self.net = net

    def predict(self, images: Tensor) -> Tensor:
        return self.net(images)

    def __call__(self, images: Tensor) -> Tensor:
        return self.net(images)

    def first(self, images: Tensor) -> Tensor:
        return self.net["a"][0](images)

    def inner(self, images: Tensor) -> Tensor:
        return self.net.net(images)


class Slots:
    """The same without a dict of its attributes."""

    __slots__ = ("net",)

    def __init__(self, net: nn.Module) -> None:
        self.net = net

    def predict(self, images: Tensor) -> Tensor:
        return self.net(images)


class ByClass:
    """A class that has a network, and a method that uses a global one."""

    NETS = (CONV,)

    def predict(self, images: Tensor) -> Tensor:
        return self.global_one(images)

    def global_one(self, images: Tensor) -> Tensor:
        return CONV(images)


def run(net: nn.Module, images: Tensor) -> Tensor:
    return net(images)


def of_global(images: Tensor) -> Tensor:
    return CONV(images)


def hidden_ways(net: nn.Module) -> list[Callable[[Tensor], Tensor]]:
    """Return functions that run a network, in all the ways to write one."""
    nets = [net]
    outer = SimpleNamespace(backend=Holder(net))

    def by_keyword(images: Tensor, *, using: nn.Module = net) -> Tensor:
        return using(images)

    def inner(images: Tensor) -> Tensor:
        return net(images)

    return [
        lambda images: net(images),
        inner,
        lambda images: inner(images),
        functools.partial(run, net),
        functools.partial(lambda images, using: using(images), using=net),
        net.forward,
        net.__call__,
        nn.Sequential(net).forward,
        Holder(net).predict,
        Holder(net),
        lambda images: nets[0](images),
        functools.partial(functools.partial(run), net),
        lambda images: {"a": nets}["a"][0](images),
        lambda images: outer.backend.net(images),
        lambda images, using=net: using(images),
        by_keyword,
        lambda images: (lambda: net(images))(),
        Holder({"a": [net]}).first,
        Holder(SimpleNamespace(net=net)).inner,
        Slots(net).predict,
        torch.enable_grad()(lambda images: net(images)),
        functools.lru_cache(lambda images: net(images)),
    ]


def test_networks_inside_functions() -> None:
    net = conv()
    for function in hidden_ways(net):
        assert net in [one for found in modules_behind(function) for one in found.modules()]
        model = wrap(function)
        assert model.device == torch.device("cpu")
        torch.testing.assert_close(works(model), LOGITS)
    own = ModuleType("own")
    own.inner = ModuleType("inner")  # type: ignore[attr-defined]
    own.inner.net = CONV
    of_module = eval("lambda images: own.inner.net(images)", {"own": own})
    of_class = lambda images: ByClass.NETS[0](images)  # noqa: E731
    for function in (of_global, of_module, of_class, ByClass().predict, ByClass):
        assert CONV in list(modules_behind(function))
    endless = Holder([str(number) for number in range(10**5)])
    endless.itself = endless  # type: ignore[attr-defined]
    assert list(modules_behind(endless.predict)) == []
    assert list(modules_behind(torch.relu)) == []
    assert wrap(lambda images: images).device is None


def test_functions_take_images_to_the_device_that_they_were_sent_to() -> None:
    def plain(images: Tensor) -> Tensor:
        return images

    batch = (IMAGES, LOGITS.argmax(1), ["0", "1"])
    for net in (plain, nn.Identity(), conv(), *hidden_ways(conv())):
        model = wrap(net, **IMAGENET).to("meta")
        assert model.device == torch.device("meta")
        (moved,) = on_device([batch], model)
        assert moved[0].device == moved[1].device == model.device
        assert model(moved[0]).device == model.device
    for sent in (wrap(plain), wrap(plain).to("cpu")):
        assert sent.device is None, "images stay where they are"
    (there,) = on_device([(IMAGES.to("meta"), *batch[1:])], wrap(plain))
    assert there[0].device == torch.device("meta")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_functions_that_run_a_network_of_another_precision(dtype: torch.dtype) -> None:
    """The advice works when it is followed."""
    net = conv().to(dtype)
    refused(
        lambda: wrap(lambda images: net(images))(IMAGES), f"cast images first, images.to({dtype}"
    )
    logits = works(wrap(lambda images: net(images.to(dtype))))
    torch.testing.assert_close(works(wrap(net)), logits)
    assert logits.dtype == torch.float32


def test_a_wrapped_model_is_wrapped_once() -> None:
    model = wrap(CONV, **IMAGENET)
    assert wrap(model) is model
    refused(lambda: wrap(model, mean=IMAGENET_MEAN, divisor=2), "pass mean, divisor to that call")
    refused(lambda: wrap(model, scale=255), "pass scale to that call")


def test_a_wrapped_model_moves_saves_and_prints() -> None:
    model = wrap(conv(), **IMAGENET, classes=[0, 1, 2, None, 2])
    assert "data_classes=3" in repr(model)
    assert sorted(model.state_dict()) == ["net.bias", "net.weight"]
    model.train()
    assert model.net.training
    model.eval()
    assert not model.net.training
    model.double()
    assert model(IMAGES.double()).dtype == torch.float64


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"mean": (123.675, 116.28, 103.53)}, "are not those of images in [0, 1]; divide"),
        ({"mean": [0.5] * 3, "std": (58.4, 57.1, 57.4)}, "divide both by 255, or give scale=255"),
        ({**IMAGENET, "scale": 255}, "is one of images in [0, 1], and scale is 255; multiply"),
        ({"mean": 0.5}, "mean must be a list of numbers"),
        ({"mean": "imagenet"}, "mean must be a list of numbers"),
        ({"mean": []}, "mean must be finite numbers"),
        ({"std": (0.2, 0, 0.2)}, "std must be above 0"),
        ({"std": (0.2, float("nan"), 0.2)}, "std must be finite"),
        ({"scale": 0}, "scale must be a number above 0"),
        ({"scale": "255"}, "scale must be a number above 0"),
        ({"num_classes": 1}, "at least two"),
        ({"num_classes": "5"}, "num_classes must be a whole number"),
        ({"num_classes": True}, "num_classes must be a whole number"),
        ({"classes": []}, "must name classes of the data"),
        ({"classes": [None, None]}, "must name classes of the data"),
        ({"classes": [0, -1]}, "must name classes of the data"),
        ({"classes": [0, 5], "num_classes": 5}, "0..4"),
        ({"classes": ["sky", "road"]}, "must be a list with a whole number or None"),
        ({"classes": 5}, "must be a list with a whole number or None"),
        ({"classes": [0.5, 1]}, "must be a list with a whole number or None"),
        ({"divisor": 0}, "divisor must be a whole number of at least 1"),
        ({"divisor": 32.0}, "divisor must be a whole number of at least 1"),
        ({"size_px": -1}, "size_px must be a whole number of at least 1"),
        ({"size_px": (64, 64, 3)}, "one number or (height, width)"),
        ({"size_px": "512"}, "size_px must be"),
        ({"size_px": 512.0}, "size_px must be"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], says: str) -> None:
    refused(lambda: wrap(CONV, **settings), says)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"mean": (0.5, 0.5)}, "mean has 2 values and images have 3 channels"),
        ({"classes": [0, 1]}, "`classes` names 2 outputs and the model has 5"),
        (
            {"num_classes": 9},
            "the model has 5 outputs and the data 9 classes; correct the number of",
        ),
    ],
)
def test_settings_that_do_not_fit_the_network(settings: dict[str, Any], says: str) -> None:
    refused(lambda: wrap(CONV, **settings)(IMAGES), says)


def test_the_docstring_example_works() -> None:
    assert doctest.testmod(module).failed == 0
    assert doctest.testmod(module).attempted > 3


@pytest.mark.parametrize("own", [True, False])
def test_a_gpu_that_is_full_when_logits_are_enlarged_is_told_apart(
    own: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object, **options: object) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    if own:
        net: nn.Module = build_segmentation_model("convnext_demo", "upernet_demo", 3)
        monkeypatch.setattr("robustseg.models.segmentation.resize", full)
    else:
        net = nn.Conv2d(3, 3, 2, stride=2)
        monkeypatch.setattr(functional, "interpolate", full)
    with pytest.raises(RobustsegError, match="memory on 2 images at a time; lower batch_size"):
        wrap(net)(torch.rand(2, 3, 32, 32))


@pytest.mark.parametrize("words", ["", "batch size must be 1", "batch_norm in train mode", "no"])
def test_a_network_for_one_image_at_a_time_is_told_how(words: str) -> None:
    def net(images: Tensor) -> Tensor:
        if len(images) > 1:
            raise AssertionError(*filter(None, [words]))
        return images

    with pytest.raises(RobustsegError) as caught:
        wrap(net)(torch.rand(2, 3, 4, 4))
    advised = str(caught.value).endswith("give batch_size=1 (--batch-size 1)")
    assert advised == (words in ("", "batch size must be 1"))
    assert wrap(net)(torch.rand(1, 3, 4, 4)).shape == (1, 3, 4, 4)
