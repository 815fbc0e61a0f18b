"""One file per dataset; `table` says what each needs and loads any of them."""

from harness.datasets.table import DATASETS, DatasetSpec, Request, dataset_spec, load_dataset

__all__ = ["DATASETS", "DatasetSpec", "Request", "dataset_spec", "load_dataset"]
