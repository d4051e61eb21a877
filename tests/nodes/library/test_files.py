"""Files: what is written is read, in both kinds of frame; what is wrong is named."""

from __future__ import annotations

import builtins
import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest

from dagy.errors import ConnectorError, MissingExtraError, NodeConfigError, ParameterError, StoreError
from dagy.local_artifact import LocalArtifact
from dagy.nodes.library.files import (
    ReadCsv,
    ReadExcel,
    ReadJson,
    ReadParquet,
    WriteCsv,
    WriteExcel,
    WriteJson,
    WriteParquet,
)
from dagy.nodes.library.tables import records, table

CITIES = {
    "city": ["Bern", "Genève, la ville", "Zürich"],
    "people": [134_000, 203_000, 421_000],
    "lake": [0.5, None, 1.5],
}


@pytest.fixture(params=["pandas", "polars"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def frame(engine: str) -> Any:
    return pd.DataFrame(CITIES) if engine == "pandas" else pl.DataFrame(CITIES)


def same(one: Any, other: Any) -> bool:
    """Whether two frames are of one kind, and equal."""
    return type(one) is type(other) and bool(one.equals(other))


# Round trips


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.csv.bz2", "a.csv.xz"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp1252"])
def test_a_csv_file_gives_back_what_was_written(
    tmp_path: Path, frame: Any, engine: str, name: str, encoding: str
) -> None:
    path = WriteCsv(path=str(tmp_path / name), separator=";", encoding=encoding)(frame)
    assert path == tmp_path / name
    assert same(ReadCsv(path=str(path), separator=";", encoding=encoding, engine=engine)(), frame)


@pytest.mark.parametrize("compression", ["zstd", "snappy", "gzip", "none"])
def test_a_parquet_file_gives_back_what_was_written(tmp_path: Path, frame: Any, engine: str, compression: str) -> None:
    path = WriteParquet(path=str(tmp_path / "a.parquet"), compression=compression)(frame)
    assert same(ReadParquet(path=str(path), engine=engine)(), frame)


def test_an_excel_file_gives_back_what_was_written(tmp_path: Path, frame: Any) -> None:
    path = WriteExcel(path=str(tmp_path / "a.xlsx"), sheet="Cities")(frame)
    assert same(ReadExcel(path=str(path), sheet="Cities")(), pd.DataFrame(CITIES))


@pytest.mark.parametrize("value", [{"a": [1, 2.5, None, "é"]}, [], "text", 7, None])
@pytest.mark.parametrize("indent", [0, 2])
def test_a_json_file_gives_back_what_was_written(tmp_path: Path, value: object, indent: int) -> None:
    path = WriteJson(path=str(tmp_path / "a.json"), indent=indent)(value)
    assert ReadJson(path=str(path))() == value


def test_json_lines_are_a_list_with_a_value_a_line(tmp_path: Path) -> None:
    path = WriteJson(path=str(tmp_path / "a.jsonl.gz"), lines=True)([{"a": 1}, "b\u2028c", None])
    assert gzip.decompress(path.read_bytes()).decode() == '{"a": 1}\n"b\u2028c"\nnull\n'
    assert ReadJson(path=str(path), lines=True)() == [{"a": 1}, "b\u2028c", None]


def test_a_table_is_written_to_json_as_its_rows(tmp_path: Path, engine: str) -> None:
    columns = {"n": [1, 2], "x": [0.5, float("nan")], "at": [datetime(2026, 1, 31, 8, tzinfo=UTC), None]}
    frame = pd.DataFrame(columns) if engine == "pandas" else pl.DataFrame(columns)
    path = WriteJson(path=str(tmp_path / "a.json"))(frame)
    expected = [{"n": 1, "x": 0.5, "at": "2026-01-31T08:00:00+00:00"}, {"n": 2, "x": None, "at": None}]
    assert json.loads(path.read_bytes()) == expected


def test_without_a_path_the_file_itself_goes_on_and_can_be_read(frame: Any, engine: str) -> None:
    file = WriteCsv()(frame)
    assert isinstance(file, LocalArtifact)
    assert (file.name, file.media_type) == ("table.csv", "text/csv")
    assert same(ReadCsv(engine=engine)(file), frame)
    assert same(ReadParquet(engine=engine)(WriteParquet()(frame)), frame)
    assert ReadJson()(WriteJson()([1])) == [1]
    assert len(ReadExcel()(WriteExcel()(frame))) == 3


def test_bytes_and_paths_that_come_in_are_read_in_place_of_the_path(tmp_path: Path, engine: str) -> None:
    assert list(ReadCsv(path="none.csv", engine=engine)(b"a,b\n1,2\n").columns) == ["a", "b"]
    (tmp_path / "a.csv").write_bytes(b"a,b\n1,2\n")
    assert list(ReadCsv(engine=engine)(tmp_path / "a.csv").columns) == ["a", "b"]


# Options


def test_only_the_columns_that_are_wished_are_read_in_their_order(tmp_path: Path, frame: Any, engine: str) -> None:
    columns = ["people", "city"]
    csv = WriteCsv(path=str(tmp_path / "a.csv"))(frame)
    parquet = WriteParquet(path=str(tmp_path / "a.parquet"))(frame)
    excel = WriteExcel(path=str(tmp_path / "a.xlsx"))(frame)
    assert list(ReadCsv(path=str(csv), columns=columns, engine=engine)().columns) == columns
    assert list(ReadParquet(path=str(parquet), columns=columns, engine=engine)().columns) == columns
    assert list(ReadExcel(path=str(excel), columns=columns)().columns) == columns


def test_dates_are_read_as_dates(engine: str) -> None:
    frame = ReadCsv(dates=["day"], engine=engine)(b"day,n\n2026-01-31,1\n")
    assert frame["day"][0] == datetime(2026, 1, 31)  # noqa: DTZ001 (a file says no zone)


def test_a_csv_file_without_a_header_has_numbered_columns(engine: str) -> None:
    frame = ReadCsv(header=False, separator="\\t", engine=engine)(b"a\t1\nb\t2\n")
    assert list(frame.columns) == ["column_1", "column_2"]
    assert list(frame["column_2"]) == [1, 2]
    assert WriteCsv(header=False, separator="\\t")(frame).content == b"a\t1\nb\t2\n"


def test_the_mark_that_excel_puts_before_utf_8_is_no_part_of_a_name(engine: str) -> None:
    assert list(ReadCsv(engine=engine)(b"\xef\xbb\xbfa\n1\n").columns) == ["a"]
    assert ReadJson()(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}
    assert WriteCsv(encoding="utf-8-sig")(pd.DataFrame({"a": [1]})).content == b"\xef\xbb\xbfa\n1\n"


def test_rows_above_an_excel_header_are_skipped_and_the_first_sheet_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    pd.DataFrame({"x": ["", "a", 1]}).to_excel(path, index=False, header=False, sheet_name="First")
    assert ReadExcel(path=str(path), skip_rows=1)()["a"].tolist() == [1]


def test_a_text_like_a_formula_stays_a_text_in_excel(tmp_path: Path) -> None:
    import openpyxl

    path = WriteExcel(path=str(tmp_path / "a.xlsx"))(pd.DataFrame({"a": ["=1+1"]}))
    cell = openpyxl.load_workbook(path).active["A2"]
    assert (cell.value, cell.data_type) == ("=1+1", "s")


def test_the_index_of_a_frame_is_left_out(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1]}, index=["row"])
    assert WriteCsv()(frame).content == b"a\n1\n"
    assert list(ReadParquet()(WriteParquet()(frame)).columns) == ["a"]


# Writing is all or nothing


class _Bad:
    """What no format takes."""

    def __str__(self) -> str:
        raise ValueError("no text")

    __repr__ = __str__


@pytest.mark.parametrize("kind", [WriteCsv, WriteParquet, WriteExcel])
def test_what_was_there_stays_when_writing_fails(tmp_path: Path, kind: Any) -> None:
    path = tmp_path / "a.file"
    path.write_bytes(b"before")
    with pytest.raises(StoreError, match=r"a.file' can't be written as "):
        kind(path=str(path))(pd.DataFrame({"a": [_Bad()]}))
    assert path.read_bytes() == b"before"
    assert [each.name for each in tmp_path.iterdir()] == ["a.file"]


def test_what_json_does_not_have_is_refused_and_leaves_no_half_file(tmp_path: Path) -> None:
    for value in ([float("inf")], [object()]):
        with pytest.raises(StoreError, match="can't be written as JSON"):
            WriteJson(path=str(tmp_path / "a.json"))(value)
    assert list(tmp_path.iterdir()) == []


def test_missing_folders_are_made_and_a_link_and_its_rights_stay(tmp_path: Path) -> None:
    path = WriteJson(path=str(tmp_path / "a" / "b" / "c.json"))(1)
    path.chmod(0o640)
    link = tmp_path / "link.json"
    link.symlink_to(path)
    WriteJson(path=str(link))(2)
    assert link.is_symlink()
    assert path.read_text() == "2\n"
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_folder_in_the_place_of_the_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.json").mkdir()
    with pytest.raises(StoreError, match=r"a.json' can't be written: Is a directory"):
        WriteJson(path=str(tmp_path / "a.json"))(1)


def test_a_file_too_large_to_travel_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGY_LOCAL_ARTIFACT_MAX_BYTES", "10")
    with pytest.raises(ParameterError, match="may have 10"):
        WriteJson()("more than ten")


# What is wrong is named


def test_a_file_that_is_not_there_is_named_with_one_that_is(tmp_path: Path) -> None:
    (tmp_path / "people.csv").touch()
    with pytest.raises(NodeConfigError, match=r"there is no file '.*poeple.csv'; did you mean 'people.csv'\?"):
        ReadCsv(path=str(tmp_path / "poeple.csv"))()


def test_without_a_file_or_a_path_the_node_says_what_it_needs() -> None:
    with pytest.raises(NodeConfigError, match="give a 'path', or connect a file to 'file'"):
        ReadCsv()()


@pytest.mark.parametrize("address", ["https://example.com/a.csv", "s3://bucket/a.csv", "file:///etc/passwd"])
def test_an_address_is_no_path(address: str) -> None:
    with pytest.raises(NodeConfigError, match="is an address, not a path; 'http_request' and 'read_s3' fetch"):
        ReadCsv(path=address)()
    with pytest.raises(NodeConfigError, match="is an address"):
        WriteJson(path=address)(1)


@pytest.mark.parametrize("field", ["columns", "dates"])
def test_a_column_that_is_not_there_is_named_with_one_that_is(engine: str, field: str) -> None:
    with pytest.raises(NodeConfigError, match=r"has no column 'agee'; did you mean 'age'\?") as caught:
        ReadCsv(engine=engine, **{field: ["agee"]})(b"name,age\nAda,36\n")
    assert caught.value.problems.keys() == {field}


def test_a_column_that_a_parquet_or_an_excel_file_lacks_is_named(frame: Any, engine: str) -> None:
    with pytest.raises(NodeConfigError, match=r"has no column 'zip'; it has: 'city', 'people', 'lake'"):
        ReadParquet(columns=["zip"], engine=engine)(WriteParquet()(frame))
    with pytest.raises(NodeConfigError, match=r"'table.xlsx' has no column 'zip'; it has: 'city', 'people', 'lake'"):
        ReadExcel(columns=["zip"])(WriteExcel()(frame))


def test_a_sheet_that_is_not_there_is_named_with_one_that_is() -> None:
    file = WriteExcel(sheet="Cities")(pd.DataFrame(CITIES))
    with pytest.raises(NodeConfigError, match=r"has no sheet 'Citys'; did you mean 'Cities'\?"):
        ReadExcel(sheet="Citys")(file)


def test_a_file_of_another_format_is_refused_with_its_name(engine: str) -> None:
    with pytest.raises(StoreError, match=r"'a.bin' can't be read as Parquet: "):
        ReadParquet(engine=engine)(LocalArtifact("a.bin", "text/plain", b"no parquet"))
    with pytest.raises(StoreError, match=r"'a.bin' can't be read as Excel: "):
        ReadExcel()(LocalArtifact("a.bin", "text/plain", b"no excel"))
    with pytest.raises(StoreError, match=r"can't be read as CSV: "):
        ReadCsv(engine=engine)(b"")
    with pytest.raises(StoreError, match=r"can't be read as JSON: .*line 2 is not JSON"):
        ReadJson(lines=True)(b"1\n{\n")


def test_text_in_another_encoding_is_refused(engine: str) -> None:
    with pytest.raises(StoreError, match="can't be read as CSV: "):
        ReadCsv(engine=engine)("città\nRoma\n".encode("latin-1"))


@pytest.mark.parametrize("config", [{"encoding": "utf-9"}, {"separator": ";;"}])
def test_an_unknown_encoding_or_a_long_separator_is_named(config: dict[str, str]) -> None:
    (field,) = config
    for use in (lambda: ReadCsv(**config)(b"a\n1\n"), lambda: WriteCsv(**config)(pd.DataFrame())):
        with pytest.raises(NodeConfigError, match=f"{config[field]!r}") as caught:
            use()
        assert caught.value.problems.keys() == {field}


def test_a_list_of_values_is_no_table() -> None:
    with pytest.raises(ConnectorError):
        WriteCsv()([1, 2])


def test_lines_are_written_of_a_list_only() -> None:
    with pytest.raises(NodeConfigError, match="'lines' writes a list"):
        WriteJson(lines=True)({"a": 1})


@pytest.mark.parametrize(
    ("package", "use"),
    [
        ("pandas", lambda: ReadCsv()(b"a\n1\n")),
        ("openpyxl", lambda: WriteExcel()(pd.DataFrame({"a": [1]}))),
        ("polars", lambda: ReadCsv(engine="polars")(b"a\n1\n")),
    ],
)
def test_a_package_that_is_missing_is_named(package: str, use: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def fake(name: str, *args: Any, **options: Any) -> Any:
        if name.partition(".")[0] == package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", fake)
    with pytest.raises((MissingExtraError, NodeConfigError), match=f"{package}.*install|install {package}"):
        use()


@pytest.mark.parametrize("engine", ["pandas", "polars"])
def test_the_same_marks_stand_for_missing_values_whoever_reads(engine: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("n,text\n1,NA\nnull,x\nN/A,\n")
    frame = ReadCsv(path=str(path), engine=engine)()
    assert records(table(frame)) == [{"n": 1, "text": None}, {"n": None, "text": "x"}, {"n": None, "text": None}]


@pytest.mark.parametrize("text", ["a;b\n1,5;2\n", "a,b\n0,2,3\n1,5,6\n"])
def test_a_row_with_more_values_than_there_are_names_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(StoreError, match=r"its first row has \d values, and its header \d names; is 'separator'"):
        ReadCsv(path=str(path))()


def test_a_file_in_another_encoding_points_to_the_field(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("city\nZürich\n".encode("cp1252"))
    with pytest.raises(StoreError, match="say so in 'encoding': 'cp1252'"):
        ReadCsv(path=str(path))()
    assert ReadCsv(path=str(path), encoding="cp1252")()["city"].tolist() == ["Zürich"]


def test_the_home_of_nobody_is_refused() -> None:
    with pytest.raises(NodeConfigError, match="the home of a user whom this machine does not know"):
        ReadCsv(path="~nobody-of-this-name/a.csv")()
