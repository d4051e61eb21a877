"""HTTP: a request and its answer, and a message to a webhook.

Both connect only to where `addresses.py` lets them. Neither tries again by itself: that is the task's to say, with
`.with_options(retries=3, retry_delay_seconds=[1, 10, 60])`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagy.errors import ConnectorError, NetworkError, sentence, shown
from dagy.local_artifact import LocalArtifact
from dagy.nodes.connectors import DataType
from dagy.nodes.execution import ExecutionContext
from dagy.nodes.library.addresses import AddressRule, guarded_client
from dagy.nodes.library.descriptions import LibraryNode, choice, count, fault, field, inbound, json_field, outbound
from dagy.nodes.metadata import ConfigFieldType, NodeCategory, NodeMetadata
from dagy.version import __version__

if TYPE_CHECKING:
    import httpx

MOST_BYTES = 50 * 2**20  # of an answer, unless the node says otherwise
_MOST_BYTES_OF_A_WEBHOOK = 2**20
_MOST_SHOWN = 10_000  # bytes of an answer that are looked at for a message
_FIRST_CHARACTERS = 300  # of an answer that is a failure, in the message
_SECRET_LENGTH = 6  # of a part of a webhook's URL; shorter ones are words
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")


@dataclass(frozen=True, slots=True)
class _Answer:
    """What came back."""

    status: int
    reason: str
    headers: dict[str, str]
    body: bytes
    charset: str


@dataclass(frozen=True, slots=True)
class _Exchange:
    """A request, and the bounds of what it may come to. `shown_as` is its address in messages."""

    method: str
    url: httpx.URL
    shown_as: str
    rule: AddressRule
    timeout: float  # seconds
    redirects: int
    most_bytes: int
    headers: Mapping[str, str]  # in lower case; no other server that it redirects to gets them
    content: bytes | None
    hidden: frozenset[str] = frozenset()  # what no message shows, though the answer may

    def answer(self) -> _Answer:
        """Send it and read the answer, whatever its status. Raises `NetworkError`, and `AuthError` for the address."""
        import httpcore
        import httpx

        def keep_to_ourselves(request: httpx.Request) -> None:
            if not is_same_server(self.url, request.url):
                for name in self.headers.keys() - {"host", "content-type"}:
                    request.headers.pop(name, None)

        client = guarded_client(
            self.rule,
            seconds=self.timeout,
            follow_redirects=self.redirects > 0,
            max_redirects=self.redirects,
            event_hooks={"request": [keep_to_ourselves]},
            headers={"user-agent": f"dagy/{__version__}"},
        )
        try:
            with client, client.stream(self.method, self.url, headers=self.headers, content=self.content) as answer:
                body = bytearray()
                for piece in answer.iter_bytes():
                    body += piece
                    if len(body) > self.most_bytes:
                        raise NetworkError(f"{self.shown_as} answered with more than {self.most_bytes:,} bytes")
                charset = answer.charset_encoding or "utf-8"
                return _Answer(answer.status_code, answer.reason_phrase, dict(answer.headers), bytes(body), charset)
        except httpx.TooManyRedirects as error:
            raise NetworkError(f"{self.shown_as} redirects more than {self.redirects} times") from error
        except (httpx.TimeoutException, httpcore.TimeoutException) as error:
            raise NetworkError(f"{self.shown_as} did not answer in {self.timeout:g} s") from error
        except (
            httpx.HTTPError,
            httpx.InvalidURL,
            httpcore.NetworkError,
            httpcore.ProtocolError,
            httpcore.UnsupportedProtocol,
        ) as error:
            raise NetworkError(f"{self.shown_as} failed: {sentence(error)}") from error

    def good(self, accepted: frozenset[int] = frozenset()) -> _Answer:
        """As `answer`, but `NetworkError` for a status that is neither 2xx nor one of those `accepted`."""
        answer = self.answer()
        if 200 <= answer.status < 300 or answer.status in accepted:
            return answer
        said = f": {self.began(answer)}" if answer.body else ""
        raise NetworkError(f"{self.shown_as} answered {answer.status} {answer.reason}{said}")

    def began(self, answer: _Answer) -> str:
        """How the answer's body begins, for a message: without what is `hidden`."""
        text = answer.body[:_MOST_SHOWN].decode("utf-8", "replace")
        for each in self.hidden:
            text = text.replace(each, "***")
        return f"{text[:_FIRST_CHARACTERS]!r}{'...' if len(text) > _FIRST_CHARACTERS else ''}"


_TIMEOUT = field(
    "timeout",
    "Seconds until the answer must have come.",
    ConfigFieldType.NUMBER,
    label="Time limit",
    default=30.0,
    minimum=0.1,
)
_REDIRECTS = count(
    "redirects",
    "How many redirects are followed. Another host gets neither the headers nor the token.",
    default=5,
    maximum=20,
)
_ALLOWED_HOSTS = json_field(
    "allowed_hosts",
    'A list of what it may connect to beside the public internet: ["api.internal", "*.corp.example", '
    '"10.20.0.0/16", "localhost"]. Addresses where clouds tell a machine its credentials are refused '
    "whatever is here.",
)


class HttpRequest(LibraryNode):
    """The answer to an HTTP request."""

    about = NodeMetadata(
        "http_request",
        "HTTP request",
        "Asks a server, and gives what it answers. A status that is not 2xx is a failure. Proxies of the "
        "environment are not used.",
        NodeCategory.INPUT,
        tags=("api", "rest", "download", "url"),
        requires=("httpx",),
    )
    ports = (
        inbound(
            "content",
            DataType.FILE,
            DataType.BYTES,
            DataType.JSON,
            description="What to send, in place of 'json': text, bytes, files as they are, all else as JSON.",
        ),
        outbound(
            "body",
            DataType.JSON,
            DataType.BYTES,
            description="What came, as 'read_as' says. None when JSON is wished and nothing came.",
        ),
        outbound("status", DataType.INTEGER, description="200 and such."),
        outbound("headers", DataType.OBJECT, description="The answer's headers by their names in lower case."),
    )
    fields = (
        field(
            "url",
            "What to ask: https://api.example.com/v1/cities.",
            required=True,
            placeholder="https://api.example.com/v1/cities",
            label="URL",
        ),
        choice("method", "What is asked of it.", _METHODS),
        json_field("params", 'An object of what stands behind the "?" of the URL: {"page": 1}.', label="Parameters"),
        json_field("headers", 'An object of headers to send: {"accept": "text/csv"}.'),
        json_field("json", "A value to send as JSON.", label="JSON"),
        field("token", "A secret to send in the header 'token_header'.", ConfigFieldType.SECRET),
        field(
            "token_header",
            "'Authorization' says \"Bearer TOKEN\", any other header the token alone.",
            default="Authorization",
            label="Token's header",
        ),
        choice("read_as", "What to make of what comes.", {"json": "JSON", "text": "Text", "bytes": "Bytes"}),
        json_field(
            "accepted",
            "A list of statuses that are no failure, though they are not 2xx: [404].",
            label="Accepted statuses",
        ),
        _TIMEOUT,
        count("most_bytes", "How many bytes may come, unpacked.", default=MOST_BYTES, minimum=1, label="Size limit"),
        _REDIRECTS,
        _ALLOWED_HOSTS,
    )

    def execute(self, context: ExecutionContext) -> object:
        """The answer's body, status and headers."""
        config = context.config
        headers = {name.lower(): str(value) for name, value in _object(config, "headers").items()}
        content, media_type = _content(context.get_upstream_data("content", default=None), config["json"])
        if media_type:
            headers.setdefault("content-type", media_type)
        if wrong := next((name for name, value in headers.items() if not _is_header(name, value)), None):
            raise fault("headers", f"{wrong!r} can't be sent so: a header is one line of ASCII")
        token = context.secrets.get("token", "").strip()  # many a secret ends with the line end of its file
        if token:
            name = config["token_header"].lower()
            if not _is_header(name, token):  # the library's own message would show it
                raise fault("token", "the secret 'token', or its 'token_header', is not one line of ASCII")
            headers[name] = f"Bearer {token}" if name == "authorization" else token
        url, params = _checked(config["url"]), _object(config, "params")
        exchange = _Exchange(
            method=config["method"],
            url=url.copy_merge_params(params) if params else url,
            shown_as=f"{config['method']} {url.scheme}://{url.netloc.decode('ascii')}{url.path}",
            rule=AddressRule.of(config["allowed_hosts"]),
            timeout=config["timeout"],
            redirects=config["redirects"],
            most_bytes=config["most_bytes"],
            headers=headers,
            content=content,
            hidden=frozenset({token} - {""}),
        )
        answer = exchange.good(_statuses(config["accepted"]))
        try:
            body = _read(answer, config["read_as"])
        except (LookupError, RecursionError, ValueError) as error:
            told = f"{exchange.shown_as} answered what is not {config['read_as']}; choose another 'read_as'"
            raise NetworkError(f"{told}: {exchange.began(answer)}") from error
        return {"body": body, "status": answer.status, "headers": answer.headers}


class NotifyWebhook(LibraryNode):
    """A message, posted as JSON to a webhook."""

    about = NodeMetadata(
        "notify_webhook",
        "Notify a webhook",
        "Posts a message as JSON to a webhook: Slack, Teams, Discord, or a server of your own. A status "
        "that is not 2xx is a failure. Proxies of the environment are not used.",
        NodeCategory.NOTIFY,
        tags=("slack", "alert", "message", "post"),
        requires=("httpx",),
    )
    ports = (
        inbound("payload", DataType.JSON, description="What to post, in place of 'text'."),
        outbound("result", DataType.INTEGER, description="200 and such.", name="Status"),
    )
    fields = (
        field(
            "url",
            "The webhook's URL, which is a secret: whoever knows it may post there.",
            ConfigFieldType.SECRET,
            required=True,
            label="URL",
        ),
        field(
            "text",
            'What {"text": ...} says, which is how Slack and Teams take a message.',
            ConfigFieldType.TEXT,
            default="",
        ),
        replace(_TIMEOUT, default=10.0),
        _REDIRECTS,
        _ALLOWED_HOSTS,
    )

    def execute(self, context: ExecutionContext) -> object:
        """The status that it answered with."""
        config = context.config
        payload = context.get_upstream_data("payload", default=None)
        if payload is None and not config["text"]:
            raise fault("text", "there is nothing to post; give a 'text', or connect a value to 'payload'")
        url = _checked(context.secrets["url"])
        exchange = _Exchange(
            method="POST",
            url=url,
            shown_as=f"the webhook at {url.host}",
            rule=AddressRule.of(config["allowed_hosts"]),
            timeout=config["timeout"],
            redirects=config["redirects"],
            most_bytes=_MOST_BYTES_OF_A_WEBHOOK,
            headers={"content-type": "application/json"},
            content=_json({"text": config["text"]} if payload is None else payload, "payload"),
            hidden=frozenset(each for each in re.split("[/?&=]", url.raw_path.decode()) if len(each) >= _SECRET_LENGTH),
        )
        return exchange.good().status


def is_same_server(first: httpx.URL, then: httpx.URL) -> bool:
    """Whether what was for `first` may be told to `then` too; a server that redirects to its https is the same."""
    to_https = (first.scheme, first.port, then.scheme, then.port) == ("http", None, "https", None)
    return first.host == then.host and ((first.scheme, first.port) == (then.scheme, then.port) or to_https)


def _checked(text: str) -> httpx.URL:
    """The URL; `NodeConfigError`, which does not show it, when it is none that can be asked."""
    import httpx

    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, TypeError):
        raise fault("url", "'url' is no URL such as https://example.com/cities") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise fault("url", "'url' must begin with https://, or http://, and a host's name")
    return url


def _is_header(name: str, value: str) -> bool:
    return (
        re.fullmatch(r"[!#-'*+.^`|~\w-]+", name, re.ASCII) is not None and re.fullmatch(r"[ -~\t]*", value) is not None
    )


def _content(came: object, given: object) -> tuple[bytes | None, str]:
    """What to send, and of which media type it is; None and no type for nothing."""
    if isinstance(came, LocalArtifact):
        return came.content, came.media_type
    if isinstance(came, Path):
        return came.read_bytes(), "application/octet-stream"
    if isinstance(came, (bytes, bytearray, memoryview)):
        return bytes(came), "application/octet-stream"
    if isinstance(came, str):
        return came.encode(), "text/plain; charset=utf-8"
    value = given if came is None else came
    return (None, "") if value is None else (_json(value, "content"), "application/json")


def _json(value: object, connector: str) -> bytes:
    try:
        return json.dumps(value, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ConnectorError(f"what came in at {connector!r} is not JSON: {error}") from error


def _read(answer: _Answer, as_what: str) -> object:
    """The answer's body. Raises one of several errors when it is not that: hostile JSON is deep, a charset unknown."""
    match as_what:
        case "json":
            return json.loads(answer.body) if answer.body.strip() else None
        case "text":
            return answer.body.decode(answer.charset)
        case _:
            return answer.body


def _object(config: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    value = config[field] or {}
    if not isinstance(value, Mapping):
        raise fault(field, f'{field!r} is {shown(value)}; it is an object such as {{"page": 1}}')
    return value


def _statuses(value: object) -> frozenset[int]:
    listed = [value] if isinstance(value, int) else value or []
    if not isinstance(listed, (list, tuple)) or not all(isinstance(each, int) for each in listed):
        raise fault("accepted", f"'accepted' is {shown(value)}; it is a list of statuses such as [404]")
    return frozenset(listed)
