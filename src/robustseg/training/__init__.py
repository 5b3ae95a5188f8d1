"""Clean and adversarial training of backbones and segmentation models."""
