"""The page that lists the pages of a folder of runs."""

from __future__ import annotations

import html
import os
from pathlib import Path

from lakehouse.notebooks.look import PAGE, POLICY, write_style
from lakehouse.reports import RUNS, list_runs


def write_index(folder: str | Path = RUNS) -> Path:
    """Write `index.html`, which lists the pages of a folder of runs.

    Args:
        folder: Where they lie.

    Returns:
        The index; it is there whole at any moment, whoever else writes it.
    """
    rows = "\n".join(
        f"<tr><td>{made:%Y-%m-%d %H:%M}</td>"
        f'<td><a href="{html.escape(Path(page).relative_to(folder).as_posix())}">{html.escape(title)}</a></td>'
        f'<td>{html.escape(notebook)}</td><td class="number">{size / 1e6:,.1f}</td></tr>'
        for made, notebook, title, page, size in list_runs(folder).iter_rows()
    )
    body = (
        "<h1>Runs of notebooks</h1>\n<table><thead><tr><th>made (UTC)</th><th>page</th><th>notebook</th>"
        f'<th class="number">MB</th></tr></thead>\n<tbody>{rows}</tbody></table>\n'
        "<p>Nothing here is removed by itself. <code>lakehouse runs --keep 30</code> keeps the thirty latest of each "
        "notebook.</p>"
    )
    policy = POLICY.format(hash="")
    parts = {"policy": policy.replace("script-src 'sha256-'; ", ""), "title": "Runs", "style": write_style()}
    index = Path(folder, "index.html")
    part = index.with_suffix(f".{os.getpid()}")
    part.write_text(PAGE.format(**parts, body=body, made="", specs="", script=""), encoding="utf-8")
    part.replace(index)
    return index
