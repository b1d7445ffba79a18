// Pictures that stand side by side become tabs where the page is narrow: one is seen, all share the timeline.

import { el, fill, write } from "./dom.js";

/**
 * @param {import("./frame.js").Frame} frame
 * @param {string} label
 */
export function createTabs(frame, label) {
  const node = el("div", { class: "dw-tabs", role: "group", "aria-label": label, "data-testid": "tabs", hidden: true });
  let chosen = 0;

  /** @param {number} k */
  function choose(k) {
    chosen = k;
    frame.invalidate();
  }

  return {
    node,
    /**
     * Which picture is seen; null: all of them.
     * @param {string[]} names
     * @returns {number | null}
     */
    update(names) {
      const narrow = frame.root.hasAttribute("data-narrow") && names.length > 1;
      node.hidden = !narrow;
      if (!narrow) return null;
      chosen = Math.min(chosen, names.length - 1);
      if (node.children.length !== names.length)
        fill(
          node,
          ...names.map((_, k) => {
            const tab = el("button", { class: "dw-button dw-tab", "data-testid": `tab-${k}` });
            tab.addEventListener("click", () => choose(k));
            return tab;
          }),
        );
      names.forEach((name, k) => {
        write(node.children[k], name);
        node.children[k].setAttribute("aria-pressed", String(k === chosen));
      });
      return chosen;
    },
  };
}
