"""Networks: backbones, decoders, their weights on disk. Importing the package alone is light."""
