"""A Dockerfile for an artifact: an image that holds its code and what that needs, and runs one payload a container.

It needs nothing from a network but its base image, which is named by version: the dependency layer lies beside the
artifact, made for the very same platform, and both are unpacked while the image is built.
"""

from __future__ import annotations

import re

from dagy.artifact.manifest import LOCAL_TARGET, Manifest
from dagy.artifact.targets import target_called
from dagy.errors import ArtifactError

BASE_IMAGE = "public.ecr.aws/lambda/python"  # has Python, boto3, and the C library that wheels were chosen for

_TEXT = """\
# The flow {flow}, version {version}, build {build}, as an image. Made by `dagy artifact dockerfile`.
#
# Build it in the folder that holds {artifact} and {layer}:
#
#     docker build --platform {platform} --tag {tag}:{build} --file Dockerfile .
#
# A container does what the payload in DAGY_EVENT asks for, keeps what lasts in the store that DAGY_STORE names, and
# ends with 0 once that is kept, whether the run went well or not.

FROM --platform={platform} {image} AS unpacked
COPY {artifact} /dagy/artifact.zip
COPY {layer} /dagy/layer.zip
RUN ["python", "-m", "zipfile", "-e", "/dagy/artifact.zip", "/dagy/code"]
RUN ["python", "-m", "zipfile", "-e", "/dagy/layer.zip", "/dagy/layer"]

FROM --platform={platform} {image}
COPY --from=unpacked /dagy/code /dagy/code
COPY --from=unpacked /dagy/layer/python /dagy/python
ENV LAMBDA_TASK_ROOT=/dagy/code
ENV PYTHONPATH=/dagy/code:/dagy/python:/var/runtime
ENV PYTHONDONTWRITEBYTECODE=1
ENV HOME=/tmp
WORKDIR /dagy/code
USER 1000:1000
ENTRYPOINT ["python", "-m", "dagy.artifact.container"]
"""


def dockerfile(
    manifest: Manifest, *, artifact: str = "artifact.zip", layer: str = "dependencies.zip", image: str | None = None
) -> str:
    """The text of a Dockerfile; `artifact` and `layer` are the names of the two files beside it.

    The base `image` is Lambda's own for the artifact's Python unless one is given, such as one pinned by its digest.
    Raises `ArtifactError` for an artifact that was built for this machine: what it needs is in no layer.
    """
    if manifest.target == LOCAL_TARGET:
        raise ArtifactError(
            f"the artifact of {manifest.flow_name!r} was built for this machine, so what it needs is in no layer; "
            "build it with --target ecs"
        )
    return _TEXT.format(
        flow=_in_a_line(manifest.flow_name), version=_in_a_line(manifest.flow_version), build=manifest.build_id,
        artifact=artifact, layer=layer, tag=_tag(manifest.flow_name), platform=_platform(manifest),
        image=image or f"{BASE_IMAGE}:{manifest.python_version}",
    )  # fmt: skip


def _platform(manifest: Manifest) -> str:
    return "linux/arm64" if target_called(manifest.target).machine == "aarch64" else "linux/amd64"


def _tag(flow: str) -> str:
    """The flow's name as that of an image."""
    return re.sub(r"[^a-z0-9]+", "-", flow.lower()).strip("-") or "flow"


def _in_a_line(text: str) -> str:
    """A text as a part of a comment, which it does not end."""
    return " ".join(repr(text).split())
