// One seed: its trajectory of states and targets, and the picture under the cursor large.

import { el } from "../parts/dom.js";

/**
 * @param {import("../parts/frame.js").Frame} frame
 * @param {import("./scene.js").Scene} scene
 */
export function createInspector(frame, scene) {
  const empty = el("div", { class: "dw-empty", "data-testid": "empty" }, el("p", {}, el("b", {}, "Hover a seed; click to keep it.")));
  frame.inspector.append(empty);
  return {
    /** @param {import("../parts/theme.js").Theme} _theme */
    update(_theme) {
      empty.hidden = scene.shown() !== null;
    },
  };
}
