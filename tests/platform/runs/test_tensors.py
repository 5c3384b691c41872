from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load

from covey.platform.runs.tensors import check_arrays, check_file, encode_arrays, read_arrays

ARRAYS = {
    "b": np.array([True, False, True]),
    "scalar": np.array(2.5),
    "empty": np.zeros((0, 3), np.float32),
    "half": np.arange(5, dtype=np.float16),
    "long": np.arange(6, dtype=np.int64).reshape(2, 3),
    "strided": np.arange(12, dtype=np.float32).reshape(3, 4).T[::2],
    "swapped": np.arange(3, dtype=">f8"),
    "bytes": np.arange(7, dtype=np.uint8),
}


def test_the_library_reads_what_we_write(tmp_path: Path) -> None:
    data = b"".join(encode_arrays(ARRAYS))
    (tmp_path / "x.safetensors").write_bytes(data)
    check_file(tmp_path / "x.safetensors")
    for found in (load(data), read_arrays(tmp_path / "x.safetensors")):
        assert found.keys() == ARRAYS.keys()
        for name, array in ARRAYS.items():
            np.testing.assert_array_equal(found[name], array)
            assert found[name].shape == array.shape
            assert found[name].dtype == array.dtype.newbyteorder("=")


def test_the_same_arrays_give_the_same_bytes() -> None:
    turned = dict(reversed(ARRAYS.items()))
    assert b"".join(encode_arrays(ARRAYS)) == b"".join(encode_arrays(turned))


def test_no_arrays_are_a_file_too(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"".join(encode_arrays({})))
    assert read_arrays(tmp_path / "x.safetensors") == {}


@pytest.mark.parametrize("data", [b"", b"\xff" * 8, b"\x08\0\0\0\0\0\0\0{'a': 1}", b"\0" * 7])
def test_other_files_are_said_to_be_none(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.safetensors").write_bytes(data)
    with pytest.raises(ValueError, match="no safetensors file"):
        read_arrays(tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match="no safetensors file"):
        check_file(tmp_path / "x.safetensors")


def test_what_the_format_has_no_type_for_is_refused() -> None:
    with pytest.raises(ValueError, match="'text'"):
        check_arrays({"text": np.array(["a"])})
