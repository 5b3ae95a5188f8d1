"""Train a classifier, clean or robust, as the start of segmentation models."""
