"""Train a segmentation model."""
