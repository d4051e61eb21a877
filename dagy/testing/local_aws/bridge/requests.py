"""How moto finds what answers a request: the same each time, so it is found once."""

from __future__ import annotations

import functools
from typing import Any

from dagy.testing.local_aws.bridge.patching import replace, replace_everywhere


def install() -> None:
    """Put it in place."""
    from moto.core import utils
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication

    def found_once(original: Any) -> Any:
        found: dict[str | None, Any] = {}

        def get_backend_for_host(self: Any, host: str | None) -> Any:
            if host not in found:
                found[host] = original(self, host)
            return found[host]

        return get_backend_for_host

    replace(DomainDispatcherApplication, "get_backend_for_host", found_once)
    replace_everywhere("moto.core", "method_names_from_class", functools.cache(utils.method_names_from_class))
