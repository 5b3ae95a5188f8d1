"""White-box l_inf attacks on segmentation models (arXiv 2306.12941, Sec. 2)."""
