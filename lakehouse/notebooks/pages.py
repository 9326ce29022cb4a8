"""Charts that need no network: in JupyterLab, in an executed notebook, and in the HTML page made from one."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import altair as alt
import nbformat
import vl_convert
from nbconvert import HTMLExporter
from nbconvert.preprocessors import Preprocessor
from traitlets.config import Config

from lakehouse.charts import theme

HEADLESS = "LAKEHOUSE_HEADLESS"  # set where a notebook is run by a program
CHART = "application/vnd.lakehouse.chart+json"  # a Vega-Lite specification, for the page
VEGA_LITE = ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
NOWHERE = {"mathjax_url": "", "require_js_url": "", "jquery_url": "", "mermaid_js_url": ""}  # nothing from a network
DRAW = """<div id="{place}"></div>
<script type="module">window.drawChart("#{place}", {spec}, {{actions: false}})</script>"""


def use_charts() -> None:
    """Choose how charts are shown: interactive in JupyterLab, elsewhere as a picture; both without network.

    The picture carries the chart's specification along, from which `write_page` draws it interactively.
    """
    theme()
    if os.environ.get(HEADLESS) or not os.environ.get("JPY_SESSION_NAME"):
        alt.renderers.register("lakehouse", _render)
        alt.renderers.enable("lakehouse")
    else:
        alt.renderers.enable("jupyter", offline=True)


def write_page(executed: Path) -> Path:
    """Write an executed notebook as one HTML file that opens anywhere, without network.

    The code is left out if the notebook's metadata say `hide_input`.

    Args:
        executed: The executed notebook.

    Returns:
        The page, beside it.
    """
    book = nbformat.read(str(executed), as_version=4)  # type: ignore[no-untyped-call]
    config = Config({"HTMLExporter": {"preprocessors": [_Interactive]}})
    hide = bool(book.metadata.get("hide_input"))
    if hide:
        book.cells = [cell for cell in book.cells if cell.cell_type != "code" or cell.outputs]
    exporter: Any = HTMLExporter(config=config, exclude_input=hide, **NOWHERE)  # type: ignore[no-untyped-call]
    for name in ("exclude_input_prompt", "exclude_output_prompt"):
        setattr(exporter, name, hide)
    text, _ = exporter.from_notebook_node(book, resources={"metadata": {"name": _title(book, executed)}})
    page = executed.with_suffix(".html")
    page.write_text(text)
    return page


class _Interactive(Preprocessor):
    """Puts a drawing of its specification in the place of each picture, and the library once, before the first."""

    def preprocess(self, nb: Any, resources: Any) -> tuple[Any, Any]:
        charts = [output for cell in nb.cells for output in cell.get("outputs", []) if CHART in output.get("data", {})]
        for number, output in enumerate(charts):
            spec = json.dumps(output.data[CHART]).replace("</", r"<\/")
            html = DRAW.format(place=f"chart-{number}", spec=spec)
            if number == 0:
                bundle = vl_convert.javascript_bundle("window.drawChart = vegaEmbed;", vl_version=VEGA_LITE)
                html = f'<script type="module">{bundle}</script>\n{html}'
            output.data = {"text/html": html}
        return nb, resources


def _render(spec: dict[str, Any], **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    picture = vl_convert.vegalite_to_png(spec, vl_version=VEGA_LITE, scale=1.5)
    return {"image/png": base64.b64encode(picture).decode(), CHART: spec, "text/plain": "a chart"}, {}


def _title(book: Any, path: Path) -> str:
    lines = (line for cell in book.cells if cell.cell_type == "markdown" for line in cell.source.splitlines())
    return next((line.lstrip("# ") for line in lines if line.startswith("# ")), path.stem)
