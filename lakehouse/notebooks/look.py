"""The look of a page: its template, its style in light and dark, and the one script that may run in it."""

from __future__ import annotations

import os
import re
from pathlib import Path

from pygments.formatters import HtmlFormatter  # type: ignore[import-untyped]

TEMPLATE = """
{%- extends 'basic/index.html.j2' -%}
{% block input_group %}
{%- set tags = cell.metadata.get('tags', []) -%}
{%- if 'solution' in tags or cell.metadata.get('jupyter', {}).get('source_hidden') -%}
{%- set what = 'Solution' if 'solution' in tags else 'Check' if 'check' in tags else 'Code' -%}
<details><summary>{{ what }}</summary>{{ super() }}</details>
{%- else -%}{{ super() }}{%- endif -%}
{% endblock %}
"""

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>{style}</style></head>
<body><main>
{body}
<footer>{made}</footer>
</main>
{specs}
<script type="module">{script}</script>
</body></html>
"""

# Only the script whose hash stands here runs, whatever comes in with the data; nothing is asked of any network.
# Vega sets styles of its own, so that these are let in.
POLICY = (
    "default-src 'none'; script-src 'sha256-{hash}'; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'"
)

# Draws the charts of a page, at its width and in the colours that its reader prefers; and sorts tables.
# Expressions are interpreted (`ast`): Vega would else compile them, for which a policy must allow 'unsafe-eval'.
SCRIPT = """
const dark = matchMedia("(prefers-color-scheme: dark)");
function wrap(text, most) {
  const lines = [""];
  for (const word of [].concat(text ?? []).join(" ").split(" ")) {
    const last = lines.length - 1;
    if (lines[last] && lines[last].length + word.length >= most) lines.push(word);
    else lines[last] += (lines[last] && " ") + word;
  }
  return lines;
}
const isPlain = part => part && typeof part === "object" && !Array.isArray(part);
function merge(under, over) {
  const both = {...under};
  for (const [name, part] of Object.entries(over)) both[name] = isPlain(part) ? merge(under[name] ?? {}, part) : part;
  return both;
}
function fit(part, width) {
  if (Array.isArray(part)) return part.map(inner => fit(inner, width));
  if (!part || typeof part !== "object") return part;
  const fitted = Object.fromEntries(Object.entries(part).map(
    ([name, inner]) => [name, /^(datasets|data|config)$/.test(name) ? inner : fit(inner, width)]));
  if (typeof part.width === "number" && (part.mark || part.layer)) fitted.width = Math.min(part.width, width);
  return fitted;
}
async function draw(place) {
  const room = place.parentElement.clientWidth;  // its own is that of the last drawing
  const spec = JSON.parse(document.getElementById(place.id + "-spec").textContent);
  spec.config = merge(spec.config ?? {}, spec.usermeta?.[dark.matches ? "dark" : "light"] ?? {});
  if (room < 600) spec.config.legend = {...spec.config.legend, orient: "bottom", columns: room < 450 ? 2 : 3};
  if (typeof spec.title === "string") spec.title = {text: spec.title};
  if (spec.title?.text) {
    spec.title.text = wrap(spec.title.text, room / 9);
    if (spec.title.subtitle) spec.title.subtitle = wrap(spec.title.subtitle, room / 6.3);
  }
  let beside = 90;  // for axes; how much they take is known when they are drawn
  for (let turn = 0; turn < 3; turn++) {
    await vegaEmbed(place, fit(spec, room - beside), {actions: false, ast: true});
    const over = place.querySelector(".marks").getBoundingClientRect().width - room;
    if (over <= 0 || room - beside - over < 100) return;
    beside += over + 2;
  }
}
function sortable(table) {
  const head = [...table.querySelectorAll("thead th")], body = table.querySelector("tbody");
  const rows = body ? [...body.rows] : [];
  if (rows.length < 3 || rows.some(row => row.cells.length !== head.length)) return;
  const value = text => {
    const number = Number(text.replace(/[, %]/g, "").replace("\u2212", "-"));
    return text && !isNaN(number) ? number : text;
  };
  head.forEach((cell, place) => {
    let turn = -1;
    const sort = () => {
      turn = -turn;
      head.forEach(other => other.removeAttribute("aria-sort"));
      cell.setAttribute("aria-sort", turn > 0 ? "ascending" : "descending");
      const of = row => value(row.cells[place].textContent.trim());
      rows.sort((a, b) => {
        const [left, right] = [of(a), of(b)];
        if (typeof left !== typeof right) return typeof left === "number" ? -1 : 1;
        return turn * (typeof left === "number" ? left - right : left.localeCompare(right));
      });
      body.append(...rows);
    };
    cell.tabIndex = 0;
    cell.addEventListener("click", sort);
    cell.addEventListener("keydown", event => { if (event.key === "Enter") sort(); });
  });
  if (rows.length < 8) return;
  const field = document.createElement("input");
  field.type = "search";
  field.placeholder = `search ${rows.length} rows`;
  field.setAttribute("aria-label", "search the table that follows");
  field.addEventListener("input", () => {
    for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(field.value.toLowerCase());
  });
  table.before(field);
}
document.querySelectorAll("table").forEach(sortable);
const places = [...document.querySelectorAll(".chart")];
const drawAll = async () => { for (const place of places) await draw(place).catch(error => place.append(error)); };
dark.addEventListener("change", drawAll);
drawAll();
"""

STYLE = """
:root { --ink: #1f2328; --paper: #fff; --faint: #59636e; --line: #d9dee3; --box: #f6f8fa; --link: #0060a0 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8eaed; --paper: #15181e; --faint: #a2abb5; --line: #343b45; --box: #1d2129; --link: #7cc0ee } }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 'Helvetica Neue', Helvetica, Arial, 'Liberation Sans', sans-serif }
main { max-width: 51rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; overflow-wrap: anywhere }
h1 { font-size: 1.7rem; line-height: 1.25; margin: .5rem 0 1rem } h2 { font-size: 1.25rem; margin: 2.2rem 0 .6rem }
p, ul, ol { max-width: 80ch } a { color: var(--link) } footer, summary { color: var(--faint) }
footer { margin-top: 3rem; border-top: 1px solid var(--line); padding-top: .7rem; font-size: .85rem }
details { margin: .6rem 0 } summary { cursor: pointer }
pre, code { font: 13px/1.5 ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace; overflow-wrap: normal }
pre { margin: .6rem 0; padding: .6rem .8rem; background: var(--box); border-radius: 5px; overflow-x: auto }
.output pre { background: none; border-left: 3px solid var(--line); border-radius: 0 }
.output { overflow-x: auto } .highlight { background: none } .chart { margin: 1rem 0; min-height: 3rem }
table { border-collapse: collapse; margin: .8rem 0; font-size: .875rem; font-variant-numeric: tabular-nums }
th, td { padding: .3rem .9rem .3rem 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top }
th { color: var(--faint); font-weight: 600; white-space: nowrap } td { min-width: 4rem; overflow-wrap: normal }
.number { text-align: right; white-space: nowrap } img { max-width: 100% }
thead th[tabindex] { cursor: pointer } th[aria-sort=ascending]::after { content: " ▴" }
th[aria-sort=descending]::after { content: " ▾" } th:focus-visible { outline: 2px solid var(--link) }
input[type=search] { font: inherit; font-size: .875rem; color: var(--ink); background: var(--box);
  border: 1px solid var(--line); border-radius: 5px; padding: .25rem .6rem; margin-top: .6rem }
.chart summary, #vg-tooltip-element { font-size: 12px }
"""


def lab_is_dark() -> bool:
    """Whether JupyterLab is set to a dark theme: its settings tell, which a kernel can read, and no message does.

    Of one that follows the system they do not tell; then it is taken for light.
    """
    from jupyter_core.paths import jupyter_config_dir  # noqa: PLC0415  where there is a JupyterLab there is that

    folder = os.environ.get("JUPYTERLAB_SETTINGS_DIR") or f"{jupyter_config_dir()}/lab/user-settings"
    try:
        told = Path(folder, "@jupyterlab/apputils-extension/themes.jupyterlab-settings").read_text(encoding="utf-8")
    except (OSError, ValueError):  # none, or none that can be read
        return False
    theme = re.search(r'(?m)^\s*"theme"\s*:\s*"([^"]*)"', told)  # between comments
    return "dark" in theme[1].casefold() if theme else False


def write_style() -> str:
    """The style of a page, with the colours of its code in light and in dark."""
    light, dark = (HtmlFormatter(style=name).get_style_defs(".highlight") for name in ("xcode", "github-dark"))
    return f"{STYLE}{light}\n@media (prefers-color-scheme: dark) {{ {dark}\n.highlight {{ background: none }} }}"
