"""An `AsyncDagyClient` asked as if it were a `DagyClient`, so that one suite goes over both."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

from dagy.client import AsyncDagyClient, AsyncRun
from dagy.control import Page


class Blocking:
    """Each method of what it stands for, waited for."""

    def __init__(self, of: object, runner: asyncio.Runner) -> None:
        self._of = of
        self._runner = runner

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._of, name)
        if not callable(found) or name == "_of":
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            returned = found(*args, **kwargs)
            if inspect.isasyncgen(returned):
                return self._runner.run(_collected(returned))
            if inspect.iscoroutine(returned):
                returned = self._runner.run(returned)
            return self._wrapped(returned)

        return call

    def _wrapped(self, returned: object) -> object:
        if isinstance(returned, AsyncRun):
            return Blocking(returned, self._runner)
        if isinstance(returned, Page) and any(isinstance(each, AsyncRun) for each in returned.items):
            return Page(tuple(Blocking(each, self._runner) for each in returned.items), returned.next)
        return returned

    def __repr__(self) -> str:
        return repr(self._of)

    def __str__(self) -> str:
        return str(self._of)


def blocking(client: AsyncDagyClient, runner: asyncio.Runner) -> Any:
    return Blocking(client, runner)


async def _collected(generator: Any) -> list[Any]:
    return [each async for each in generator]
