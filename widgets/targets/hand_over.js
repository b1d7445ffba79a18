// Who makes which step: the base hands over to the student, with samples, diversity, quality and calls for each choice.

import { el } from "../parts/dom.js";

/**
 * @param {import("../parts/frame.js").Frame} _frame
 * @param {import("./scene.js").Scene} _scene
 */
export function createHandOver(_frame, _scene) {
  return {
    node: el("div", { "data-testid": "hand-over" }),
    available: () => false,
    /**
     * @param {import("../parts/theme.js").Theme} _theme
     * @param {number} _width
     * @param {number} _tall
     */
    update(_theme, _width, _tall) {},
  };
}
