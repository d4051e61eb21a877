"""A notebook with a run in it, as a browser prints it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from nbconvert import HTMLExporter

from ..journeys.test_every_reader import CELLS, ROOT, executed, write_notebook
from .lab import Browser


@pytest.mark.browser
@pytest.mark.timeout(300)
def test_a_run_notebook_converts_to_a_pdf_in_which_the_run_is_told(
    tmp_path: Path, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    executed(write_notebook(tmp_path / "small.ipynb", CELLS))
    markup, _ = HTMLExporter().from_filename(str(tmp_path / "small.ipynb"))
    (tmp_path / "small.html").write_text(markup, "utf-8")
    page = browser.open_file(tmp_path / "small.html")
    page.emulate_media(media="print")
    pictures = page.locator("img[src^='data:image/svg+xml']")
    assert pictures.evaluate_all("all => all.map(each => each.complete && each.naturalWidth > 0)") == [True, True]
    assert "2 tasks: 2 completed" in page.locator("body").inner_text()
    assert page.pdf().startswith(b"%PDF-")
