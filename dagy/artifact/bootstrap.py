"""How a container comes by an artifact: the program that its image's Python is given as a text.

The image needs Python and boto3, as Lambda's own have. `bootstrap_command()` is the whole command of a task definition:
it fetches the artifact and its dependency layer, checks them, unpacks them to a temporary folder, and becomes
`python -m dagy.artifact.container`. Where they are is said by environment variables of the task definition:

| variable | what it is |
|---|---|
| DAGY_ARTIFACT, DAGY_ARTIFACT_SHA256 | the artifact, `s3://bucket/key`, and the SHA-256 of the file, 64 hex digits |
| DAGY_LAYER, DAGY_LAYER_SHA256 | the same of the layer; without it the image has what the code needs |
| DAGY_BUCKET_OWNER | the account that the bucket must belong to |

Its exit code is 2 when it can't; otherwise it is that of `dagy.artifact.container`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

MOST_FILES = 100_000
MOST_BYTES = 20 << 30  # unpacked; a container has that much of a disk
COULD_NOT_BEGIN = 2


def fetch(url: str, sha256: str, path: Path) -> None:
    """Put the object at `url` at `path`; `ValueError` when it is not the one whose digest this is."""
    import boto3

    parts = urlsplit(url)
    owner = os.environ.get("DAGY_BUCKET_OWNER")
    given: dict[str, Any] = {"ExpectedBucketOwner": owner} if owner else {}
    body = boto3.client("s3").get_object(Bucket=parts.netloc, Key=parts.path.lstrip("/"), **given)["Body"]
    digest = hashlib.sha256()
    with path.open("wb") as file:
        while piece := body.read(1 << 20):
            digest.update(piece)
            file.write(piece)
    if digest.hexdigest() != sha256.lower():
        raise ValueError(f"{url} is not what was deployed: its SHA-256 is {digest.hexdigest()}, not {sha256}")


def unpack(path: Path, folder: Path) -> None:
    """Unpack the ZIP to `folder`; `ValueError` when it is too large, or a path of it leads elsewhere."""
    with zipfile.ZipFile(path) as archive:
        entries = [each for each in archive.infolist() if not each.is_dir()]
        total = sum(each.file_size for each in entries)
        free = shutil.disk_usage(folder.parent).free
        if len(entries) > MOST_FILES or total > min(MOST_BYTES, free):
            raise ValueError(
                f"{path.name} holds {len(entries):,} files of {total:,} bytes, and {free:,} bytes are free"
            )
        for each in entries:
            parts = each.filename.split("/")
            if not all(parts) or {".", ".."} & set(parts) or "\\" in each.filename or stat.S_ISLNK(_mode(each)):
                raise ValueError(f"{path.name} holds {each.filename!r}, which does not stay in its folder")
        for each in entries:
            written = Path(archive.extract(each, folder))
            written.chmod(0o755 if _mode(each) & 0o111 else 0o644)


def _mode(entry: zipfile.ZipInfo) -> int:
    return entry.external_attr >> 16


def main() -> None:
    """Fetch, check, unpack, and become the container's own program."""
    try:
        sys.path.append(os.environ.get("LAMBDA_RUNTIME_DIR", "/var/runtime"))  # where Lambda's images have boto3
        folder = Path(tempfile.mkdtemp(prefix="dagy-"))
        for name in ("artifact", "layer"):
            url = os.environ.get(f"DAGY_{name.upper()}")
            if url:
                fetch(url, os.environ[f"DAGY_{name.upper()}_SHA256"], folder / f"{name}.zip")
                unpack(folder / f"{name}.zip", folder / name)
                (folder / f"{name}.zip").unlink()
        paths = [folder / "artifact", folder / "layer" / "python", os.environ.get("PYTHONPATH"), sys.path[-1]]
        os.environ["PYTHONPATH"] = os.pathsep.join(str(each) for each in paths if each)
        os.environ["LAMBDA_TASK_ROOT"] = str(folder / "artifact")
        os.chdir(folder / "artifact")
    except Exception as error:  # noqa: BLE001 (whatever it is, the log says it, and the exit code)
        sys.stderr.write(f"the artifact can't be made ready: {type(error).__name__}: {error}\n")
        sys.exit(COULD_NOT_BEGIN)
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-m", "dagy.artifact.container"])


def bootstrap_command() -> list[str]:
    """The command of a task definition: `entryPoint`, with nothing to follow."""
    return ["python", "-c", f"{Path(__file__).read_text(encoding='utf-8')}\n\nmain()\n"]
