// A part of an explorer behind one line: closed it says its name and its number, open it shows the rest.

import { el } from "./dom.js";

/**
 * @param {import("./frame.js").Frame} frame
 * @param {{ name: string, title: string, open?: boolean, level?: string }} what
 * @param {...import("./dom.js").Child} children
 */
export function createFold(frame, { name, title, open = false }, ...children) {
  const beside = el("span", { class: "dw-fold-beside" });
  const button = el(
    "button",
    { class: "dw-fold", "data-testid": `fold-${name}`, "aria-expanded": String(open) },
    el("span", { class: "dw-fold-title" }, title),
    beside,
  );
  const body = el("div", { class: "dw-fold-body", hidden: !open }, ...children);
  const node = el("section", { class: "dw-why", "aria-label": title }, button, body);

  /** @param {boolean} now */
  function set(now) {
    body.hidden = !now;
    button.setAttribute("aria-expanded", String(now));
    frame.invalidate();
  }
  frame.listen(button, "click", () => set(body.hidden));

  return {
    node,
    body,
    /** What the line says beside its name. */
    beside,
    /** It shows: what is closed need not be drawn. */
    open: () => !body.hidden,
    set,
  };
}
