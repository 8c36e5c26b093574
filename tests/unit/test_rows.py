from __future__ import annotations

import base64
from pathlib import Path

import orjson
import pytest
from bisupervised.schemas.codec import RequestFormat
from bisupervised.streams.tools.rows import Row, RowsError, read_rows

SHAPE = RequestFormat()


def rows(path: Path, key: str | None = None, *, as_text: bool = False, shape: RequestFormat = SHAPE) -> list[Row]:
    return list(read_rows(path, shape, key, as_text=as_text))


def written(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def test_cells_are_json_or_text(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", b'id,input,note\n7,"[0.5, 1]",hello\n')
    [row] = rows(path, "id")
    assert (orjson.loads(row.value), row.key) == ({"id": 7, "input": [0.5, 1], "note": "hello"}, b"7")
    [row] = rows(path, as_text=True)
    assert orjson.loads(row.value) == {"id": "7", "input": "[0.5, 1]", "note": "hello"}


def test_bad_rows_of_csv_are_named_by_line(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", b'id,input\n1,"two\nlines"\n2\n\n3,x,y\n,z\n')
    found = [(row.place, row.fault) for row in rows(path, "id")]
    assert found == [
        ("line 3", ""),
        ("line 4", "1 cells, but 2 columns"),
        ("line 6", "3 cells, but 2 columns"),
        ("line 7", ""),
    ]


def test_a_line_of_json_is_sent_as_it_stands(tmp_path: Path) -> None:
    path = written(tmp_path, "a.jsonl", b'{"input":  1.50}\r\n\n{"inputs":1}\nnonsense\n{"input":1}')
    found = rows(path)
    assert [row.place for row in found] == ["line 1", "line 3", "line 4", "line 5"]
    assert found[0].value == b'{"input":  1.50}'
    assert "no field 'input'" in found[1].fault
    assert "not JSON" in found[2].fault
    assert "no field 'id' for the key" in rows(path, "id")[3].fault


def test_a_column_that_is_named_like_a_way_goes_there(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", b"payload.text,payload.id,other.name\nhello,7,x\n")
    shape = RequestFormat("payload.text", "payload.id")
    [row] = rows(path, shape=shape)
    assert orjson.loads(row.value) == {"payload": {"text": "hello", "id": 7}, "other.name": "x"}


def test_an_image_stands_where_the_input_is_looked_for(tmp_path: Path) -> None:
    written(tmp_path, "a.png", b"\x89PNG")
    [row] = rows(tmp_path, shape=RequestFormat("data.image", "meta.id"))
    document = orjson.loads(row.value)
    assert (document["data"], document["meta"]) == ({"image": "iVBORw=="}, {"id": "a.png"})


def test_images_of_a_folder(tmp_path: Path) -> None:
    written(tmp_path, "b.PNG", b"\x89PNG")
    written(tmp_path, "a.jpg", b"")
    written(tmp_path, "c.txt", b"x")
    empty, image = rows(tmp_path, "name")
    assert empty.fault == "the file is empty"
    assert image.key == b"b.PNG"
    document = {
        "name": "b.PNG",
        "media_type": "image/png",
        "id": "b.PNG",
        "input": base64.b64encode(b"\x89PNG").decode(),
    }
    assert orjson.loads(image.value) == document


def test_rows_of_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({"input": [[1.0], [2.0]], "id": [1, 2]}), tmp_path / "a.parquet")
    assert [orjson.loads(row.value) for row in rows(tmp_path / "a.parquet")] == [
        {"input": [1.0], "id": 1},
        {"input": [2.0], "id": 2},
    ]


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.txt", b"", "must be .csv"),
        ("a.csv", b"", "must name the columns"),
        ("a.csv", b"a,a\n", "each once"),
        ("a.csv", b"input\n\xff\n", r"is not UTF-8 text \(at line 2\)"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, name: str, content: bytes, why: str) -> None:
    with pytest.raises(RowsError, match=why):
        rows(written(tmp_path, name, content))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RowsError, match="No such file"):
        rows(tmp_path / "none.csv")
    with pytest.raises(RowsError, match="holds no image"):
        rows(tmp_path)
