"""From a MIME bundle, as Jupyter has it, to what a view and a still picture show of it. Pure, and bounded."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from dagy.drawing import markup_lines
from dagy.errors import MissingExtraError

_IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp")
_BASE64 = re.compile(r"[A-Za-z0-9+/=\s]*")
_LARGEST_IMAGE = 2_000_000  # characters of base64
_LARGEST_HTML = 100_000
_LONGEST_TEXT = 4_000
_MOST_STILL_IMAGES = 4_000_000  # characters of all images in one still picture
_MOST_STILL_MARKUP = 100_000  # of all other previews there


@dataclass(frozen=True, slots=True)
class Preview:
    """A value as a view shows it. `content` is a data URI for an image, else HTML or plain text."""

    kind: Literal["image", "html", "text"]
    content: str

    @property
    def size(self) -> int:
        """Its characters."""
        return len(self.content)

    def as_json(self) -> dict[str, str]:
        """The preview for a message."""
        return {"kind": self.kind, "content": self.content}


def preview_of(bundle: Mapping[str, object]) -> Preview | None:
    """The richest part of `bundle` that every reader can show and that is not too large; None when there is none."""
    for kind in _IMAGES:
        image = bundle.get(kind)
        data = base64.b64encode(image).decode() if isinstance(image, bytes) else image
        if isinstance(data, str) and len(data) <= _LARGEST_IMAGE and _BASE64.fullmatch(data):
            return Preview("image", f"data:{kind};base64,{''.join(data.split())}")
    drawing = _text(bundle.get("image/svg+xml"))
    if drawing and len(drawing) <= _LARGEST_IMAGE:
        data = base64.b64encode(sendable(drawing).encode()).decode()
        return Preview("image", f"data:image/svg+xml;base64,{data}")
    markup = _text(bundle.get("text/html"))
    if markup and len(markup) <= _LARGEST_HTML:
        harmless = _without_scripts(sendable(markup))
        if harmless.strip():
            return Preview("html", harmless)
    plain = _text(bundle.get("text/plain"))
    if not plain:
        return None
    return Preview("text", sendable(plain if len(plain) <= _LONGEST_TEXT else plain[:_LONGEST_TEXT] + "\n..."))


def still_previews(previews: Mapping[str, Sequence[Preview]]) -> dict[str, str]:
    """For each task its previews as HTML for a still picture; what would make the picture too heavy is left out."""
    left = {True: _MOST_STILL_IMAGES, False: _MOST_STILL_MARKUP}
    found: dict[str, str] = {}
    for task, shown in previews.items():
        parts = []
        for each in shown:
            is_image = each.kind == "image"
            fits = each.size <= left[is_image]
            left[is_image] -= each.size if fits else 0
            parts.append(
                _still(each) if fits else f"<p>(one {each.kind} left out here, to keep the notebook small)</p>"
            )
        if parts:
            found[task] = "".join(parts)
    return found


def sendable(text: str) -> str:
    """`text` with what no message and no file in UTF-8 can hold, halves of surrogate pairs, written as an escape."""
    return text.encode("utf-8", "backslashreplace").decode()


def _without_scripts(markup: str) -> str:
    """What of `markup` shows and does not act: no script, no style for the page, every tag closed."""
    try:
        import nh3
    except ImportError as error:
        raise MissingExtraError("nh3", "notebook", "showing HTML that a task displays") from error
    attributes = {**nh3.ALLOWED_ATTRIBUTES, "*": {"class", "title"}, "img": {"src", "alt", "width", "height"}}
    return nh3.clean(
        markup, attributes=attributes, url_schemes={"data", "http", "https"}, attribute_filter=_without_fetching
    )


def _without_fetching(_tag: str, attribute: str, value: str) -> str | None:
    """The attribute's value; None for an image that would be fetched from somewhere, and so tell who is looking."""
    return value if attribute != "src" or value.strip().lower().startswith("data:image/") else None


def _still(preview: Preview) -> str:
    match preview.kind:
        case "image":
            return f'<img src="{preview.content}" alt="shown by the task" style="max-width:100%;background:#fff"/>'
        case "html":
            return f'<div style="overflow:auto">{preview.content}</div>'
        case "text":
            return f'<pre style="white-space:pre-wrap">{markup_lines(preview.content)}</pre>'


def _text(part: object) -> str:
    """Jupyter gives a text as a string or as a list of lines."""
    return "".join(map(str, part)) if isinstance(part, list | tuple) else part if isinstance(part, str) else ""
