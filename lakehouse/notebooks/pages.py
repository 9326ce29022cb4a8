"""Charts that need no network: in JupyterLab, in an executed notebook, and in the HTML page made from one."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import html
import json
import os
import re
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from threading import Lock
from typing import Any

from platformdirs import user_cache_path

from lakehouse.notebooks.look import PAGE, POLICY, SCRIPT, TEMPLATE, lab_is_dark, write_style

HEADLESS = "LAKEHOUSE_HEADLESS"  # set where a notebook is run by a program
CHART = "application/vnd.lakehouse.chart"  # a Vega-Lite specification, as text, which is read and written faster
ONE = Lock()  # notebooks are run side by side, and share what makes their pages
SHAPES = {
    *(
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "p",
        "div",
        "span",
        "br",
        "hr",
        "a",
        "strong",
        "em",
        "b",
        "i",
        "del",
        "small",
    ),
    *("ul", "ol", "li", "blockquote", "pre", "code", "table", "thead", "tbody", "tr", "th", "td"),
}
KEPT = {"a": ["href"], "*": ["class", "id"]}
NUMBER = re.compile(r"<td>(?=[-+−]?\d[\d,.]*(e[-+]?\d+)?( ?%)?</td>)")
LINK = re.compile(r"\[([^\]]+)\]\(([\w.-]+\.ipynb)\)")


def use_charts(*, pictures: bool = True) -> None:
    """Choose how charts are shown: interactive in JupyterLab, elsewhere as a picture; both without network.

    The picture carries the chart's specification along, from which `write_page` draws it interactively.

    Args:
        pictures: Whether a copy that `run_notebook` executes has them too, and not its page alone: they take longer
            than all else.
    """
    import altair as alt  # noqa: PLC0415  a page is made without it

    from lakehouse.charts import theme  # noqa: PLC0415

    live = is_live()
    theme(dark=live and lab_is_dark())
    if live:
        alt.renderers.enable("jupyter", offline=True)
        return
    for_page = os.environ.get(HEADLESS) and not pictures
    if for_page:  # in haste, for charts that a test has held against the schema of Vega-Lite
        alt.utils.schemapi.disable_debug_mode()
    alt.renderers.register("lakehouse", _leave_to_page if for_page else _render)
    alt.renderers.enable("lakehouse")


def is_live() -> bool:
    """Whether somebody sits before this notebook in JupyterLab; not where a program runs it."""
    return bool(os.environ.get("JPY_SESSION_NAME")) and not os.environ.get(HEADLESS)


def write_page(executed: Path) -> Path:
    """Write an executed notebook as one HTML file that opens anywhere, without network.

    The code is left out if the notebook's metadata say `hide_input`; a cell tagged `lab` is left out in any case.

    Args:
        executed: The executed notebook.

    Returns:
        The page, beside it.
    """
    import nbformat  # noqa: PLC0415

    book = nbformat.read(str(executed), as_version=4)  # type: ignore[no-untyped-call]
    hide = _hides(book)
    book.cells = [
        cell
        for cell in book.cells
        if "lab" not in cell.metadata.get("tags", []) and not (hide and cell.cell_type == "code" and not cell.outputs)
    ]
    specs = _place_charts(book)
    _link_to_pages(book, executed.parent)
    body = _export(book, hide=hide)
    script = (_library() if specs else "") + SCRIPT
    page = executed.with_suffix(".html")
    text = PAGE.format(
        policy=POLICY.format(hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()),
        **{"title": html.escape(_title(book, executed)), "style": write_style(), "body": body, "script": script},
        **{"specs": "\n".join(specs), "made": html.escape(_made(book))},
    )
    page.write_text(text, encoding="utf-8")
    return page


def prepare_page(book: Any) -> None:
    """Import and compile all that a page is made with, which takes half a second, while somebody else works.

    Args:
        book: The notebook; nothing is prepared for code that its page leaves out.
    """
    import nbformat  # noqa: PLC0415

    cells = [nbformat.v4.new_markdown_cell("*x*"), nbformat.v4.new_code_cell("x = 1")]  # type: ignore[no-untyped-call]
    _export(nbformat.v4.new_notebook(cells=cells), hide=_hides(book))  # type: ignore[no-untyped-call]


def clean(markup: object) -> str:
    """Leave nothing of HTML but what gives text a shape.

    Args:
        markup: HTML that may hold anything, since it was made from data.

    Returns:
        HTML without script, style, picture, form, and link to anything but pages and mail; numbers stand to the right.
    """
    import bleach  # type: ignore[import-untyped]  # noqa: PLC0415

    text = str(bleach.clean(re.sub(r"(?s)<style\b.*?</style>", "", str(markup)), tags=SHAPES, attributes=KEPT))
    return NUMBER.sub('<td class="number">', text)


def _library() -> str:
    """What draws charts, in one piece; kept beside other caches, for to bundle it takes longer than most notebooks."""
    kept = user_cache_path("lakehouse") / f"vega-{version('altair')}-{version('vl-convert-python')}.js"
    with suppress(OSError):
        if text := kept.read_text(encoding="utf-8"):
            return text
    import vl_convert  # noqa: PLC0415

    text = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=_spoken())
    with suppress(OSError):  # where nothing can be kept it is bundled each time
        kept.parent.mkdir(parents=True, exist_ok=True)
        part = kept.with_suffix(f".{os.getpid()}")
        part.write_text(text, encoding="utf-8")
        part.replace(kept)
    return text


def _hides(book: Any) -> bool:
    return bool(book.metadata.get("hide_input"))


def _export(book: Any, *, hide: bool) -> str:
    with ONE:
        exporter = _exporter()
        exporter.exclude_input = hide
        body: str = exporter.from_notebook_node(book)[0]
        return body


@cache
def _exporter() -> Any:
    from jinja2 import DictLoader  # noqa: PLC0415  each kernel would import these, and write no page
    from nbconvert import HTMLExporter  # noqa: PLC0415

    exporter: Any = HTMLExporter(  # type: ignore[no-untyped-call]
        extra_loaders=[DictLoader({"page.html.j2": TEMPLATE})],
        template_file="page.html.j2",
        **{"sanitize_html": True, "exclude_anchor_links": True},
        **{"exclude_input_prompt": True, "exclude_output_prompt": True},
    )
    exporter.register_filter("clean_html", clean)
    return exporter


def _place_charts(book: Any) -> list[str]:
    """Put an empty place for each picture that carries its specification; return these as blocks of data."""
    specs: list[str] = []
    for output in (output for cell in book.cells for output in cell.get("outputs", [])):
        if spec := output.get("data", {}).get(CHART):
            name = f"chart-{len(specs)}"
            output.data = {"text/html": f'<div class="chart" id="{name}"></div>'}
            specs.append(f'<script type="application/json" id="{name}-spec">{_inert(spec)}</script>')
    return specs


def _inert(spec: str) -> str:
    """JSON in which HTML finds no mark: `<!--<script>` in a file's name would swallow all that follows."""
    return spec.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")


def _link_to_pages(book: Any, folder: Path) -> None:
    """Let links to notebooks lead to their pages, where there are such, and be plain text elsewhere."""

    def to_page(link: re.Match[str]) -> str:
        page = Path(link[2]).with_suffix(".html")
        return f"[{link[1]}]({page})" if (folder / page).is_file() else link[1]

    for cell in book.cells:
        if cell.cell_type == "markdown":
            cell.source = LINK.sub(to_page, cell.source)


def _spoken() -> str:
    """The version of Vega-Lite that Altair writes."""
    import altair as alt  # noqa: PLC0415

    return ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])


def _render(spec: dict[str, Any], **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    import vl_convert  # noqa: PLC0415

    picture = vl_convert.vegalite_to_png(spec, vl_version=_spoken(), scale=1.5)
    return _leave_to_page(spec)[0] | {"image/png": base64.b64encode(picture).decode(), "text/plain": "a chart"}, {}


def _leave_to_page(spec: dict[str, Any], **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The chart for a page, with its look in light and in dark, so that whatever makes the page needs no Altair."""
    from lakehouse.charts import look  # noqa: PLC0415

    looks = {"light": look(), "dark": look(dark=True)}
    return {CHART: json.dumps({**spec, "usermeta": looks}), "text/plain": "a chart: see the page beside this copy"}, {}


def _title(book: Any, path: Path) -> str:
    """The first heading, in prose or in what a cell shows."""
    texts = [cell.source for cell in book.cells if cell.cell_type == "markdown"]
    shown = [
        output.get("data", {}).get("text/markdown", "") for cell in book.cells for output in cell.get("outputs", [])
    ]
    lines = (line for text in [*shown, *texts] for line in text.splitlines())
    return next((html.unescape(line.lstrip("# ")) for line in lines if line.startswith("# ")), path.stem)


def _made(book: Any) -> str:
    """When the notebook was run; from its copy, so that a page that is made again is the same."""
    at = book.metadata.get("papermill", {}).get("end_time")
    return f"Made {dt.datetime.fromisoformat(at).astimezone(dt.UTC):%Y-%m-%d %H:%M} UTC" if at else ""
