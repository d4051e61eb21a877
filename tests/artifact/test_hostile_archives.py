"""Whatever a stranger makes of an artifact is refused before a byte is written, quickly and in little memory."""

from __future__ import annotations

import hashlib
import json
import random
import re
import stat
import struct
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from dagy.artifact.archive import open_artifact, safe_extract, write_artifact
from dagy.artifact.inspection import inspect, verify
from dagy.artifact.manifest import MANIFEST_NAME, FileEntry, Manifest
from dagy.errors import ArtifactError
from dagy.spec import FlowSpec

GOOD = {"etl.py": b"x = 1\n" * 200, "pack/__init__.py": b"", "pack/rows.py": b"y = 2\n" * 100, "rows.csv": b"a,b\n"}

Entries = list[tuple[str | zipfile.ZipInfo, bytes]]


def manifest_of(contents: dict[str, bytes]) -> Manifest:
    files = tuple(
        FileEntry(path, len(data), hashlib.sha256(data).hexdigest()) for path, data in sorted(contents.items())
    )
    return Manifest(FlowSpec("etl"), "etl:etl", "3.11", (), files, "0.1.0")


def packed(entries: Entries, method: int = zipfile.ZIP_STORED, comment: bytes = b"") -> bytes:
    """A ZIP of just these entries, as any writer would make it."""
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in entries:
            archive.writestr(name, data)
        archive.comment = comment
    return buffer.getvalue()


def listing(listed: dict[str, bytes], *held: tuple[str, bytes], **options: Any) -> bytes:
    """An archive whose manifest lists some files, and which holds others."""
    return packed([(MANIFEST_NAME, manifest_of(listed).to_json().encode()), *held], **options)


def with_more(*more: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """A good artifact with more in it, which its manifest lists."""
    extra = {each if isinstance(each, str) else each.filename: data for each, data in more}
    return packed([(MANIFEST_NAME, manifest_of(GOOD | extra).to_json().encode()), *GOOD.items(), *more], method)


def with_manifest(text: str | bytes) -> bytes:
    return packed([(MANIFEST_NAME, text.encode() if isinstance(text, str) else text), *GOOD.items()])


def edited(**changes: object) -> bytes:
    return with_manifest(json.dumps(json.loads(manifest_of(GOOD).to_json()) | changes))


def of_kind(kind: int, data: bytes = b"/etc/passwd") -> bytes:
    info = zipfile.ZipInfo("link.py")
    info.external_attr = (kind | 0o777) << 16
    return with_more((info, data))


def good() -> bytes:
    return listing(GOOD, *GOOD.items())


def central(data: bytes, name: str) -> int:
    """Where the directory's record of `name` begins."""
    return data.rindex(name.encode()) - 46


def patched(offset: int, form: str, *values: int, name: str = "etl.py", local: bool = False) -> bytes:
    data = bytearray(good())
    start = data.index(name.encode()) - 30 if local else central(data, name)
    struct.pack_into(form, data, start + offset, *values)
    return bytes(data)


def renamed_in_local_header() -> bytes:
    data = bytearray(good())
    start = data.index(b"etl.py")
    data[start : start + 6] = b"abc.py"
    return bytes(data)


def twins(*names: str) -> bytes:
    return with_more(*((name, b"") for name in names))


def nul_in_a_name() -> bytes:
    return with_more(("x_evil.py", b"")).replace(b"x_evil.py", b"x\0evil.py")


def many_entries() -> bytes:
    record = struct.pack("<4s4B4HL2L5H2L", b"PK\x01\x02", 20, 3, 20, 0, *[0] * 5, 0, 0, 1, *[0] * 6) + b"x"
    directory = record * 1_000_000
    return directory + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 65_535, 65_535, len(directory), 0, 0)


def zip64(count: int, length: int, offset: int) -> bytes:
    """A good artifact whose end says: look at the larger record before me, which lies."""
    data = good()
    body, end = data[:-22], data[-22:]
    where = len(body)
    larger = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, length, offset)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, where, 1)
    return body + larger + locator + end[:8] + b"\xff" * 12 + end[20:]


def bomb() -> bytes:
    return with_more(("zeros.bin", bytes(20 << 20)), method=zipfile.ZIP_DEFLATED)


def quoted_overlap() -> bytes:
    """Many names for one packed body, each header quoted by the one before (as 42.zip's successors do)."""
    data = bytearray(bomb())
    for name in ("pack/rows.py", "etl.py", "rows.csv"):
        struct.pack_into("<L", data, central(data, name) + 42, data.index(b"zeros.bin") - 30)
    return bytes(data)


def body_longer_than_said() -> bytes:
    data = bytearray(with_more(("x.bin", bytes(range(256)) * 400), method=zipfile.ZIP_DEFLATED))
    for start in (data.index(b"x.bin") - 30 + 22, central(data, "x.bin") + 24):
        struct.pack_into("<L", data, start, 9)
    return bytes(data)


def encrypted() -> bytes:
    data = bytearray(good())
    data[data.index(b"etl.py") - 30 + 6] |= 1
    data[central(data, "etl.py") + 8] |= 1
    return bytes(data)


HARMFUL_NAMES = (
    "../x.py", "../../../../tmp/x", "/x.py", "//x.py", "C:\\x.py", "C:/x.py", "C:x.py", "..\\x.py", "a\\..\\..\\x.py",
    "\\\\server\\share\\x", "a/../../x.py", "a/./x.py", "a//x.py", "./x.py", ".", "..", "a/", "a/..", "x.py ", "x.py.",
    "a ./x.py", "CON.py:x", "x.py:stream", "x\x01.py", "x\n.py", "x\x7f.py", "x\u202egnp.py", "x\u200b.py",
    "x" * 65_000, "a/" * 32_000 + "x", "x.pth", "X.PTH", "pack/x.pth", "sitecustomize.py", "usercustomize.py",
    "SiteCustomize.py", "json.py", "json/__init__.py", "JSON.py", "os.pyc", "os.so", "re.cpython-311.so",
    "encodings/utf_8.py", "dagy.py", "dagy/__init__.py", "dagy/cli/app.py", "dagy_nb/cells.py", "__main__.py",
    "dagy-9.9.dist-info/entry_points.txt", "click-1.dist-info/METADATA", "x.egg-info/PKG-INFO",
)  # fmt: skip
CORPUS: dict[str, Callable[[], bytes]] = {
    **{f"name {name[:40]!r}": (lambda name=name: with_more((name, b"x"))) for name in HARMFUL_NAMES},  # type: ignore[misc]  # of a lambda
    "name with nul": nul_in_a_name,
    "name not in utf-8": lambda: with_more(("\u00e9.py", b"")).replace(b"\xc3\xa9.py", b"\xc3\x28.py"),
    "symlink": lambda: of_kind(stat.S_IFLNK),
    "symlink out": lambda: of_kind(stat.S_IFLNK, b"../../../../etc"),
    "hard link, as tar has it": lambda: of_kind(stat.S_IFREG | stat.S_IFLNK),
    "device": lambda: of_kind(stat.S_IFCHR),
    "block device": lambda: of_kind(stat.S_IFBLK),
    "pipe": lambda: of_kind(stat.S_IFIFO),
    "socket": lambda: of_kind(stat.S_IFSOCK),
    "folder": lambda: of_kind(stat.S_IFDIR, b""),
    "duplicate": lambda: with_more(("x.py", b"1"), ("x.py", b"2")),
    "case collision": lambda: twins("A.py", "a.py"),
    "case collision of folders": lambda: twins("Pack/x.py", "pack/X.py"),
    "nfc and nfd": lambda: twins("caf\u00e9.py", "cafe\u0301.py"),
    "sharp s": lambda: twins("stra\u00dfe.py", "STRASSE.py"),
    "file and folder": lambda: twins("part", "part/x.py"),
    "encrypted": encrypted,
    "bzip2": lambda: with_more(method=zipfile.ZIP_BZIP2),
    "lzma": lambda: with_more(method=zipfile.ZIP_LZMA),
    "zip64, many files": lambda: zip64(1 << 40, 100, 0),
    "zip64, beyond the end": lambda: zip64(5, 1 << 40, 1 << 50),
    "zip64, sizes in an extra field": lambda: patched(20, "<LL", 0xFFFFFFFF, 0xFFFFFFFF),
    "overlap": lambda: patched(42, "<L", 0),
    "quoted overlap": quoted_overlap,
    "gap": lambda: patched(42, "<L", 7),
    "bomb of 1,028:1": bomb,
    "longer than said": body_longer_than_said,
    "larger than any file may be": lambda: patched(24, "<L", (256 << 20) + 1),
    "a million entries": many_entries,
    "something before": lambda: b"#!/bin/sh\nexit\n" + good(),
    "something behind": lambda: good() + b"<html>",
    "two archives": lambda: good() + good(),
    "comment": lambda: listing(GOOD, *GOOD.items(), comment=b"x" * 65_000),
    "several disks": lambda: good()[:-18] + b"\1\0\1\0" + good()[-14:],
    "fewer files said than held": lambda: good()[:-14] + struct.pack("<HH", 2, 2) + good()[-10:],
    "cut short": lambda: good()[:-1],
    "no zip": lambda: b"hello" * 100,
    "nothing": lambda: b"",
    "other name in the local header": renamed_in_local_header,
    "other size in the local header": lambda: patched(22, "<L", 7, local=True),
    "other packed size in the local header": lambda: patched(18, "<L", 7, local=True),
    "other checksum in the local header": lambda: patched(14, "<L", 7, local=True),
    "other packing in the local header": lambda: patched(8, "<H", 8, local=True),
    "other flags in the local header": lambda: patched(6, "<H", 8, local=True),
    "no manifest": lambda: packed(list(GOOD.items())),
    "two manifests": lambda: listing(GOOD, (MANIFEST_NAME, b"{}"), *GOOD.items()),
    "a manifest of another case": lambda: twins("DAGY.JSON"),
    "manifest not in utf-8": lambda: with_manifest(manifest_of(GOOD).to_json().encode("utf-16")),
    "manifest not json": lambda: with_manifest("{"),
    "manifest nested deep": lambda: with_manifest("[" * 200_000),
    "manifest with a number of many digits": lambda: with_manifest('{"schema_version": ' + "1" * 10_000 + "}"),
    "manifest with a key twice": lambda: with_manifest(manifest_of(GOOD).to_json().replace("{", '{"spec": 1,', 1)),
    "manifest with more": lambda: edited(hooks=["rm -rf /"]),
    "manifest of the future": lambda: edited(schema_version=99),
    "manifest of version 0": lambda: edited(schema_version=0),
    "manifest taken down to version 1": lambda: edited(schema_version=1),
    "manifest taken down to version 2": lambda: edited(schema_version=2),
    "manifest for another target": lambda: edited(target="lambda"),
    "digests in upper case": lambda: with_manifest(
        re.sub(r"[0-9a-f]{64}", lambda found: found[0].upper(), manifest_of(GOOD).to_json())
    ),
    "digests by md5": lambda: edited(files=[{"path": "etl.py", "size": 3, "md5": "0" * 32}]),
    "digests by none": lambda: edited(files=[{"path": "etl.py", "size": 3, "sha256": "none"}]),
    "digests that are too long": lambda: edited(files=[{"path": "etl.py", "size": 3, "sha256": "0" * 128}]),
    "digest of another file": lambda: listing(GOOD | {"rows.csv": b"b,a\n"}, *GOOD.items()),
    "file not listed": lambda: listing(GOOD, *GOOD.items(), ("more.py", b"")),
    "file not there": lambda: listing(GOOD, *list(GOOD.items())[:-1]),
    "two files swapped": lambda: listing(
        GOOD | {"a.txt": b"1", "b.txt": b"2"}, *GOOD.items(), ("a.txt", b"2"), ("b.txt", b"1")
    ),
    "file renamed": lambda: good().replace(b"pack/rows.py", b"pack/rowz.py"),
    "entry point os:system": lambda: edited(entry_point="os:system"),
    "entry point ..:x": lambda: edited(entry_point="..:x"),
    "entry point a.b:__import__": lambda: edited(entry_point="a.b:__import__"),
    "entry point etl:a.b": lambda: edited(entry_point="etl:a.b"),
    "entry point a thousand deep": lambda: edited(entry_point=".".join(["a"] * 1_000) + ":x"),
    "entry point in a data file": lambda: edited(entry_point="rows.csv:x"),
    "another flow's name": lambda: edited(flow_name="other"),
    "another build id": lambda: edited(build_id="0" * 12),
}  # fmt: skip


def all_of(folder: Path) -> dict[str, bytes]:
    return {str(each.relative_to(folder)): each.read_bytes() for each in folder.rglob("*") if each.is_file()}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("made", CORPUS.values(), ids=list(CORPUS))
def test_a_hostile_archive_is_refused_and_nothing_is_written(made: Callable[[], bytes], tmp_path: Path) -> None:
    path = tmp_path / "in" / "hostile.zip"
    path.parent.mkdir()
    path.write_bytes(made())
    before = all_of(tmp_path)
    with pytest.raises(ArtifactError) as caught:
        safe_extract(path, tmp_path / "out" / "deep")
    assert str(caught.value).startswith(str(path))
    with pytest.raises(ArtifactError):
        verify(path)
    assert all_of(tmp_path) == before
    assert not (tmp_path / "out").exists()


def test_the_good_archive_that_they_are_made_of_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "good.zip"
    path.write_bytes(good())
    assert safe_extract(path, tmp_path / "out") == manifest_of(GOOD)
    assert all_of(tmp_path / "out") == GOOD


def test_an_archive_inside_an_artifact_is_a_file_like_any_other(tmp_path: Path) -> None:
    path = tmp_path / "nested.zip"
    path.write_bytes(with_more(("inner.zip", bomb())))
    safe_extract(path, tmp_path / "out")
    assert sorted(all_of(tmp_path / "out")) == sorted([*GOOD, "inner.zip"])


def test_a_manifest_of_another_version_that_fits_itself_is_read(tmp_path: Path) -> None:
    for version in (1, 2, 3):
        path = tmp_path / f"{version}.zip"
        write_artifact(path, replace(manifest_of(GOOD), schema_version=version), GOOD)
        assert inspect(path).manifest.schema_version == version


# Changes that nobody thought of: each is refused, or the artifact is what it was.


def mutations(data: bytes, chance: random.Random) -> Iterator[bytes]:
    """Endless copies of `data`, each with a few changes, most of them in what says where things are."""
    directory = data.index(b"PK\x01\x02")
    while True:
        changed = bytearray(data)
        for _ in range(chance.randint(1, 4)):
            start = chance.randrange(directory if chance.random() < 0.7 else 0, len(changed))
            match chance.randrange(5):
                case 0:
                    changed[start] = chance.randrange(256)
                case 1:
                    changed[start : start + 4] = chance.choice([b"\xff" * 4, bytes(4), struct.pack("<L", len(data))])
                case 2:
                    changed[start:start] = chance.randbytes(chance.randint(1, 50))
                case 3:
                    del changed[start : start + chance.randint(1, 50)]
                case _:
                    other = chance.randrange(len(changed))
                    changed[start : start + 46] = changed[other : other + 46]
        yield bytes(changed)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_mutated_archive_is_what_it_was_or_is_refused(method: int, tmp_path: Path) -> None:
    whole = listing(GOOD, *GOOD.items(), method=method)
    path = tmp_path / "mutated.zip"
    refused = 0
    for _, data in zip(range(500), mutations(whole, random.Random(20_240)), strict=False):
        path.write_bytes(data)
        try:
            with open_artifact(path) as artifact:
                held = {each.path: b"".join(artifact.chunks(each)) for each in artifact.manifest.files}
                assert (artifact.manifest, held) == (manifest_of(GOOD), GOOD)
        except ArtifactError:
            refused += 1
    assert refused > 400


def test_a_manifest_with_any_part_exchanged_is_read_as_it_was_or_refused(tmp_path: Path) -> None:
    document = json.loads(manifest_of(GOOD).to_json())
    path = tmp_path / "exchanged.zip"
    for name in document:
        for value in (None, True, -1, 10**400, 1.5, "", "x", "\ud800", [], {}, [None], [[]], {"": None}):
            if value == document[name]:
                continue
            path.write_bytes(with_manifest(json.dumps(document | {name: value})))
            with pytest.raises(ArtifactError):
                verify(path)


# What is too large never gets into memory.

MEASURED = """
    import resource, sys, time
    from pathlib import Path
    from dagy.artifact.inspection import verify
    from dagy.errors import ArtifactError
    import pydantic, dagy.spec
    def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        verify(Path(sys.argv[1]))
    except ArtifactError:
        pass
    before = peak()
    for path in sys.argv[2:]:
        begun = time.process_time()
        try:
            verify(Path(path))
            raise SystemExit(f"{path} was accepted")
        except ArtifactError:
            print(path, round(time.process_time() - begun, 3), peak() - before)
"""


@pytest.mark.program
def test_bombs_are_refused_within_a_second_and_in_little_memory(tmp_path: Path) -> None:
    paths = []
    for name in ("bomb of 1,028:1", "quoted overlap", "a million entries", "zip64, many files", "longer than said"):
        path = tmp_path / f"{len(paths)}.zip"
        path.write_bytes(CORPUS[name]())
        paths.append(path)
    huge = tmp_path / "huge manifest.zip"
    text = manifest_of(GOOD).to_json() + " " * (100 << 20)
    huge.write_bytes(packed([(MANIFEST_NAME, text.encode()), *GOOD.items()]))
    good_path = tmp_path / "good.zip"
    good_path.write_bytes(good())
    program = textwrap.dedent(MEASURED)
    done = subprocess.run(
        [sys.executable, "-c", program, good_path, *paths, huge], capture_output=True, text=True, check=True
    )
    for line in done.stdout.splitlines():
        path_text, seconds, kilobytes = line.rsplit(maxsplit=2)
        assert float(seconds) < 1, path_text
        assert int(kilobytes) < 64 << 10, path_text
    assert len(done.stdout.splitlines()) == len(paths) + 1


def test_the_deflated_bomb_really_is_one() -> None:
    assert len(bomb()) < 30_000
