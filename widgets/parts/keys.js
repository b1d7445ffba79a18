// Keys that work wherever the focus is inside the widget, and the list that "?" shows.

import { el } from "./dom.js";

/** @typedef {{ keys: string[], shown: string, does: string, run: ((event: KeyboardEvent) => void) | null }} Key */

/** Keys that work anywhere in the widget.
 * @typedef {{ add: (keys: string | string[], does: string, run: ((event: KeyboardEvent) => void) | null, shown?:
 *   string) => void, list: () => HTMLElement }} Keys */

/**
 * @param {import("./frame.js").Frame} frame
 * @returns {Keys}
 */
export function createKeys(frame) {
  /** @type {Key[]} */
  const all = [];

  frame.listen(frame.root, "keydown", (/** @type {KeyboardEvent} */ event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    const target = /** @type {HTMLElement} */ (event.target);
    const typing = target.matches("select, textarea, input:not([type=range]):not([type=checkbox])");
    if (typing && event.key !== "Escape") return;
    // A focused button or box answers to Space and Enter itself.
    if (target.matches("button, input[type=checkbox], a, summary") && (event.key === " " || event.key === "Enter"))
      return;
    const found = all.find(
      (key) => key.run && key.keys.includes(event.key.length === 1 ? event.key.toLowerCase() : event.key),
    );
    if (!found?.run) return;
    event.preventDefault();
    event.stopPropagation();
    found.run(event);
  });

  return {
    /**
     * @param {string | string[]} keys as KeyboardEvent.key names them
     * @param {string} does what the help says
     * @param {((event: KeyboardEvent) => void) | null} run null: listed only, handled by the part that has the focus
     * @param {string} [shown] how the help writes the key
     */
    add(keys, does, run, shown) {
      const list = Array.isArray(keys) ? keys : [keys];
      all.push({
        keys: list.map((key) => (key.length === 1 ? key.toLowerCase() : key)),
        shown: shown ?? list.join(" / "),
        does,
        run,
      });
    },
    list() {
      return el(
        "dl",
        { class: "dw-keys", "data-testid": "key-list" },
        ...all.flatMap((key) => [
          el("dt", {}, ...key.shown.split(" / ").map((name) => el("kbd", {}, name))),
          el("dd", {}, key.does),
        ]),
      );
    },
  };
}
