// One tooltip per view: what is under the cursor, beside the cursor, never under it and never outside the widget.

import { el, fill } from "./dom.js";

/** @typedef {ReturnType<typeof createTooltip>} Tooltip */

/** @param {HTMLElement} root */
export function createTooltip(root) {
  const node = el("div", { class: "dw-tooltip", role: "tooltip", "data-testid": "tooltip", hidden: true });
  root.append(node);
  return {
    node,
    /**
     * Show `children` beside a point of the window.
     * @param {number} x clientX
     * @param {number} y clientY
     * @param {...import("./dom.js").Child} children
     */
    show(x, y, ...children) {
      fill(node, ...children);
      node.hidden = false;
      const bounds = root.getBoundingClientRect();
      const [width, height] = [node.offsetWidth, node.offsetHeight];
      let left = x - bounds.left + 14;
      if (left + width > bounds.width - 4) left = x - bounds.left - width - 14;
      let top = y - bounds.top + 14;
      if (top + height > bounds.height - 4) top = y - bounds.top - height - 14;
      node.style.transform = `translate(${Math.max(4, Math.round(left))}px, ${Math.max(4, Math.round(top))}px)`;
    },
    hide() {
      node.hidden = true;
    },
  };
}

/**
 * Rows of "what: number" for a tooltip or the inspector.
 * @param {[string, string][]} rows
 */
export function facts(rows) {
  return el("dl", { class: "dw-facts" }, ...rows.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}
