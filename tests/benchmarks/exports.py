"""How long a notebook takes to become a module."""

from __future__ import annotations

from collections.abc import Iterator

from dagy_nb.cells import Cell
from dagy_nb.export import export_module

from .measuring import Effort, Row, in_turns, row_of_time


def exports(effort: Effort) -> Iterator[Row]:
    """Of notebooks in which task cells and ordinary ones take turns."""
    for full, target in ((13, 0.02), (500, 0.5)):
        cells = _notebook(max(3, effort.size(full)))
        (found,) = in_turns(effort, lambda cells=cells: export_module(cells, name="etl"))
        yield row_of_time(f"export of {len(cells)} cells", found, target=target)


def _notebook(size: int) -> tuple[Cell, ...]:
    """Helpers and tasks, each of which needs the one before."""
    cells = [Cell("setup", "import json\nimport math\nimport os\n\nN0 = 1\n\ndef f0(x): return x + N0", "cell 1")]
    for number in range(1, size // 2 + 1):
        before = number - 1
        helper = (
            f"N{number} = N{before} + 1\n\ndef f{number}(x):\n    # one by one\n"
            f"    return [f{before}(y) * N{number} for y in [x]][0]\n\nf{number}(3)"
        )
        task = (
            f"%%dagy_task t{number}\n# what it does\nv{number} = f{number}({f'v{before}' if before else 'math.pi'})\n"
            f"table = {{key: v{number} for key in 'ab'}}"
        )
        cells.append(Cell(f"helper-{number}", helper, f"cell {2 * number}"))
        cells.append(Cell(f"task-{number}", task, f"cell {2 * number + 1}"))
    return tuple(cells[:size])
