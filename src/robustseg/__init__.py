"""Evaluate and train adversarially robust semantic segmentation models."""

__version__ = "0.1.0"
