"""The Dockerfile of an artifact: what each of its instructions does, done by hand, gives a container that runs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from dagy.artifact import Artifact, build_artifact
from dagy.artifact.dockerfile import dockerfile
from dagy.artifact.own_code import RUNTIME_REQUIREMENTS
from dagy.cli.artifact import command
from dagy.errors import ArtifactError

from .wheelhouse import Wheelhouse

FLOW = """
import dagy
from dagy import flow, task

@task
def where(count: int):
    return [dagy.__file__] * count

@flow(name="Where is it?", version="1\\n2")
def somewhere(count: int = 1):
    return where(count)
"""
INSTRUCTIONS = {"FROM", "COPY", "RUN", "ENV", "WORKDIR", "USER", "ENTRYPOINT"}


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Artifact]:
    """An artifact for a container, with a layer of wheels of what is installed here."""
    folder = tmp_path_factory.mktemp("dockerfile")
    house = Wheelhouse(folder / "wheelhouse")
    for each in RUNTIME_REQUIREMENTS:
        house.add_installed(each.partition(">=")[0])
    (folder / "places.py").write_text(FLOW)
    with pytest.MonkeyPatch.context() as patch:
        house.serve(patch)
        patch.setenv("DAGY_LOCAL_DIR", str(folder / "local"))
        yield build_artifact(folder / "places.py", output_dir=folder / "dist", target="ecs")


def parsed(text: str) -> list[tuple[str, str]]:
    """The instructions, each with what follows it; no line may be anything else."""
    found = []
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, _, rest = line.partition(" ")
            assert name in INSTRUCTIONS, line
            found.append((name, rest))
    return found


class Built:
    """An image as folders: `do` what the instructions say."""

    def __init__(self, context: Path, root: Path) -> None:
        self.context = context
        self.root = root
        self.stages: dict[str, Path] = {}
        self.environment: dict[str, str] = {}
        self.entry_point: list[str] = []
        self.user = "root"

    def do(self, name: str, rest: str) -> None:
        match name:
            case "FROM":
                self.stage = self.root / str(len(self.stages))
                self.stages[rest.partition(" AS ")[2]] = self.stage
                self.environment, self.user = {}, "root"
            case "COPY":
                options, source, target = re.fullmatch(r"(?:--from=(\S+) )?(\S+) (\S+)", rest).groups()  # type: ignore[union-attr]
                base = self.stages[options] if options else self.context
                self._copy(base / source.lstrip("/"), self.inside(target))
            case "RUN":
                done = [self.inside(each) if each.startswith("/") else each for each in json.loads(rest)]
                subprocess.run([sys.executable, *map(str, done[1:])], check=True, timeout=60)
            case "ENV":
                variable, _, value = rest.partition("=")
                self.environment[variable] = value
            case "WORKDIR":
                self.folder = self.inside(rest)
            case "USER":
                self.user = rest
            case _:
                self.entry_point = json.loads(rest)

    def inside(self, path: str) -> Path:
        return self.stage / path.lstrip("/")

    def _copy(self, source: Path, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copyfile(source, target)

    def run(self, **more: str) -> subprocess.CompletedProcess[str]:
        paths = self.environment["PYTHONPATH"].split(":")
        given = {**self.environment, "PYTHONPATH": os.pathsep.join(str(self.inside(each)) for each in paths),
                 "LAMBDA_TASK_ROOT": str(self.inside(self.environment["LAMBDA_TASK_ROOT"])), **more}  # fmt: skip
        # -S: without the packages of this machine
        entry_point = [sys.executable, "-S", *self.entry_point[1:]]
        return subprocess.run(entry_point, env=given, cwd=self.folder, capture_output=True, text=True, timeout=60)


@pytest.mark.program
def test_an_image_made_as_it_says_runs_the_flow_with_nothing_else(artifact: Artifact, tmp_path: Path) -> None:
    built = Built(artifact.path.parent, tmp_path)
    for name, rest in parsed(dockerfile(artifact.manifest)):
        built.do(name, rest)
    assert built.user == "1000:1000"
    done = built.run(DAGY_EVENT=json.dumps({"run_id": "r-1", "parameters": {"count": 2}}))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["result"] == {"value": [str(built.inside("/dagy/python/dagy/__init__.py"))] * 2}


@pytest.mark.program
def test_its_base_is_of_the_artifacts_python_and_nothing_of_the_flow_ends_a_comment(artifact: Artifact) -> None:
    text = dockerfile(artifact.manifest)
    (first, last) = [rest for name, rest in parsed(text) if name == "FROM"]
    image = f"public.ecr.aws/lambda/python:{artifact.manifest.python_version}"
    assert first == f"--platform=linux/amd64 {image} AS unpacked"
    assert last == f"--platform=linux/amd64 {image}"
    assert "'Where is it?', version '1\\n2', build " in text
    assert f"--tag where-is-it:{artifact.build_id} " in text


@pytest.mark.program
def test_it_is_for_the_machine_that_the_artifact_is_for(artifact: Artifact) -> None:
    text = dockerfile(replace(artifact.manifest, target="lambda-arm64"), image="python@sha256:1234")
    assert "FROM --platform=linux/arm64 python@sha256:1234\n" in text


@pytest.mark.program
def test_an_artifact_for_this_machine_has_no_image(artifact: Artifact) -> None:
    with pytest.raises(ArtifactError, match="build it with --target ecs"):
        dockerfile(replace(artifact.manifest, target="local", lock=()))


@pytest.mark.program
@pytest.mark.parametrize("how", ["stdout", "file"])
def test_the_command_prints_it_or_writes_it(artifact: Artifact, tmp_path: Path, how: str) -> None:
    target = tmp_path / "Dockerfile"
    options: list[Any] = ["-o", str(target)] if how == "file" else []
    done = CliRunner().invoke(command, ["dockerfile", str(artifact.path), *options])
    assert done.exit_code == 0, done.output
    assert (target.read_text() if how == "file" else done.stdout) == dockerfile(artifact.manifest)
