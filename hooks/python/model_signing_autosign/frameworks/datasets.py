# SPDX-License-Identifier: Apache-2.0
"""Data sets saved to the local disk.

A `DatasetDict` saves each of its parts with ``Dataset.save_to_disk`` into a folder within its own, and is one
checkpoint. ``IterableDataset.to_parquet`` ends in that of `Dataset`. The parts may be written by other processes, but
the call waits for them. Paths are fsspec's: a URL is somebody else's storage, and ``~`` is expanded.

Readers take every file of a folder for data, also those of pandas and pyarrow: signatures of files are hidden.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from model_signing_autosign._patch import Framework, Patch
from model_signing_autosign._saving import argument, local, saves

if TYPE_CHECKING:
    from model_signing_autosign._saving import Call, Where

FRAMEWORK: Final = Framework("datasets", versions=">=2.8,<6", tested="5.2.0", hidden=True)


def _path(name: str) -> Where:
    path_of = argument(name, 1)

    def where(call: Call) -> object:
        path = local(path_of(call))
        return None if path is None else os.path.expanduser(path)

    return where


PATCHES: Final = (
    # def save_to_disk(self, dataset_path, max_shard_size=None, num_shards=None, num_proc=None, storage_options=None)
    Patch(
        FRAMEWORK,
        saves(FRAMEWORK, _path("dataset_path")),
        ("datasets.arrow_dataset:Dataset.save_to_disk",),
        seen="`Dataset.save_to_disk` to a local path, in one process or several",
        signed="the folder",
        complete="on return: `dataset_info.json` is last",
    ),
    Patch(
        FRAMEWORK,
        saves(FRAMEWORK, _path("dataset_dict_path")),
        ("datasets.dataset_dict:DatasetDict.save_to_disk",),
        seen="`DatasetDict.save_to_disk` to a local path",
        signed="the folder, with all its splits",
        complete="on return",
    ),
    # def to_parquet(self, path_or_buf, batch_size=None, storage_options=None, **parquet_writer_kwargs)
    Patch(
        FRAMEWORK,
        saves(FRAMEWORK, _path("path_or_buf")),
        ("datasets.arrow_dataset:Dataset.to_parquet",),
        seen="`Dataset.to_parquet` and `IterableDataset.to_parquet` to a local path; not CSV, JSON and SQL",
        signed="the file",
        complete="on return",
    ),
)
