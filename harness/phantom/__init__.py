"""Synthetic radiographs with findings, boxes and reports, written as the real datasets are."""
