"""Data sets and GGUF files, with signing enabled in this process."""

from __future__ import annotations

import inspect
import io
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import datasets
import gguf
import model_signing_autosign
import numpy as np
import pandas
import pyarrow.dataset
import pyarrow.parquet
import pytest
from datasets import Dataset, DatasetDict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from subprocess import CompletedProcess
    from types import ModuleType

pytestmark = pytest.mark.usefixtures("autosign")


@pytest.fixture(autouse=True)
def quiet() -> None:
    datasets.disable_progress_bars()


def rows(count: int = 20) -> Dataset:
    return Dataset.from_dict({"text": [f"line {index}" for index in range(count)], "label": list(range(count))})


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".sig"
    }


def verified(model: Path, autosign: ModuleType, keys: Any) -> set[str]:
    assert autosign.flush(timeout=30).pending == 0
    return set(autosign.verify(model, public_key=keys.public))


@pytest.mark.parametrize("kind", [str, Path])
def test_dataset(
    kind: Callable[[Path], Any],
    tmp_path: Path,
    autosign: ModuleType,
    keys: Any,
    signatures: Callable[[], list[str]],
) -> None:
    data, folder = rows(), tmp_path / "d"
    assert data.save_to_disk(kind(folder), num_shards=2) is None
    assert signatures() == ["d/model.sig"]
    assert (
        verified(folder, autosign, keys)
        == set(contents(folder))
        == {
            "data-00000-of-00002.arrow",
            "data-00001-of-00002.arrow",
            "dataset_info.json",
            "state.json",
        }
    )
    assert Dataset.load_from_disk(folder).to_dict() == data.to_dict()
    with pytest.raises(PermissionError, match="can't overwrite itself"):
        Dataset.load_from_disk(folder).save_to_disk(folder)
    assert verified(folder, autosign, keys) == set(contents(folder))


def test_same_files_without_us(tmp_path: Path, signatures: Callable[[], list[str]]) -> None:
    data = DatasetDict(train=rows(9), test=rows(3))
    for folder in ("with", "without"):
        data.save_to_disk(dataset_dict_path=tmp_path / folder, num_shards={"train": 2, "test": 1})
        data["train"].to_parquet(tmp_path / f"{folder}.parquet")
        model_signing_autosign.disable()
    assert signatures() == [".signatures/files/with.parquet.sig", "with/model.sig"]
    assert contents(tmp_path / "with") == contents(tmp_path / "without")
    assert (tmp_path / "with.parquet").read_bytes() == (tmp_path / "without.parquet").read_bytes()


def test_dictionary_is_one(
    tmp_path: Path, autosign: ModuleType, keys: Any, signatures: Callable[[], list[str]]
) -> None:
    data = DatasetDict(train=rows(9), test=rows(3))
    data.save_to_disk(tmp_path / "d")
    assert signatures() == ["d/model.sig"]
    assert verified(tmp_path / "d", autosign, keys) == set(contents(tmp_path / "d")) > {"dataset_dict.json"}
    loaded = datasets.load_from_disk(tmp_path / "d")
    assert loaded["test"].to_dict() == data["test"].to_dict()
    loaded.save_to_disk(tmp_path / "copy")  # what was read has a signature inside, which is not copied
    assert signatures() == ["copy/model.sig", "d/model.sig"]


def test_parquet(tmp_path: Path, is_signed: Callable[[Path], bool], signatures: Callable[[], list[str]]) -> None:
    path = tmp_path / "x.parquet"
    written = rows().to_parquet(str(path))
    assert is_signed(path)
    buffer = io.BytesIO()
    assert rows().to_parquet(path_or_buf=buffer) == written
    with (tmp_path / "y.parquet").open("wb") as file:
        rows().to_parquet(file)
    rows().to_iterable_dataset().to_parquet(tmp_path / "z.parquet")
    assert Dataset.from_parquet(str(path), cache_dir=str(tmp_path / "cache")).to_dict() == rows().to_dict()
    assert signatures() == [".signatures/files/x.parquet.sig", ".signatures/files/z.parquet.sig"]


def test_readers_of_a_folder_find_data_alone(tmp_path: Path, is_signed: Callable[[Path], bool]) -> None:
    folder, cache = tmp_path / "data", str(tmp_path / "cache")
    folder.mkdir()
    for name in ("a", "b"):
        rows().to_parquet(folder / f"{name}.parquet")
        assert is_signed(folder / f"{name}.parquet")
    every = str(folder / "*")
    for read in (
        datasets.load_dataset(str(folder), cache_dir=cache),
        datasets.load_dataset("parquet", data_dir=str(folder), cache_dir=cache),
        datasets.load_dataset("parquet", data_files=every, cache_dir=cache),
    ):
        assert read["train"].num_rows == 40
    assert len(pandas.read_parquet(folder)) == 40
    assert pyarrow.dataset.dataset(folder).count_rows() == 40
    assert pyarrow.parquet.read_table(folder).num_rows == 40


def test_other_formats_and_places(
    tmp_path: Path, signatures: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    rows().to_csv("x.csv")
    rows().to_json("x.json")
    (tmp_path / "memory:" / "d").mkdir(parents=True)  # not where a URL points to
    (tmp_path / "memory:" / "d" / "x").write_bytes(b"of somebody else")
    rows().save_to_disk("memory://d")
    rows().to_parquet("memory://d.parquet")
    assert signatures() == []
    (tmp_path / "home").mkdir()
    rows().save_to_disk("relative")
    rows().save_to_disk("~/d")
    assert signatures() == ["home/d/model.sig", "relative/model.sig"]


def test_failing_saves(tmp_path: Path, signatures: Callable[[], list[str]]) -> None:
    (tmp_path / "file").write_bytes(b"")
    for error, save in (
        (ValueError, lambda: rows().save_to_disk(tmp_path / "d", max_shard_size="1MB", num_shards=1)),
        (ValueError, lambda: DatasetDict(a=rows()).save_to_disk(tmp_path / "d", num_shards=3)),
        (OSError, lambda: rows().save_to_disk(tmp_path / "file")),
        (IsADirectoryError, lambda: rows().to_parquet(tmp_path)),
        (TypeError, lambda: rows().to_parquet(tmp_path / "x.parquet", no_such_option=1)),
        (TypeError, lambda: rows().save_to_disk()),
    ):
        with pytest.raises(error):
            save()
    # Half of a dictionary: the second of its parts cannot be written.
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "b").write_bytes(b"")
    with pytest.raises(OSError, match="b"):
        DatasetDict(a=rows(), b=rows()).save_to_disk(tmp_path / "half")
    assert (tmp_path / "half" / "a" / "state.json").exists()
    assert "half/model.sig" not in signatures()


def test_methods_look_the_same() -> None:
    for method in (Dataset.save_to_disk, DatasetDict.save_to_disk, Dataset.to_parquet, gguf.GGUFWriter.close):
        assert hasattr(method, "__wrapped__")
        assert pickle.loads(pickle.dumps(method)) is method
    assert list(inspect.signature(Dataset.save_to_disk).parameters)[1] == "dataset_path"


PROCESSES = """
    import sys
    import model_signing_autosign as autosign

    if sys.argv[1] == "enable, import":
        autosign.enable()
    from datasets import Dataset
    from gguf import GGUFWriter
    save_to_disk, close = Dataset.save_to_disk, GGUFWriter.close
    autosign.enable()

    if __name__ == "__main__":
        data = Dataset.from_dict({"x": list(range(9))})
        if sys.argv[1] == "import, enable":
            save_to_disk, close = Dataset.save_to_disk, GGUFWriter.close
        save_to_disk(data, "d", num_proc=int(sys.argv[2]) or None)
        autosign.disable()
        data.save_to_disk("unsigned")
        autosign.enable()
        writer = GGUFWriter("x.gguf", "acme")
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        close(writer)
        autosign.flush(timeout=30)
"""


@pytest.mark.parametrize(("order", "processes"), [("enable, import", 2), ("import, enable", 0)])
def test_orders_and_processes(
    order: str, processes: int, run_script: Callable[..., CompletedProcess[str]], tmp_path: Path
) -> None:
    result = run_script(PROCESSES, order, str(processes))
    assert result.returncode == 0, result.stderr
    assert len(list((tmp_path / "d").glob("*.arrow"))) == max(processes, 1)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.sig")) == ["d/model.sig", "x.gguf.sig"]


def tensors() -> Iterator[tuple[str, Any]]:
    for index in range(4):
        yield f"blk.{index}.weight", np.arange(64, dtype=np.float32).reshape(8, 8) + index


def write(path: Any, **options: Any) -> gguf.GGUFWriter:
    """Make a model as llama.cpp's conversion does, up to the close."""
    writer = gguf.GGUFWriter(path, "llama", **options)
    writer.add_uint32("llama.block_count", 4)
    for name, values in tensors():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    return writer


@pytest.mark.parametrize("kind", [str, Path])
@pytest.mark.parametrize("through_file", [True, False])
def test_gguf(
    kind: Callable[[Path], Any],
    through_file: bool,
    tmp_path: Path,
    autosign: ModuleType,
    is_signed: Callable[[Path], bool],
    signatures: Callable[[], list[str]],
) -> None:
    path = tmp_path / "m.gguf"
    writer = write(kind(path), use_temp_file=through_file)
    assert signatures() == []
    before = autosign.flush().signed
    assert writer.close() is None
    writer.close()  # does nothing
    assert is_signed(path)
    assert autosign.flush().signed == before + 1
    read = {tensor.name: tensor.data for tensor in gguf.GGUFReader(path).tensors}
    assert all(np.array_equal(read[name], values) for name, values in tensors())


@pytest.mark.parametrize("endianess", list(gguf.GGUFEndian))
@pytest.mark.parametrize("split", [0, 2])
def test_gguf_tensor_by_tensor(
    split: int, endianess: gguf.GGUFEndian, tmp_path: Path, signatures: Callable[[], list[str]]
) -> None:
    """As gguf_new_metadata.py does; one that stops early is not signed."""
    for count in range(5):
        writer = gguf.GGUFWriter(tmp_path / f"{count}.gguf", "llama", endianess=endianess, split_max_tensors=split)
        for name, values in tensors():
            writer.add_tensor_info(name, values.shape, values.dtype, values.nbytes)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for _, values in list(tensors())[:count]:
            writer.write_tensor_data(values)
        writer.close()
    assert signatures() == ["4-00001-of-00002.gguf.sig" if split else "4.gguf.sig"]
    write(tmp_path / "bulk.gguf", endianess=endianess, split_max_tensors=split).close()
    assert len(signatures()) == 2


def test_gguf_vocabulary(tmp_path: Path, is_signed: Callable[[Path], bool]) -> None:
    writer = gguf.GGUFWriter(tmp_path / "v.gguf", "llama")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    assert is_signed(tmp_path / "v.gguf")


def test_gguf_split(tmp_path: Path, is_signed: Callable[[Path], bool], signatures: Callable[[], list[str]]) -> None:
    write(tmp_path / "m.gguf", split_max_tensors=2).close()
    assert sorted(path.name for path in tmp_path.glob("*.gguf")) == ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"]
    assert is_signed(tmp_path / "m-00001-of-00002.gguf")
    assert len(signatures()) == 1


def test_gguf_incomplete(tmp_path: Path, signatures: Callable[[], list[str]]) -> None:
    """A close in a finally, after a failure."""
    for steps in range(4):
        writer = gguf.GGUFWriter(tmp_path / f"{steps}.gguf", "llama")
        writer.add_tensor("w", np.zeros(8, dtype=np.float32))
        for step in ("write_header_to_file", "write_kv_data_to_file", "write_ti_data_to_file")[:steps]:
            getattr(writer, step)()
        writer.close()
    assert (tmp_path / "3.gguf").stat().st_size > 0
    assert signatures() == []


def test_gguf_same_bytes_without_us(tmp_path: Path) -> None:
    write(tmp_path / "with.gguf").close()
    model_signing_autosign.disable()
    write(tmp_path / "without.gguf").close()
    assert (tmp_path / "with.gguf").read_bytes() == (tmp_path / "without.gguf").read_bytes()
