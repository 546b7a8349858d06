"""Datasets, their splits, decoding and preprocessing; numpy and Pillow only, no torch."""
