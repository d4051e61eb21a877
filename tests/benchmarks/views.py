"""How fast the view of a run is in a real Chromium: drawn, changed, recoloured ten times a second.

The times are the page's own, from a call until the frame after it has been painted.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.browser.lab import Browser
from tests.browser.page import ViewPage, run_of, task

from .measuring import Effort, Row, in_unit

DRAWN, CHANGED = 5_000, 2_000
SECONDS = 3.0  # of recolouring
AT_ONCE = 200  # tasks that change with each of ten updates a second

_PAINTED = "new Promise((done) => requestAnimationFrame(() => setTimeout(done)))"

# Draw the model in the page's first place.
_DRAW = f"""async () => {{
    const begun = performance.now();
    harness.draw(1, "first");
    await {_PAINTED};
    return performance.now() - begun;
}}"""

# Give the page these deltas, and wait each time until they are painted.
_CHANGE = f"""async (deltas) => {{
    const found = [];
    for (const delta of deltas) {{
        const begun = performance.now();
        harness.receive(1, delta);
        await {_PAINTED};
        found.push(performance.now() - begun);
    }}
    return found;
}}"""

# Give the page these deltas, ten a second, and count the frames.
_RECOLOUR = """(deltas) => new Promise((done) => {
    const begun = performance.now();
    let [frames, next, longest, before] = [0, 0, 0, begun];
    const frame = (now) => {
        frames += 1;
        longest = Math.max(longest, now - before);
        before = now;
        const since = performance.now() - begun;
        if (since > next * 100 && next < deltas.length) harness.receive(1, deltas[next++]);
        if (next < deltas.length || since < next * 100) requestAnimationFrame(frame);
        else done([frames / (since / 1000), longest]);
    };
    requestAnimationFrame(frame);
})"""


def views(effort: Effort) -> Iterator[Row]:
    """The figures, a browser for all of them."""
    with Browser() as browser:
        drawn, frames, longest = [], [], []
        size = effort.size(DRAWN)
        needs = _layers(size)
        for _ in range(effort.slow().rounds):
            with ViewPage(browser) as view:
                view.open(run_of(needs))
                drawn.append(view.page.evaluate(_DRAW) / 1000)
                deltas = _deltas(list(needs), round(SECONDS * 10 * min(1.0, effort.share * 10)), AT_ONCE)
                rate, gap = view.page.evaluate(_RECOLOUR, deltas)
                frames.append(rate)
                longest.append(gap / 1000)
        yield _row(f"view of {size:,} tasks drawn", drawn, target=1.5)
        rate = statistics.median(frames)
        yield Row(
            f"view of {size:,} tasks, {AT_ONCE:,} recoloured 10 times a second", f"{rate:.0f} frames/s",
            f"longest frame {in_unit(statistics.median(longest))}", target="50 frames/s", is_met=rate >= 50,
        )  # fmt: skip
        size = effort.size(CHANGED)
        needs = _layers(size)
        for at_once in (1, min(size, AT_ONCE)):
            with ViewPage(browser) as view:
                view.show(run_of(needs))
                found = view.page.evaluate(_CHANGE, _deltas(list(needs), 3 * effort.rounds, at_once))
                yield _row(
                    f"view of {size:,} tasks, {at_once:,} changed and painted",
                    [each / 1000 for each in found],
                    target=0.05,
                )


def _row(what: str, seconds: Sequence[float], *, target: float) -> Row:
    low, _, high = statistics.quantiles(seconds, n=4, method="inclusive") if len(seconds) > 1 else seconds * 3
    median = statistics.median(seconds)
    return Row(
        what, in_unit(median), spread=f"{in_unit(low)} to {in_unit(high)}", target=in_unit(target),
        is_met=median <= target,
    )  # fmt: skip


def _layers(size: int) -> dict[str, list[str]]:
    """A random graph in layers of about ten, with 1.3 edges a task."""
    chance = random.Random(size)
    needs: dict[str, list[str]] = {}
    for number in range(size):
        above = range(max(0, number // 10 * 10 - 10), number // 10 * 10)
        needs[f"task-{number}"] = [
            f"task-{each}" for each in chance.sample(above, min(len(above), 1 if chance.random() < 0.7 else 2))
        ]
    return needs


def _deltas(names: Sequence[str], count: int, at_once: int) -> list[Mapping[str, Any]]:
    """Updates that each change `at_once` tasks, spread over all, in ever new attempts, so that none is final."""
    chance = random.Random(count)
    attempts = dict.fromkeys(names, 0)
    run = {"state": "RUNNING", "message": "", "started": 1_700_000_000_000, "ended": None}
    found = []
    for number in range(count):
        heads = {}
        for name in chance.sample(list(names), min(at_once, len(names))):
            attempts[name] += 1
            heads[name] = task("RETRYING" if number % 2 else "RUNNING", attempt=attempts[name])
        found.append(
            {
                "op": "delta", "number": number + 1, "run": run, "tasks": heads,
                "written": [[name, 0, [["stdout", f"line {number}", 1]]] for name in heads], "shown": [],
            }
        )  # fmt: skip
    return found
