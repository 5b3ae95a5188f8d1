"""What decides the cost of a pass. Imports nothing: a GPU machine may lack pydantic."""

from dataclasses import dataclass

OWN = "own"
"""In the place of a decoder: the architecture is a reference, see `models.references`."""


@dataclass(frozen=True, order=True)
class Network:
    """A network on images of one size.

    Attributes:
        architecture: backbone, a name of `models.registry.BACKBONES`.
        decoder: a name of `models.registry.DECODERS`; empty for a classifier.
        num_classes: K.
        size_px: height and width of an image.
    """

    architecture: str
    decoder: str
    num_classes: int
    size_px: int

    def __str__(self) -> str:
        parts = (self.decoder or "classifier", self.architecture, f"{self.num_classes}classes")
        return "-".join((*parts, f"{self.size_px}px"))


@dataclass(frozen=True)
class Work:
    """Images times passes through one network.

    Attributes:
        network: which.
        forward: forward passes alone.
        attack: forward and backward passes to the image.
        update: forward and backward passes to the parameters.
    """

    network: Network
    forward: int = 0
    attack: int = 0
    update: int = 0


PAPER = (
    Network("convnext_tiny", "upernet", 21, 473),
    Network("convnext_small", "upernet", 21, 473),
    Network("resnet50", "pspnet", 21, 473),
    Network("convnext_tiny", "upernet", 151, 512),
    Network("convnext_small", "upernet", 151, 512),
    Network("vit_small", "segmenter", 151, 512),
)
"""The paper's networks on its images (arXiv 2306.12941, Tables 3 and 5)."""

BIGGER = (
    Network("convnext_base", "upernet", 21, 473),
    Network("convnext_large", "upernet", 21, 473),
    Network("convnext_base", "upernet", 151, 512),
    Network("convnext_large", "upernet", 151, 512),
)
"""Those of config/bigger.yaml that the paper does not have."""
