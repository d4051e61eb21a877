"""Which addresses a node may connect to, and an HTTP client that connects to no other.

A name says nothing: who owns it decides what it leads to, and may say something else the next time he is asked. So the
address is judged at the moment of connecting, and the very address that was judged is connected to; for each redirect
too. The public internet is open. What is private (this machine, the network around it) is refused unless the node's
`allowed_hosts` names it, for the flow may get its URLs from somebody who can't reach these but would like to. Where
clouds tell a machine its credentials, and what is no single machine at all, is refused whatever is allowed.
"""

from __future__ import annotations

import functools
import ipaddress
import re
import socket
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from dagy.errors import AuthError, NodeConfigError, shown

if TYPE_CHECKING:
    import ssl

    import httpcore
    import httpx

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

# Where clouds tell a machine its credentials: AWS (link-local ones aside), Google, Alibaba, Oracle, Azure.
_METADATA = [
    ipaddress.ip_network(each)
    for each in ("fd00:ec2::/32", "fd20:ce::/64", "100.100.100.200", "192.0.0.192", "168.63.129.16")
]
_THIS_NETWORK = ipaddress.ip_network("0.0.0.0/8")  # Linux takes it for this machine
_IPV4_COMPATIBLE = ipaddress.ip_network("::/96")
_TRANSLATED = [  # to IPv4, which is in the last 32 bits
    ipaddress.ip_network(each) for each in ("64:ff9b::/96", "64:ff9b:1::/48", "::ffff:0:0:0/96")
]
_HOST = re.compile(r"(\*\.)?[^\s*:/@?#\[\]]+")


@dataclass(frozen=True, slots=True)
class AddressRule:
    """The public internet, and what else is allowed: hosts by name, all below a domain, networks."""

    hosts: frozenset[str] = frozenset()
    domains: tuple[str, ...] = ()
    networks: tuple[Network, ...] = ()

    @classmethod
    def of(cls, allowed: object) -> AddressRule:
        """The rule that a field's value asks for: `["api.internal", "*.corp.example", "10.20.0.0/16", "::1"]`."""
        entries = [allowed] if isinstance(allowed, str) and allowed else allowed or []
        if not isinstance(entries, (list, tuple)):
            raise _fault(entries)
        hosts, domains, networks = set(), [], []
        for each in entries:
            if not isinstance(each, str):  # a number would be an address
                raise _fault(each)
            try:
                networks.append(ipaddress.ip_network(each, strict=False))
            except ValueError:
                if not _HOST.fullmatch(each):
                    raise _fault(each) from None
                if each.startswith("*."):
                    domains.append(f".{_named(each[2:])}")
                else:
                    hosts.add(_named(each))
        return cls(frozenset(hosts), tuple(domains), tuple(networks))

    def refusal(self, host: str, address: str) -> str | None:
        """Why nothing may connect to `address`, which is what `host` leads to just now; None: it may."""
        meant = _meant(ipaddress.ip_address(address.partition("%")[0]))
        what = f"{host!r}" if host == address else f"{host!r} leads to {address!r}, which"
        if kind := _never(meant):
            return f"{what} is {kind}; nodes connect to no such address"
        if _is_public(meant) or self._allows(host, meant):
            return None
        return f"{what} is no public address; if it is meant, name it in 'allowed_hosts': [{host!r}]"

    def _allows(self, host: str, address: Address) -> bool:
        name = _named(host)
        return name in self.hosts or name.endswith(self.domains) or any(address in each for each in self.networks)


def guarded_client(rule: AddressRule, *, seconds: float, **options: Any) -> httpx.Client:
    """An httpx client, with httpx's own `options`, that connects only to what `rule` lets it connect to.

    Anything else raises `AuthError`, in redirects too. All that it does must be over in so many seconds from now:
    then httpcore's or httpx's `TimeoutException` ends it, also if a byte comes now and then (only the system's look-up
    of a name takes its own time). It knows nothing of proxies: what a proxy connects to nobody here could judge.
    """
    import httpcore
    import httpx

    door = cast("httpcore.NetworkBackend", _Door(rule, time.monotonic() + seconds))
    pool = httpcore.ConnectionPool(ssl_context=_certificates(), network_backend=door)

    class Guarded(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            url = httpcore.URL(
                scheme=request.url.raw_scheme,
                host=request.url.raw_host,
                port=request.url.port,
                target=request.url.raw_path,
            )
            answer = pool.handle_request(
                httpcore.Request(
                    request.method,
                    url,
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
            body = cast("Iterable[bytes]", answer.stream)
            return httpx.Response(answer.status, headers=answer.headers, content=body, extensions=answer.extensions)

        def close(self) -> None:
            pool.close()

    return httpx.Client(transport=Guarded(), trust_env=False, timeout=seconds, **options)


@functools.cache
def _certificates() -> ssl.SSLContext:
    """Whom to trust, as httpx does; it takes longer to read than many a request."""
    import httpx

    return httpx.create_ssl_context()


class _Door:
    """How httpcore gets a connection: to an address that was judged, and that is not looked up again."""

    def __init__(self, rule: AddressRule, until: float) -> None:
        import httpcore

        self._rule = rule
        self._until = until
        self._network = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """A connection to the first address of `host` that answers, of those that are not refused."""
        import httpcore

        failure: Exception | None = None
        refused = ""
        for address in _addresses(host, port):
            if refusal := self._rule.refusal(host, address):
                refused = refused or refusal
                continue
            try:
                left = _left(self._until, timeout)
                stream = self._network.connect_tcp(address, port, left, local_address, socket_options)
                return cast("httpcore.NetworkStream", _Stream(stream, self._until))
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = failure or error
        if failure is None and refused:
            raise AuthError(refused)
        raise failure or httpcore.ConnectError(f"{host!r} has no address")

    def connect_unix_socket(self, path: str, *_: object) -> httpcore.NetworkStream:
        """Never."""
        raise AuthError(f"nodes connect to no socket file, and {path!r} is one")

    def sleep(self, seconds: float) -> None:
        """Wait, as httpcore would."""
        self._network.sleep(seconds)


class _Stream:
    """A connection that ends at a moment, of the monotonic clock, however alive it is."""

    def __init__(self, stream: httpcore.NetworkStream, until: float) -> None:
        self._stream = stream
        self._until = until
        self.close = stream.close
        self.get_extra_info = stream.get_extra_info

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """What has come."""
        return self._stream.read(max_bytes, _left(self._until, timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send it all."""
        self._stream.write(buffer, _left(self._until, timeout))

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> _Stream:
        """The same, encrypted from here on."""
        left = _left(self._until, timeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, left), self._until)


def _left(until: float, timeout: float | None) -> float:
    """Seconds until the one or the other is over. Raises httpcore's `ReadTimeout` when the first one is."""
    import httpcore

    left = until - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("time is up")
    return left if timeout is None else min(left, timeout)


def _addresses(host: str, port: int) -> Sequence[str]:
    """What `host` leads to just now."""
    import httpcore

    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpcore.ConnectError(f"{host!r} can't be found: {error}") from error
    return list(dict.fromkeys(str(place[0]) for *_, place in found))


def _meant(address: Address) -> Address:
    """Where a packet ends that is sent to `address`: an IPv6 address may be a wrapping of an IPv4 one."""
    if isinstance(address, ipaddress.IPv6Address):
        if wrapped := address.ipv4_mapped or address.sixtofour:
            return wrapped
        if any(address in each for each in _TRANSLATED):
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _never(address: Address) -> str:
    """What kind of address it is that nothing may connect to; empty when it is none."""
    if any(address in each for each in _METADATA):
        return "where a cloud tells a machine its credentials"
    if address.is_link_local:
        return "link-local, where clouds tell a machine its credentials"
    if address.is_multicast:
        return "multicast, many machines"
    is_old = address in _IPV4_COMPATIBLE and not address.is_loopback
    if address.is_unspecified or address in _THIS_NETWORK or is_old:
        return "no machine's"
    return "reserved" if address.version == 4 and address.is_reserved else ""


def _is_public(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address) and (address.is_reserved or address.is_site_local):
        return False
    return address.is_global


def _named(host: str) -> str:
    """A host's name as DNS compares it."""
    return host.rstrip(".").lower()


def _fault(entry: object) -> NodeConfigError:
    message = (
        f"'allowed_hosts' has {shown(entry)}; it is a list of names, of domains, and of networks, such as "
        "['api.internal', '*.corp.example', '10.20.0.0/16']"
    )
    return NodeConfigError(message, {"allowed_hosts": message})
