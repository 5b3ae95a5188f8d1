"""Opening a split, whatever kind of file it is."""

from pathlib import Path

from robustseg.data.arrays import load_arrays
from robustseg.data.interface import Dataset


def load_split(path: str | Path) -> Dataset:
    """Open a split: .npz of a generated data set, or .parquet of one on the disk.

    The name of a list of images and classes ends in .classes.parquet.

    Raises:
        RobustsegError: missing or damaged file.
    """
    if Path(path).name.endswith(".classes.parquet"):
        from robustseg.data.class_folders import load_class_folders  # as below

        return load_class_folders(Path(path))
    if Path(path).suffix == ".parquet":
        from robustseg.data.disk import load_disk_split  # generated data needs no torchvision

        return load_disk_split(Path(path))
    return load_arrays(path)
