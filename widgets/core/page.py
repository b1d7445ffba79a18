"""One file that holds an explorer whole: its module, its state, and a small stand-in for Jupyter's model.

The page loads nothing: a content security policy in its head forbids every connection, and the browser enforces it.
"""

import base64
import html
import json
from typing import Any

from widgets.core.modules import compose

_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; font-src data:"
)

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{css}
:root {{ color-scheme: light dark; }}
body {{ margin: 0; background: #fff; }}
body[data-jp-theme-light="false"] {{ background: #111214; }}
main {{ max-width: 1280px; margin: 0 auto; padding: 16px; }}
</style>
</head>
<body>
<main id="explorer"></main>
<noscript>{text}</noscript>
<script id="state" type="application/json">{state}</script>
{libraries}<script type="module">
{module}
</script>
</body>
</html>
"""

_START = """
// The page follows the system's theme unless it is told which one to show.
if (!document.body.dataset.jpThemeLight) {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const follow = () => (document.body.dataset.jpThemeLight = String(!dark.matches));
  dark.addEventListener("change", follow);
  follow();
}
const model = part_parts_standalone.standaloneModel(JSON.parse(document.getElementById("state").textContent));
const { render } = part_ENTRY;
globalThis.explorer = { model, render, dispose: render({ model, el: document.getElementById("explorer") }) };
"""


def page(*, entry: str, state: dict[str, Any], css: str, title: str, text: str, libraries: tuple[str, ...] = ()) -> str:
    """The page as text.

    Parameters
    ----------
    entry
        The explorer's module, a path under widgets/.
    state
        Its traits: plain values, except ``arrays``, and those that end in ``_arrays``, whose data are bytes.
    css
        Its style sheet.
    title, text
        The page's title, and what a reader without JavaScript sees.
    libraries
        Sources of scripts that must run before the module does.
    """
    texts = {trait: _encoded(held) for trait, held in state.items() if trait == "arrays" or trait.endswith("_arrays")}
    body = json.dumps(state | texts | {"standalone": True, "_css": css}, ensure_ascii=False)
    name = entry.removesuffix(".js").replace("/", "_")
    module = compose("parts/standalone.js") + compose(entry).replace(f"export default part_{name};\n", "")
    return _PAGE.format(
        policy=_POLICY,
        css=css.replace("</", "<\\/"),
        title=html.escape(title),
        text=html.escape(text),
        state=body.replace("<", "\\u003c"),  # no name in the data can end the script
        libraries="".join(f"<script>{_inline(source)}</script>\n" for source in libraries),
        module=_inline(module + _START.replace("ENTRY", name)),
    )


def _encoded(arrays: dict[str, Any]) -> dict[str, Any]:
    return {
        name: packed | {"data": base64.b64encode(packed["data"]).decode("ascii")} for name, packed in arrays.items()
    }


def _inline(source: str) -> str:
    return source.replace("</script", "<\\/script").replace("<!--", "<\\!--")
