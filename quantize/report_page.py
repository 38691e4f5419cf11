"""A bundle's report as one page: facts, tables, and the error of every layer as a picture.

Knows: HTML that needs no script, no network and no other file, in light and dark, on a phone and on paper; the same
manifest gives the same bytes. Does not know: which facts there are (models.summary does), or how pictures are drawn.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from models.manifest import Manifest
from models.summary import LayerError, Section, layer_errors, layers_title, summarize
from quantize.report_plot import layer_plots

_STYLE = """
:root { color-scheme: light dark; --back: #fcfcfa; --ink: #1c1e21; --soft: #5c626b; --line: #dcdcd6; --card: #fff;
  --before: #b45309; --after: #0f62a8; }
@media (prefers-color-scheme: dark) { :root { --back: #14171a; --ink: #e6e8ea; --soft: #9aa3ad; --line: #343a41;
  --card: #1b1f23; --before: #e8a15a; --after: #6cb6ff; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 70rem; padding: 1.5rem 1rem 3rem; background: var(--back); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.05rem; margin: 0; padding: 1.6rem 0 .5rem; }
p { margin: .2rem 0; color: var(--soft); overflow-wrap: anywhere; }
.columns { columns: 26rem; column-gap: 3rem; }
.columns section { break-inside: avoid; }
dl { display: grid; grid-template-columns: fit-content(45%) minmax(0, 1fr); gap: .15rem 1rem; margin: 0; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid var(--line); padding: .25rem .8rem .25rem 0; text-align: right; white-space: nowrap; }
th { color: var(--soft); font-weight: 500; }
th:first-child, td:first-child { text-align: left; }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 19rem), 1fr)); gap: .8rem; }
figure { background: var(--card); border: 1px solid var(--line); border-radius: .4rem; margin: 0; padding: .6rem; }
figcaption { font-size: .9rem; font-weight: 600; }
svg { display: block; height: auto; width: 100%; }
svg text { fill: var(--soft); font-size: 11px; }
.grid { stroke: var(--line); }
.before { --mark: var(--before); }
.after { --mark: var(--after); }
polyline { fill: none; stroke: var(--mark); stroke-width: 1.6; }
polyline.before { stroke-dasharray: 4 3; }
circle { fill: var(--mark); }
.key span { color: var(--ink); margin-right: 1rem; }
.key span::before { border-top: 3px solid var(--mark); content: ""; display: inline-block; margin-right: .4rem;
  vertical-align: middle; width: 1.4rem; }
.key .before::before { border-top-style: dashed; }
@media print { :root { --back: #fff; --ink: #000; --soft: #444; --line: #bbb; --card: #fff; --before: #b45309;
  --after: #0f62a8; } body { font-size: 11px; max-width: none; } .columns { columns: 2; }
  figure, tr { break-inside: avoid; } h2 { break-after: avoid; } .wide { overflow: visible; } }
"""


def report_page(manifest: Manifest) -> str:
    """The whole page. Raises BundleError for a report of another form than this program writes."""
    sections = summarize(manifest)
    facts = "".join(_section(section) for section in sections if section.facts)
    tables = "".join(_section(section) for section in sections if section.table)
    errors = layer_errors(manifest)
    plots = _plots(layers_title(manifest), errors) if errors else ""
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{escape(manifest.name)}: how it was quantized</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{escape(manifest.name)}</h1>
<p>How it was quantized, and what that cost.</p>
<div class="columns">
{facts}</div>
{plots}{tables}</body>
</html>
"""


def _section(section: Section) -> str:
    facts = "".join(f"<dt>{escape(name)}</dt><dd>{escape(fact)}</dd>\n" for name, fact in section.facts)
    return (
        f"<section>\n<h2>{escape(section.title)}</h2>\n"
        + (f"<dl>\n{facts}</dl>\n" if facts else "")
        + (_table(section.table) if section.table else "")
        + "</section>\n"
    )


def _table(table: tuple[tuple[str, ...], ...]) -> str:
    def row(cells: Iterable[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>\n"

    body = "".join(row(cells, "td") for cells in table[1:])
    return f'<div class="wide"><table>\n<thead>{row(table[0], "th")}</thead>\n<tbody>\n{body}</tbody>\n</table></div>\n'


def _plots(title: str, errors: tuple[LayerError, ...]) -> str:
    key = '<span class="before">rounded plainly</span><span class="after">as kept</span>'
    return (
        f"<section>\n<h2>{escape(title.split(',')[0])}, block by block</h2>\n"
        + (f'<p class="key">{key}</p>\n' if errors[0].plain_error is not None else "")
        + f'<div class="plots">\n{layer_plots(errors)}</div>\n</section>\n'
    )
