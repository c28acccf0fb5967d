"""Parallel corpora from their publishers: what there is, downloaded, verified, made into line-aligned files."""

from heedful.data.fetch.catalogue import Dataset, all_datasets, dataset
from heedful.data.fetch.fetch import fetch_dataset

__all__ = ["Dataset", "all_datasets", "dataset", "fetch_dataset"]
