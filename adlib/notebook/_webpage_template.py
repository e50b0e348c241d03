"""The look of `adlib.notebook.webpage`: nbconvert's cells as plain HTML, and the page around."""

from __future__ import annotations

# every `clean` is the allow-list of webpage.py; everything else is escaped
CELLS = r"""
{%- extends 'display_priority.j2' -%}
{% macro picture(cell, data, kind, encoded) %}
{%- set mystnb = cell.metadata.get('mystnb', {}) -%}
{%- set figure = mystnb.get('figure', {}) -%}
{%- set alt = mystnb.get('image', {}).get('alt') or figure.get('caption') -%}
<figure{% if figure.get('name') %} id="{{ figure.name | escape_html }}"{% endif %}>
<img src="data:{{ kind }};base64,{{ (data if encoded else data | text_base64) | escape_html }}"
 alt="{{ (alt or 'No description') | escape_html }}">
{%- if figure.get('caption') %}
<figcaption>{% if figure.get('number') %}<strong>Figure {{ figure.number }}.</strong> {% endif -%}
{{ figure.caption | markdown2html | clean | replace('<p>', '') | replace('</p>', '') }}</figcaption>
{%- endif %}
</figure>
{% endmacro %}
{% block input %}
{%- set tags = cell.metadata.get('tags', []) -%}
{%- if 'hide-input' in tags or 'hide-cell' in tags -%}
<details><summary>Code</summary>
{{ cell.source | highlight_code(metadata=cell.metadata) | clean }}</details>
{%- else -%}
{{ cell.source | highlight_code(metadata=cell.metadata) | clean }}
{%- endif -%}
{% endblock input %}
{% block markdowncell %}
{{ cell.source | markdown2html | clean }}
{% endblock markdowncell %}
{% block rawcell %}{% endblock rawcell %}
{% block stream_stdout %}<pre class="output">{{ output.text | ansi2html }}</pre>
{% endblock stream_stdout %}
{% block stream_stderr %}<pre class="output stderr">{{ output.text | ansi2html }}</pre>
{% endblock stream_stderr %}
{% block execute_result %}{{ self.data_priority() }}{% endblock execute_result %}
{% block data_svg %}
{{ picture(cell, output.data['image/svg+xml'], 'image/svg+xml', false) }}{% endblock data_svg %}
{% block data_png %}
{{ picture(cell, output.data['image/png'], 'image/png', true) }}{% endblock data_png %}
{% block data_jpg %}
{{ picture(cell, output.data['image/jpeg'], 'image/jpeg', true) }}{% endblock data_jpg %}
{% block data_html %}<div class="output table">{{ output.data['text/html'] | clean }}</div>
{% endblock data_html %}
{% block data_markdown %}
<div class="output">{{ output.data['text/markdown'] | markdown2html | clean }}</div>
{% endblock data_markdown %}
{% block data_latex %}<div class="output">{{ output.data['text/latex'] | escape_html }}</div>
{% endblock data_latex %}
{% block data_text %}<pre class="output">{{ output.data['text/plain'] | ansi2html }}</pre>
{% endblock data_text %}
{% block error %}<pre class="output error">{{ super() }}</pre>
{% endblock error %}
{% block traceback_line %}{{ line | ansi2html }}
{% endblock traceback_line %}
"""

PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{style}
</style>
{scripts}</head>
<body>
<main>
{parameters}{body}
</main>
</body>
</html>
"""

STYLE = """\
:root { color-scheme: light dark; --text: #1f2328; --back: #ffffff; --box: #f3f4f6; --line: #8c959f;
  --link: #0a58ca; --string: #0a6640; --keyword: #8250df; --comment: #5a6470; }
@media (prefers-color-scheme: dark) { :root { --text: #e6e6e6; --back: #14181e; --box: #20262e;
  --line: #6e7681; --link: #79b8ff; --string: #7ee2a8; --keyword: #d2a8ff; --comment: #9aa4af; } }
body { color: var(--text); background: var(--back); margin: 0; line-height: 1.55;
  font-family: system-ui, sans-serif; }
main { max-width: 50rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; overflow-wrap: break-word; }
a { color: var(--link); }
pre { background: var(--box); padding: .6rem .8rem; overflow-x: auto; font-size: .875rem;
  line-height: 1.4; border-radius: 4px; }
pre.output { background: none; border-left: 3px solid var(--line); border-radius: 0; }
pre.error { border-color: #c93c37; }
code { font-size: .92em; }
.table { overflow-x: auto; }
table { border-collapse: collapse; font-size: .92rem; margin: 1rem 0; }
th, td { padding: .25rem .7rem; border-bottom: 1px solid var(--line); text-align: right; }
th:first-child, td:first-child { text-align: left; }
figure { margin: 1.2rem 0; }
figure img { width: 100%; height: auto; }
img { max-width: 100%; }
figcaption { font-size: .92rem; }
blockquote { margin: 1rem 0; padding: .1rem 1rem; border-left: 3px solid var(--link); }
details { margin: .6rem 0; }
mjx-container a, mjx-container a g { fill: var(--link) !important; stroke: var(--link) !important; }
mjx-container[display="true"] { overflow-x: auto; overflow-y: hidden; }
.highlight .k, .highlight .kn, .highlight .kc, .highlight .ow { color: var(--keyword); }
.highlight .s1, .highlight .s2, .highlight .sa, .highlight .se { color: var(--string); }
.highlight .c1 { color: var(--comment); font-style: italic; }
.ansi-bold { font-weight: bold; }
.ansi-red-fg, .ansi-red-intense-fg { color: #c93c37; }
"""

MATHJAX_SETTINGS = """\
window.MathJax = {
  tex: {inlineMath: [['$', '$'], ['\\\\(', '\\\\)']], tags: 'ams',
        packages: {'[-]': ['html', 'require', 'autoload']}},
  options: {enableMenu: false}
};"""
