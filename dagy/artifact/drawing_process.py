"""What happens in the process that draws a flow elsewhere: its code is loaded, and what is drawn goes into a file.

Whoever starts it (see `drawn_elsewhere`) has put an order into a folder, and reads there what came of it.
"""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path

from dagy.artifact.drawn import Drawn
from dagy.artifact.source import SeveralFlowsError, Source, load_flow, own_file
from dagy.engine.processes.errors import pack_error
from dagy.engine.processes.packing import Region
from dagy.errors import UnknownFlowError

ORDER_NAME = "order.json"
DRAWN_NAME = "drawn.json"
CHOICE_NAME = "choice.json"  # the flows there are, when the one that is meant is not clear
REFUSAL_NAME = "refusal"


def main(folder: str) -> None:
    """Draw the flow that is ordered in `folder`."""
    place = Path(folder)
    path, module, text, name = json.loads((place / ORDER_NAME).read_text("utf-8"))
    try:
        found = Drawn.of(load_flow(Source(Path(path), module, text), name))
    except (SeveralFlowsError, UnknownFlowError) as error:
        (place / CHOICE_NAME).write_text(json.dumps(error.known), encoding="utf-8")
        return
    except Exception as error:  # noqa: BLE001 (whatever it is, who started the process shall know)
        packed = pack_error(error)
        content = packed.content
        plain = bytes(content.read() if isinstance(content, Region) else content), packed.spans
        (place / REFUSAL_NAME).write_bytes(pickle.dumps(plain))
        return
    files = [str(path) for module in list(sys.modules.values()) if (path := own_file(module)) is not None]
    told = [found.spec.model_dump(), found.module, found.variable, files]
    (place / DRAWN_NAME).write_text(json.dumps(told), encoding="utf-8")
