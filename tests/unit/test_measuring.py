"""Files measured in one pass, as they grow: size, digest, rows."""

import gzip
import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.rollback.backup import measuring
from toolkit.rollback.backup.measuring import GrowingFolder, Measuring, measure_files

END = b"\\.\n\n\n"
ROW = st.text(st.characters(exclude_characters="\n\\", exclude_categories=["Cs"]), max_size=80)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


@given(rows=st.lists(ROW, max_size=40), cuts=st.lists(st.integers(0, 4000), max_size=5), packed=st.booleans())
def test_however_it_grows_it_is_measured_as_a_whole(
    folder: Path, rows: list[str], cuts: list[int], packed: bool
) -> None:
    content = "".join(f"{row}\n" for row in rows).encode() + END
    written = gzip.compress(content) if packed else content
    file = folder / ("7.dat.gz" if packed else "7.dat")
    file.write_bytes(b"")
    growing = Measuring(file)
    for end in [*sorted(min(cut, len(written)) for cut in cuts), len(written)]:
        file.write_bytes(written[:end])
        growing.go_on()
    found = growing.measure()
    assert (found.bytes, found.sha256) == (len(written), hashlib.sha256(written).hexdigest())
    assert found.rows == len(rows)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("lost", [3, 4, 40])
def test_a_torn_one_has_no_rows(tmp_path: Path, packed: bool, lost: int) -> None:
    content = b"a row\n" * 20 + END
    whole = gzip.compress(content) if packed else content
    file = tmp_path / ("1.dat.gz" if packed else "1.dat")
    file.write_bytes(whole[:-lost])
    assert measure_files([file])[0].rows is None


def test_a_row_that_looks_like_the_end_is_a_row(tmp_path: Path) -> None:
    (tmp_path / "1.dat").write_bytes(b"\\\\.\nlast\n" + END)  # COPY writes a backslash as two
    assert measure_files([tmp_path / "1.dat"])[0].rows == 2


def test_what_unpacks_to_very_much_is_unpacked_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pieces: list[int] = []
    look = measuring._Rows._look
    monkeypatch.setattr(measuring._Rows, "_look", lambda self, text: (pieces.append(len(text)), look(self, text)))
    (tmp_path / "1.dat.gz").write_bytes(gzip.compress(b"\n" * 20_000_000 + END))
    assert measure_files([tmp_path / "1.dat.gz"])[0].rows == 20_000_000
    assert max(pieces) <= measuring.PIECE


def test_a_folder_is_followed(tmp_path: Path) -> None:
    growing = GrowingFolder(tmp_path / "database")
    assert growing.follow() == 0
    (tmp_path / "database").mkdir()
    (tmp_path / "database" / "toc.dat").write_bytes(b"x")
    for name in ("1.dat", "2.dat", "3.dat"):
        (tmp_path / "database" / name).write_bytes(b"a\n")
    assert growing.follow() == 6
    (tmp_path / "database" / "1.dat").write_bytes(b"a\n" + END)
    (tmp_path / "database" / "2.dat").unlink()
    (tmp_path / "database" / "3.dat").write_bytes(b"a")  # not as long as what was read: read again by whoever asks
    found = growing.measured()
    assert {path.name: each.rows for path, each in found.items()} == {"1.dat": 1}
