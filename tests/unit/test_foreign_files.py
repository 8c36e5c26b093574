"""Files as other programs write them: marks, encodings, archives, delimiters, digits. Each is read or named."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from bisupervised.agents.supervision.thresholds import read_thresholds, write_thresholds
from bisupervised.schemas.codec import RequestFormat
from bisupervised.schemas.encodings import NotText, json_of, named, text_of, verbatim
from bisupervised.schemas.errors import BiSupervisedError, ConfigurationError
from bisupervised.streams.offline.recordings.labels import read_labels
from bisupervised.streams.offline.recordings.pairs import read_recording
from bisupervised.streams.settings.file import load_settings
from bisupervised.streams.tools.rows import read_rows
from bisupervised.streams.web.pictures import Gallery
from support.configurations import SMALLEST
from support.thresholds import thresholds

BOM = b"\xef\xbb\xbf"
SHAPE = RequestFormat()


def settings(path: Path) -> object:
    return load_settings(path, {}).local.model


def rows(path: Path) -> object:
    return [(orjson.loads(row.value), row.key) for row in read_rows(path, SHAPE, "id", as_text=False) if not row.fault]


def labels(path: Path) -> object:
    return read_labels(path, None, None, None).truths


def recording(path: Path) -> object:
    return read_recording(path, path).recording.local.scores.tolist()


Reader = Callable[[Path], object]
CSV = "id,input,score,prediction,truth\n1,x,0.9,a,a\n"
LINES = '{"id": 1, "input": "x", "score": 0.9, "prediction": "a", "truth": "a"}\n'
READERS: list[tuple[Reader, str, str]] = [
    (settings, "a.toml", SMALLEST),
    (rows, "a.csv", CSV),
    (rows, "a.jsonl", LINES),
    (labels, "a.csv", CSV),
    (labels, "a.jsonl", LINES),
    (recording, "a.csv", CSV),
    (recording, "a.jsonl", LINES),
]
WHICH = [f"{read.__name__}-{name}" for read, name, _ in READERS]
FORMS: list[tuple[Callable[[bytes], bytes], str]] = [
    (lambda text: text.decode().encode("utf-16"), "UTF-16"),
    (lambda text: text.decode().encode("utf-16-le"), "UTF-16"),
    (lambda text: text.decode().encode("utf-16-be"), "UTF-16"),
    (gzip.compress, "gzip"),
    (lambda text: b"PK\x03\x04\x14\x00\x00\x00" + text, "zip"),
    (lambda text: b"\x28\xb5\x2f\xfd\x24\x05" + text, "zstd"),
    (lambda text: b"\xd0\xcf\x11\xe0\xa1\xb1" + text, "spreadsheet"),
]


def written(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(("read", "name", "text"), READERS, ids=WHICH)
def test_a_byte_order_mark_and_other_line_ends_make_no_difference(
    tmp_path: Path, read: Reader, name: str, text: str
) -> None:
    plain = read(written(tmp_path, name, text.encode()))
    assert plain
    assert read(written(tmp_path, name, BOM + text.encode())) == plain
    assert read(written(tmp_path, name, BOM + text.replace("\n", "\r\n").encode())) == plain


@pytest.mark.parametrize(("read", "name", "text"), READERS, ids=WHICH)
@pytest.mark.parametrize(("form", "said"), FORMS, ids=["mark", "le", "be", "gzip", "zip", "zstd", "xls"])
def test_what_is_no_text_is_named(
    tmp_path: Path, read: Reader, name: str, text: str, form: Callable[[bytes], bytes], said: str
) -> None:
    path = written(tmp_path, name, form(text.encode()))
    with pytest.raises(BiSupervisedError) as refused:
        read(path)
    assert f"{path}: is " in str(refused.value)
    assert said in str(refused.value)


def test_the_thresholds_file_is_read_so_too(tmp_path: Path) -> None:
    path = tmp_path / "thresholds.json"
    write_thresholds(path, thresholds())
    content = path.read_bytes()
    assert read_thresholds(written(tmp_path, "b.json", BOM + content)) == read_thresholds(path)
    for form, said in FORMS:
        with pytest.raises(ConfigurationError, match=f"is no thresholds file: it is .*{said}"):
            read_thresholds(written(tmp_path, "c.json", form(content)))


def test_a_secret_from_a_file_of_windows(tmp_path: Path) -> None:
    path = written(tmp_path, "token", BOM + b"a-long-token\r\n")
    read = load_settings(
        written(tmp_path, "a.toml", f"{SMALLEST}[web]\ntoken_file = '{path}'\nhost = '127.0.0.1'\n".encode()), {}
    )
    assert read.web.token_file == str(path)
    written(tmp_path, "token", "a-long-token".encode("utf-16"))
    with pytest.raises(ConfigurationError, match=r"token_file: must hold text; it is UTF-16") as refused:
        load_settings(tmp_path / "a.toml", {})
    assert "long" not in str(refused.value)


def test_a_picture_in_a_record_with_a_mark_is_found() -> None:
    value = BOM + orjson.dumps({"input": [[x / 8 for x in range(8)]] * 8})
    assert Gallery("input", ()).show({"a": value.removeprefix(BOM)})
    assert Gallery("input", ()).show({"a": value})
    assert Gallery("input", ()).show({"a": gzip.compress(value)}) == {}


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1"])
@pytest.mark.parametrize("read", [rows, labels, recording])
def test_text_of_one_byte_a_letter_is_named_before_a_row_is_taken(tmp_path: Path, read: Reader, encoding: str) -> None:
    text = CSV + "2,y,0.8,café,café\n"
    path = written(tmp_path, "a.csv", text.encode(encoding))
    taken: list[object] = []
    with pytest.raises(BiSupervisedError) as refused:
        taken += read_rows(path, SHAPE, None, as_text=False) if read is rows else [read(path)]
    assert "is not UTF-8 text (at line 3); it seems to be Windows-1252 or Latin-1, where byte 0xe9 is 'é'" in str(
        refused.value
    )
    assert "save it as UTF-8" in str(refused.value)
    with pytest.raises(BiSupervisedError):
        next(read_rows(path, SHAPE, None, as_text=False))


def test_a_line_of_json_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, "a.jsonl", LINES.encode() + LINES.replace('"x"', '"é"').encode("latin-1"))
    good, bad = read_rows(path, SHAPE, None, as_text=False)
    assert good.fault == ""
    assert bad.fault == (
        "is not UTF-8 text; it seems to be Windows-1252 or Latin-1, where byte 0xe9 is 'é': save it as UTF-8"
    )
    with pytest.raises(BiSupervisedError, match="line 2: is not UTF-8 text; it seems to be Windows-1252"):
        recording(path)


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("read", [rows, labels, recording])
def test_line_ends_quotes_and_commas_at_the_end(tmp_path: Path, read: Reader, ends: str) -> None:
    plain = read(written(tmp_path, "a.csv", CSV.encode()))
    quoted = '"id","input","score","prediction","truth"\n"1","x","0.9","a","a"\n'
    commas = "".join(line + ",,\n" for line in CSV.splitlines())
    for text in (CSV, quoted, commas):
        assert read(written(tmp_path, "b.csv", BOM + text.replace("\n", ends).encode())) == plain


@pytest.mark.parametrize("read", [rows, labels, recording])
def test_a_header_that_others_write(tmp_path: Path, read: Reader) -> None:
    plain = read(written(tmp_path, "a.csv", CSV.encode()))
    for content in (BOM + BOM + CSV.encode(), CSV.replace("truth\n", "truth,\n").encode()):
        assert read(written(tmp_path, "b.csv", content)) == plain
    for text, said in (
        ('"id";"input";"score";"prediction";"truth"\n"1";"x";"0,9";"a";"a"\n', "has semicolons between its cells"),
        ('"id"\t"input"\t"score"\n1\tx\t0.9\n', "has tabs between its cells"),
        ("sep=,\n" + CSV, "begins with a line for spreadsheets, 'sep='"),
        ('"id,input\n', "unexpected end of data"),
    ):
        with pytest.raises(BiSupervisedError, match=said):
            read(written(tmp_path, "b.csv", BOM + text.encode()))


def test_a_percentage_gets_a_hint(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", CSV.replace("0.9", "90.5 %").encode())
    with pytest.raises(BiSupervisedError, match=r"'90.5 %' is not a finite number: write it without the sign.* 0\.905"):
        recording(path)


def test_what_stands_below_no_name_is_a_bad_row(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", b"id,input,\n1,x,y\n2,x,\n3,x\n")
    faults = [row.fault for row in read_rows(path, SHAPE, None, as_text=False)]
    assert faults == ["3 cells, but 2 columns", "", ""]


@pytest.mark.parametrize("header", ["ID,Input,Score,Prediction,Truth", "Id, INPUT ,SCORE, prediction,TRUTH "])
@pytest.mark.parametrize("read", [labels, recording])
def test_the_case_of_usual_names_makes_no_difference(tmp_path: Path, read: Reader, header: str) -> None:
    plain = read(written(tmp_path, "a.csv", CSV.encode()))
    assert read(written(tmp_path, "b.csv", f"{header}\n1,x,0.9,a,a\n".encode())) == plain


def test_names_that_differ_in_case_only_are_not_guessed(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", b"ID,Score,SCORE,Correct\n1,0.9,0.1,true\n")
    with pytest.raises(BiSupervisedError, match="the score could be any of Score, SCORE"):
        recording(path)
    path = written(tmp_path, "a.csv", b"ID,score,SCORE,Correct\n1,0.9,0.1,true\n")
    assert recording(path) == [0.9]
    path = written(tmp_path, "a.csv", b"ID,Truth,TRUTH\n1,a,b\n")
    with pytest.raises(BiSupervisedError, match="could be any of Truth, TRUTH"):
        labels(path)


# paths with backslashes


@pytest.mark.parametrize("path", [r"C:\Users\me\model.pt", r"C:\models\my.pt", r"D:\xyz.pt", "C:\\"])
def test_a_backslash_that_toml_refuses_is_explained(tmp_path: Path, path: str) -> None:
    file = written(tmp_path, "a.toml", SMALLEST.replace("my_model:load", path).encode())
    with pytest.raises(
        ConfigurationError, match=r"is not TOML: .*a backslash begins an escape: write the path in single"
    ):
        load_settings(file, {})


def test_a_backslash_that_toml_takes_for_something_else_is_explained(tmp_path: Path) -> None:
    text = SMALLEST.replace("my_model:load", r"C:\new\tf.pt") + '[thresholds]\nfile = "C:\\bin\\t.json"\n'
    with pytest.raises(ConfigurationError) as refused:
        load_settings(written(tmp_path, "a.toml", text.encode()), {})
    for place in ("[local] model", "[thresholds] file"):
        assert any(fault.startswith(f"{place}: holds a control character") for fault in refused.value.faults)


def test_a_fault_without_a_backslash_has_no_such_hint(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as refused:
        load_settings(written(tmp_path, "a.toml", b"[local\nmodel = 'C:\\x'\n"), {})
    assert "backslash" not in str(refused.value)
    assert load_settings(
        written(tmp_path, "a.toml", SMALLEST.replace('"my_model:load"', r"'C:\new\tf.pt'").encode()), {}
    )


# delimiters and numbers of other countries


@pytest.mark.parametrize(("sign", "name"), [(";", "semicolons"), ("\t", "tabs"), ("|", "bars")])
@pytest.mark.parametrize("read", [rows, labels, recording])
def test_other_delimiters_are_named(tmp_path: Path, read: Reader, sign: str, name: str) -> None:
    path = written(tmp_path, "a.csv", BOM + CSV.replace(",", sign).replace("0.9", "0,9").encode())
    with pytest.raises(BiSupervisedError, match=f"has {name} between its cells: save it with commas.* a point"):
        read(path)


def test_a_decimal_comma_gets_a_hint(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", CSV.replace("0.9", '"0,9"').encode())
    with pytest.raises(BiSupervisedError, match=r"'0,9' is not a finite number: write it with a point, as in 0\.9"):
        recording(path)
    path = written(tmp_path, "a.csv", CSV.replace("0.9", "0,9").encode())
    with pytest.raises(BiSupervisedError, match=r"has 6 cells where the header has 5; numbers are written"):
        recording(path)
    [row] = read_rows(path, SHAPE, None, as_text=False)
    assert row.fault == "6 cells, but 5 columns; numbers are written with a point, as in 0.93"


@pytest.mark.parametrize("name", ["A.CSV", "a.Csv", "a.JSONL", "a.NdJson"])
def test_the_case_of_an_ending_makes_no_difference(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, name, (CSV if "csv" in name.lower() else LINES).encode())
    assert rows(path)
    assert labels(path)
    assert recording(path)


# what is written as it is written


def test_ids_with_more_digits_than_a_float_holds_stay_apart(tmp_path: Path) -> None:
    first, second = "12345678901234567890123", "12345678901234567890124"
    lines = "".join(
        f'{{"id": {one}, "input": "x", "score": 0.5, "prediction": 1, "truth": 1}}\n' for one in (first, second)
    )
    path = written(tmp_path, "a.jsonl", lines.encode())
    assert list(read_labels(path, None, None, None).truths) == [first, second]
    assert read_recording(path, path).ids.tolist() == [first, second]
    assert [row.key for row in read_rows(path, SHAPE, "id", as_text=False)] == [first.encode(), second.encode()]
    path = written(tmp_path, "a.csv", f"id,input,ratio\n{first},x,1.10\n{second},x,17.0\n".encode())
    made_rows = list(read_rows(path, SHAPE, "id", as_text=False))
    assert [row.value for row in made_rows] == [
        f'{{"id":{first},"input":"x","ratio":1.10}}'.encode(),
        f'{{"id":{second},"input":"x","ratio":17.0}}'.encode(),
    ]
    assert [row.key for row in made_rows] == [first.encode(), second.encode()]


def test_predictions_that_match_but_for_case_are_told(tmp_path: Path) -> None:
    lines = "id,score,prediction,truth\n1,0.93,Positive,positive\n2,0.61, negative ,Negative\n3,0.5,positive,positive\n"
    other = "id,score,prediction,truth\n1,0.93,positive,positive\n2,0.61,Neutral,Negative\n3,0.5,positive,positive\n"
    local, remote = written(tmp_path, "l.csv", lines.encode()), written(tmp_path, "r.csv", other.encode())
    read = read_recording(local, remote)
    assert read.recording.local.correct.tolist() == [False, False, True]
    assert str(read.taken).endswith(
        "; 2 local predictions differ from the truth only in letter case or white space, and count as wrong"
    )
    both = str(read_recording(local, local).taken)
    assert "; 2 local predictions and 2 remote predictions differ" in both
    assert "differ" not in str(read_recording(remote, remote).taken)


# the parts


def test_what_bytes_are() -> None:
    assert named(b'{"id": 1}') == named(b"") == named(b"\x00") == ""
    assert "schema 258" in named(b'\x00\x00\x00\x01\x02{"id":7}')
    assert json_of(BOM + b"[1]") == [1]
    with pytest.raises(orjson.JSONDecodeError):
        json_of(BOM + b"[1")
    with pytest.raises(NotText, match=r"is not UTF-8 text \(at line 2\)"):
        text_of(b"a\n\xff")
    assert text_of(BOM + "ä".encode()) == "ä"
    assert verbatim(b'{"a": 1.50, "a": 1.5e1}', "a") == "1.5e1"
    assert verbatim(b'{"a": 1}', "b") is verbatim(b"[1]", "b") is None
