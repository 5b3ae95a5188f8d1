"""Networks: backbones, decoders and their weights on disk. Importing the package itself is light."""
