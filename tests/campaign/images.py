"""Bad photographs and masks in published layouts: JPEG, PNG with palettes, `.mat`, and lists."""

import random
from pathlib import Path

from robustseg.config.data import Ade20k, Voc
from robustseg.data.opening import load_split
from robustseg.data.prepare import prepare as prepare_data
from robustseg.progress import Silence
from tests.campaign.cases import CaseClass, Verdict, judged
from tests.data import archives
from tests.mutations import mutated

FOLDERS = {"voc2012": "", "sbd": "", "train_noval": "", "ade20k": ""}
Made = dict[str, dict[str, bytes]]


def prepare(folder: Path) -> Made:
    """Return the files of each data set by path."""
    voc = archives.voc_files() | archives.sbd_files()
    voc["train_noval.txt"] = archives.lines(archives.TRAIN_NOVAL)
    return {"voc": voc, "ade20k": archives.ade20k_files()}


def damage(made: Made, folder: Path, source: random.Random) -> Verdict:
    """Prepare a data set of which a file is damaged, missing or another's, and read it."""
    kind = source.choice(("voc", "ade20k"))
    files = dict(made[kind])
    ends = (".jpg", ".png", ".mat", ".txt")
    needed = [name for name in sorted(files) if name.endswith(ends) and "Main" not in name]
    # Lists are few, and images many.
    end = source.choice(ends)
    name = source.choice([one for one in needed if one.endswith(end)] or needed)
    match source.randrange(6):
        case 0:
            del files[name]
        case 1:
            files[name] = files[source.choice(needed)]
        case _:
            files[name] = mutated(files[name], source)
    root = folder / "root"
    archives.write_files(root, files)
    outputs = {name: folder / f"{name}.parquet" for name in ("manifest", "train", "val")}
    size = {"check_counts": False, "crop_px": 32, "base_px": 40}
    settings = Voc(kind="voc", **size) if kind == "voc" else Ade20k(kind="ade20k", **size)

    def read() -> int:
        prepare_data(settings.model_dump(), root, FOLDERS, outputs, 1, Silence())
        seen = 0
        for split in ("train", "val"):
            opened = load_split(outputs[split])
            for place in range(len(opened)):
                images, labels, _ = opened.batch([place])
                assert images.isfinite().all(), "an image that is not finite"
                assert int(labels.max()) < opened.num_classes, "a label of no class"
                seen += 1
        return seen

    # What has no checksum, a JPEG or a mask without compression, may show another picture.
    names = f"{Path(name).stem}|{folder}"
    return judged(read, names, lambda seen: None if seen else "a data set without images")


CLASSES = [CaseClass("images", "inputs", prepare, damage, weight=1.5)]
