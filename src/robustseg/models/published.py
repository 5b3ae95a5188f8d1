"""Weights that others have published: where they are, what they are and what they reach.

Read whenever a configuration is checked, so it imports no torch. For users: docs/weights.md.
"""

from dataclasses import dataclass, field

from robustseg.names import IMAGENET_MEAN, IMAGENET_STD

CLOUD = "https://nc.mlcloud.uni-tuebingen.de"
HUGGING_FACE = "https://huggingface.co"
MARGIN = 5.0
"""Percent by which a clean accuracy may be below the reported one. # ASSUME: more than what other
interpolation in preprocessing changes, and less than what wrongly loaded weights lose."""


@dataclass(frozen=True)
class PublishedFile:
    """A file to download."""

    urls: tuple[str, ...]
    sha256: str | None = None
    """None: none is published; recorded when first fetched and enforced from then on."""
    size_bytes: int | None = None


@dataclass(frozen=True)
class Weights:
    """What all published weights have."""

    file: str
    """One of `FILES`."""
    naming: str
    """How its keys are named: one of `key_names.KEY_NAMES`."""
    architecture: str
    """Of the backbone, one of `registry.BACKBONES`."""
    clean_accuracy: float
    """Reported by the paper, or else by the publisher, in percent."""
    publisher: str
    """As the paper cites it."""
    mean: tuple[float, float, float] | None = field(default=None, kw_only=True)
    """Subtracted from images in [0, 1], where the file does not say it itself."""
    std: tuple[float, float, float] | None = field(default=None, kw_only=True)


@dataclass(frozen=True, kw_only=True)
class ClassifierWeights(Weights):
    """An ImageNet classifier, to start models from (Table 6)."""

    robust: bool


@dataclass(frozen=True, kw_only=True)
class SegmentationWeights(Weights):
    """A segmentation model, and how it was trained."""

    decoder: str
    """One of `registry.DECODERS`."""
    num_classes: int
    scheme: str
    """One of `names.SCHEME_LABELS`."""
    epochs: int
    steps: int
    eps_255: float
    member: str | None = None
    """End of its path, if the file is an archive."""


def _share(token: str) -> PublishedFile:
    """Return a share that holds one file."""
    return PublishedFile((f"{CLOUD}/index.php/s/{token}/download",))


def _in_share(
    token: str, name: str, sha256: str | None = None, size_bytes: int | None = None
) -> PublishedFile:
    """Return one file of a share that holds several."""
    urls = (
        f"{CLOUD}/public.php/dav/files/{token}/{name}",
        f"{CLOUD}/index.php/s/{token}/download?path=%2F&files={name}",
    )
    return PublishedFile(urls, sha256, size_bytes)


DDC_AT_ZIP = "ddcat_pretrained_models.zip"
DDC_AT_DRIVE = "120xLY_pGZlm3tqaLxTLVp99e06muBjJC"
ESPNET_CAMVID = "espnet_p_2_q_8_camvid.pth"

FILES = {
    "convnext_tiny_cvst_robust.pt": _in_share(
        "BFLoMrMdn8iBk7Y",
        "convnext_tiny_cvst_robust.pt",
        "0c725da1789c28168e5697c87b1adf7228527d07f7ad3b5b376271bb22da4ce3",
        114_579_981,
    ),
    "convnext_tiny_cvst_clean.pt": _in_share("BFLoMrMdn8iBk7Y", "convnext_tiny_cvst_clean.pt"),
    "convnext_s_cvst_robust.pt": _in_share("m3bAwNg4CJY4jrp", "convnext_s_cvst_robust.pt"),
    # ASSUME: the share has the clean network too, and it is named like the others. Not verified.
    "convnext_s_cvst_clean.pt": _in_share("m3bAwNg4CJY4jrp", "convnext_s_cvst_clean.pt"),
    # The hash is somebody else's record of the file, who has the known ones of ConvNeXt-T and
    # ResNet-50 right. ASSUME: ConvNeXt-L's share holds a file named like the others. Not verified.
    "convnext_b_cvst_robust.pt": _in_share(
        "RQBEXagC7R7XweX",
        "convnext_b_cvst_robust.pt",
        "ea83ada60aea2ac329d7de7eb00a3bed252b971c790207fb206b5dd2ed8162f8",
        355_147_777,
    ),
    "convnext_l_cvst_robust.pt": _in_share("YzBpeHRrRQzHBDz", "convnext_l_cvst_robust.pt"),
    "weights_vit_s.pt": _in_share("XLLnoCnJxp74Zqn", "weights_vit_s.pt"),
    "vit_small_patch16_224.augreg_in21k_ft_in1k.safetensors": PublishedFile(
        (
            f"{HUGGING_FACE}/timm/vit_small_patch16_224.augreg_in21k_ft_in1k"
            "/resolve/main/model.safetensors",
        )
    ),
    "resnet50_linf_eps4.0.ckpt": PublishedFile(
        (f"{HUGGING_FACE}/madrylab/robust-imagenet-models/resolve/main/resnet50_linf_eps4.0.ckpt",),
        "9e62216975c111b8081481533b6142dec34be69abe5d90b54d7f860015c263db",
        204_818_947,
    ),
    "pir_at_voc_upernet_convnext_t.pth": _share("zSFgoAngcm47FZm"),
    "pir_at_voc_upernet_convnext_s.pth": _share("MBXnMd5QKztmZaa"),
    "pir_at_ade20k_upernet_convnext_t.pth": _share("ACMQRiyfyXboXwT"),
    "pir_at_ade20k_upernet_convnext_s.pth": _share("Smogk2BWbfMxkyo"),
    "pir_at_ade20k_segmenter_vit_s.pth": _share("XF6Woa9G3eiGPig"),
    DDC_AT_ZIP: PublishedFile(
        (
            f"https://drive.usercontent.google.com/download?id={DDC_AT_DRIVE}"
            "&export=download&confirm=t",
        )
    ),
    # Of no network of the paper: examples/espnet_camvid.
    ESPNET_CAMVID: PublishedFile(
        (
            "https://raw.githubusercontent.com/sacmehta/ESPNet/afe71c38/pretrained/decoder/"
            f"{ESPNET_CAMVID}",
            f"https://github.com/sacmehta/ESPNet/raw/master/pretrained/decoder/{ESPNET_CAMVID}",
        ),
        "7d354a257170322086dcd4c1e89a482454cf2c9d30b085e70883878dd59301af",
        1_460_677,
    ),
}
"""By the name under which a file is kept; that of the publisher where it has one."""

HALF = (0.5, 0.5, 0.5)

SINGH = "Singh et al. (2023)"
SALMAN = "Salman et al. (2020)"
WIGHTMAN = "Wightman (2019)"
XU = "Xu et al. (2021)"
THE_PAPER = "the paper"

CLASSIFIERS = {
    "convnext_t_cvst_clean": ClassifierWeights(
        "convnext_tiny_cvst_clean.pt", "classifier", "convnext_tiny", 80.9, SINGH, robust=False
    ),
    "convnext_t_cvst_robust": ClassifierWeights(
        "convnext_tiny_cvst_robust.pt", "classifier", "convnext_tiny", 72.7, SINGH, robust=True
    ),
    # ASSUME: no accuracy is reported for it; that of the smaller network.
    "convnext_s_cvst_clean": ClassifierWeights(
        "convnext_s_cvst_clean.pt", "classifier", "convnext_small", 80.9, SINGH, robust=False
    ),
    "convnext_s_cvst_robust": ClassifierWeights(
        "convnext_s_cvst_robust.pt", "classifier", "convnext_small", 74.1, SINGH, robust=True
    ),
    # Not in the paper: the publisher's own figures (arXiv 2303.01870).
    "convnext_b_cvst_robust": ClassifierWeights(
        "convnext_b_cvst_robust.pt", "classifier", "convnext_base", 75.9, SINGH, robust=True
    ),
    "convnext_l_cvst_robust": ClassifierWeights(
        "convnext_l_cvst_robust.pt", "classifier", "convnext_large", 77.0, SINGH, robust=True
    ),
    # ASSUME: the paper names timm (Wightman 2019) and 81.2 %; these reach 81.4 %.
    "vit_s_clean": ClassifierWeights(
        "vit_small_patch16_224.augreg_in21k_ft_in1k.safetensors",
        "classifier",
        "vit_small",
        81.2,
        WIGHTMAN,
        robust=False,
        mean=HALF,
        std=HALF,
    ),
    "vit_s_robust": ClassifierWeights(
        "weights_vit_s.pt", "classifier", "vit_small", 69.2, SINGH, robust=True
    ),
    "resnet50_robust": ClassifierWeights(
        "resnet50_linf_eps4.0.ckpt", "robustness", "resnet50", 64.0, SALMAN, robust=True
    ),
}
"""Backbones, by their names in config/paper/table6.csv where they are in it."""


def _pir_at(
    file: str, naming: str, architecture: str, accuracy: float, decoder: str, ade20k: bool
) -> SegmentationWeights:
    """Return one of the paper's own models, trained for 4/255 with 5 steps."""
    return SegmentationWeights(
        file,
        naming,
        architecture,
        accuracy,
        THE_PAPER,
        decoder=decoder,
        num_classes=151 if ade20k else 21,
        scheme="pir_at",
        epochs=128 if ade20k else 50,
        steps=5,
        eps_255=4.0,
    )


def _pspnet(folder: str, scheme: str, accuracy: float) -> SegmentationWeights:
    """Return one of Xu et al.'s models (2021), trained with BIM of radius 0.03."""
    return SegmentationWeights(
        DDC_AT_ZIP,
        "pspnet",
        "resnet50_deep_stem",
        accuracy,
        XU,
        decoder="pspnet",
        num_classes=21,
        scheme=scheme,
        epochs=50,
        steps=3,
        eps_255=7.65,
        member=f"voc2012/pspnet/{folder}/train_epoch_50.pth",
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
    )


MODELS = {
    "pir_at_5_50ep_upernet_convnext_t": _pir_at(
        "pir_at_voc_upernet_convnext_t.pth", "upernet", "convnext_tiny", 92.7, "upernet", False
    ),
    "pir_at_5_50ep_upernet_convnext_s": _pir_at(
        "pir_at_voc_upernet_convnext_s.pth", "upernet", "convnext_small", 93.1, "upernet", False
    ),
    "pir_at_5_128ep_upernet_convnext_t": _pir_at(
        "pir_at_ade20k_upernet_convnext_t.pth", "upernet", "convnext_tiny", 70.5, "upernet", True
    ),
    # ASSUME: no clean accuracy is reported for it; that of the smaller network.
    "pir_at_5_128ep_upernet_convnext_s": _pir_at(
        "pir_at_ade20k_upernet_convnext_s.pth", "upernet", "convnext_small", 70.5, "upernet", True
    ),
    "pir_at_5_128ep_segmenter_vit_s": _pir_at(
        "pir_at_ade20k_segmenter_vit_s.pth", "segmenter", "vit_small", 69.1, "segmenter", True
    ),
    "ddc_at_3_50ep_pspnet_resnet50": _pspnet("ddcat", "ddc_at", 95.1),
    "at_3_50ep_pspnet_resnet50": _pspnet("sat", "at", 94.0),
}
"""Segmentation models, by their names in config/paper/table3.csv and table9.csv."""
