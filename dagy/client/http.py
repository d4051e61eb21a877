"""The control plane at an address, over HTTP.

What is decided here is plain functions; the two transports only send, read and wait. A server, or whatever stands in
its place, is not trusted: how much is read and how long it may take is bounded, no redirect is followed, so the token
goes to no other address, and what can't be understood becomes a `NetworkError` that says what came.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagy.control.api import Request, Response
from dagy.errors import NetworkError, shown
from dagy.profiles import checked_token, checked_url, is_loopback
from dagy.version import __version__

if TYPE_CHECKING:
    import httpx

CONNECT_SECONDS = 10.0  # until a connection stands
IDLE_SECONDS = 30.0  # without a sign of life
TOTAL_SECONDS = 60.0  # for one try of a request
FILE_SECONDS = 3_600.0  # for one try that carries a file
MOST_BYTES = 64 << 20  # of an answer
MOST_FILE_BYTES = 4 << 30  # of an answered file
LONGEST_PAUSE = 30.0  # seconds, whatever the server asks for

_PAUSES = (0.2, 0.6, 1.5)  # seconds before each further try; a random half is added
_TRY_AGAIN = frozenset({502, 503, 504})
_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class Failure:
    """Why one try of a request came to nothing, or to an answer that asks to come again."""

    error: NetworkError | None  # None: there is an answer
    status: int = 0
    retry_after: str = ""  # the header
    was_sent: bool = True  # False: the server can't have seen it


def pause(request: Request, failure: Failure, tried: int, chance: float) -> float | None:
    """Seconds until a request that was `tried` so many times is tried again; None: it is not.

    A request that does something is only sent again when the server can't have done it, or when that would do no harm.
    `chance` is uniform in [0, 1).
    """
    is_refused = failure.status == 429 or not failure.was_sent
    is_lost = failure.error is not None or failure.status in _TRY_AGAIN
    if tried > len(_PAUSES) or not (is_refused or (is_lost and request.is_repeatable)):
        return None
    asked = _asked_pause(failure.retry_after)
    usual = _PAUSES[tried - 1]
    return min(LONGEST_PAUSE, max(asked, usual) + usual * chance / 2)


def _asked_pause(header: str) -> float:
    """Seconds that a `Retry-After` asks for; 0 when it makes no sense."""
    with contextlib.suppress(ValueError, OverflowError):
        return max(0.0, min(float(header), LONGEST_PAUSE))
    with contextlib.suppress(ValueError, TypeError):
        moment = parsedate_to_datetime(header)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max(0.0, min((moment - datetime.now(UTC)).total_seconds(), LONGEST_PAUSE))
    return 0.0


class HttpTransport:
    """Sends requests to the control plane at `api_url`, each with the `token`.

    Raises `SettingsError` for an address that a token may not be sent to (see `dagy.profiles.checked_url`), and for a
    token that is none.
    """

    is_local = False

    def __init__(
        self,
        api_url: str,
        *,
        token: str | None = None,
        sleep: Callable[[float], None] = time.sleep,
        total_seconds: float = TOTAL_SECONDS,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._server = _Server(checked_url(api_url, "api_url"), token, total_seconds, most_bytes)
        self._sleep = sleep
        self._client: httpx.Client | None = None

    def send(self, request: Request) -> Response:
        """What the server answers, once it can be had. Raises `NetworkError`."""
        tried = 0
        while True:
            tried += 1
            response, failure = self._once(request)
            seconds = pause(request, failure, tried, random.random())
            if seconds is None:
                if response is None:
                    assert failure.error is not None
                    raise failure.error
                return response
            self._sleep(seconds)

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _once(self, request: Request) -> tuple[Response | None, Failure]:
        import httpx

        server = self._server
        if self._client is None:
            self._client = httpx.Client(**server.options())
        self._client.cookies.clear()  # a server's cookies are none of ours
        reading = _Reading(server, request)
        try:
            with self._client.stream(**server.outgoing(request), content=_content(request)) as answered:
                reading.begin(answered)
                for chunk in answered.iter_raw(_CHUNK):
                    reading.add(chunk)
            response = reading.end()
        except httpx.HTTPError as error:
            return None, server.failure(error)
        except NetworkError as error:
            return None, Failure(error, reading.status)
        finally:
            reading.close()
        return response, Failure(None, response.status, response.headers.get("retry-after", ""))

    def __repr__(self) -> str:
        return f"<HttpTransport {self._server.url}>"


class AsyncHttpTransport:
    """An `HttpTransport` for code in an event loop."""

    is_local = False

    def __init__(
        self,
        api_url: str,
        *,
        token: str | None = None,
        sleep: Callable[[float], Awaitable[None]] | None = None,  # None: asyncio's
        total_seconds: float = TOTAL_SECONDS,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._server = _Server(checked_url(api_url, "api_url"), token, total_seconds, most_bytes)
        self._sleep = sleep
        self._client: httpx.AsyncClient | None = None

    async def send(self, request: Request) -> Response:
        """What the server answers, once it can be had. Raises `NetworkError`."""
        import asyncio

        tried = 0
        while True:
            tried += 1
            response, failure = await self._once(request)
            seconds = pause(request, failure, tried, random.random())
            if seconds is None:
                if response is None:
                    assert failure.error is not None
                    raise failure.error
                return response
            await (self._sleep or asyncio.sleep)(seconds)

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def _once(self, request: Request) -> tuple[Response | None, Failure]:
        import httpx

        server = self._server
        if self._client is None:
            self._client = httpx.AsyncClient(**server.options())
        self._client.cookies.clear()  # a server's cookies are none of ours
        reading = _Reading(server, request)
        try:
            async with self._client.stream(**server.outgoing(request), content=_async_content(request)) as answered:
                reading.begin(answered)
                async for chunk in answered.aiter_raw(_CHUNK):
                    reading.add(chunk)
            response = reading.end()
        except httpx.HTTPError as error:
            return None, server.failure(error)
        except NetworkError as error:
            return None, Failure(error, reading.status)
        finally:
            reading.close()
        return response, Failure(None, response.status, response.headers.get("retry-after", ""))

    def __repr__(self) -> str:
        return f"<AsyncHttpTransport {self._server.url}>"


# ---- what both do alike


class _Server:
    """The address, what goes along with each request, and what it means that one failed."""

    def __init__(self, url: str, token: str | None, total_seconds: float, most_bytes: int) -> None:
        self.url = url
        self.total_seconds = total_seconds
        self.most_bytes = most_bytes
        self._headers = {
            "accept": "application/json",
            "accept-encoding": "identity",  # so that what arrives is as large as it says
            "user-agent": f"dagy/{__version__}",
        }
        if token is not None:
            self._headers["authorization"] = f"Bearer {checked_token(token, 'the token')}"

    def options(self) -> dict[str, Any]:
        """Of httpx's clients."""
        import httpx

        return {
            "timeout": httpx.Timeout(IDLE_SECONDS, connect=CONNECT_SECONDS),
            "follow_redirects": False,
            "verify": self.url.startswith("https:"),  # certificates take long to load, and plain http has none
            "trust_env": not is_loopback(httpx.URL(self.url).host),  # what stays here goes through no proxy
        }

    def outgoing(self, request: Request) -> dict[str, Any]:
        """The request as httpx takes it, but for its content."""
        headers = dict(self._headers)
        if request.file is not None:
            headers |= {"content-type": "application/zip", "content-length": str(request.file.stat().st_size)}
        elif request.body:
            headers["content-type"] = "application/json"
        return {
            "method": request.method,
            "url": self.url + request.path,
            "params": dict(request.query) or None,
            "headers": headers,
        }

    def failure(self, error: httpx.HTTPError) -> Failure:
        """What it means that httpx gave up."""
        import httpx

        was_sent = not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
        why = str(error) or type(error).__name__
        if isinstance(error, httpx.TimeoutException):
            why = "it took too long"
        what = "did not answer to the end" if was_sent else "can't be reached"
        found = NetworkError(f"the server at {self.url} {what}: {why}")
        found.__cause__ = error
        return Failure(found, was_sent=was_sent)


class _Reading:
    """One answer as it arrives, within its bounds."""

    def __init__(self, server: _Server, request: Request) -> None:
        self._server = server
        self._request = request
        has_file = request.file is not None or request.save_as is not None
        self._ends = time.monotonic() + (FILE_SECONDS if has_file else server.total_seconds)
        self._chunks: list[bytes] = []
        self._size = 0
        self._most = server.most_bytes
        self._file: Any = None
        self._headers: Mapping[str, str] = {}
        self.status = 0

    def begin(self, answered: httpx.Response) -> None:
        """Look at how the answer begins. `NetworkError` when it is none of the control plane's."""
        self.status = answered.status_code
        self._headers = {name.lower(): value for name, value in answered.headers.items()}
        what = f"the server at {self._server.url} answered {self._request.method} {self._request.path} with"
        if self.status < 200 or 300 <= self.status < 400:
            where = answered.headers.get("location", "")
            told = f", to {shown(where.partition('?')[0])}" if where else ""
            raise NetworkError(f"{what} a redirect ({self.status}{told}), which is not followed; is the api_url right?")
        if self._headers.get("content-encoding", "identity") != "identity":
            raise NetworkError(
                f"{what} an encoding that was not asked for ({shown(self._headers['content-encoding'])})"
            )
        if self._request.save_as is not None and self.status == 200:
            self._most = MOST_FILE_BYTES
            self._file = self._request.save_as.open("wb")

    def add(self, chunk: bytes) -> None:
        """Take a piece. `NetworkError` when it is too much, or took too long."""
        self._size += len(chunk)
        if self._size > self._most:
            raise NetworkError(f"the server at {self._server.url} answered with more than {self._most:,} bytes")
        if time.monotonic() > self._ends:
            raise NetworkError(f"the server at {self._server.url} takes too long to answer")
        if self._file is not None:
            self._file.write(chunk)
        else:
            self._chunks.append(chunk)

    def end(self) -> Response:
        """The whole answer. `NetworkError` when it is not JSON, as the control plane's are."""
        if self._file is not None:
            return Response(self.status, file=self._request.save_as, headers=self._headers)
        body = b"" if self.status == 204 else b"".join(self._chunks)
        kind = self._headers.get("content-type", "nothing that has a type").partition(";")[0].strip()
        is_json = kind == "application/json"
        if self.status < 300 and self.status != 204 and not is_json:
            begins = shown(body[:200].decode("utf-8", "replace"))
            raise NetworkError(
                f"the server at {self._server.url} answered with {kind} instead of JSON ({begins}); "
                "is the api_url right?"
            )
        return Response(self.status, body, headers=self._headers)

    def close(self) -> None:
        """Close the file, if one is written."""
        if self._file is not None:
            self._file.close()


def _content(request: Request) -> Iterator[bytes] | bytes:
    return request.body if request.file is None else _pieces(request.file)


def _async_content(request: Request) -> AsyncIterator[bytes] | bytes:
    return request.body if request.file is None else _async_pieces(request.file)


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            yield piece


async def _async_pieces(path: Path) -> AsyncIterator[bytes]:
    for piece in _pieces(path):
        yield piece
