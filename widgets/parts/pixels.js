// The pixels of a picture, read one at a time under the cursor or by the arrow keys.

import { el } from "./dom.js";
import { facts } from "./tooltip.js";

/** @type {Record<string, [number, number]>} */
const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/**
 * Listens to the canvas, and says in the tooltip and to a screen reader what a pixel holds.
 * @param {import("./frame.js").Frame} frame
 * @param {HTMLCanvasElement} canvas of whole pixels of the screen per pixel of the picture
 * @param {() => { width: number, height: number, pixel: number } | null} shown the picture, and the side of its pixels
 * @param {(x: number, y: number) => [string, string][]} lines
 * @param {() => void} [moved] it is another pixel now, or none
 */
export function createPixels(frame, canvas, shown, lines, moved = () => {}) {
  let at = /** @type {[number, number] | null} */ (null);

  /** @param {[number, number] | null} next @param {{ x: number, y: number } | null} point */
  function move(next, point) {
    at = next;
    if (next && point)
      frame.tooltip.show(point.x, point.y, el("b", {}, `row ${next[1]}, column ${next[0]}`), facts(lines(...next)));
    else frame.tooltip.hide();
    moved();
  }
  frame.listen(canvas, "pointermove", (/** @type {PointerEvent} */ event) => {
    const picture = shown();
    if (!picture) return;
    const bounds = canvas.getBoundingClientRect();
    const x = Math.floor((event.clientX - bounds.left) / picture.pixel);
    const y = Math.floor((event.clientY - bounds.top) / picture.pixel);
    const inside = x >= 0 && y >= 0 && x < picture.width && y < picture.height;
    if (inside || at) move(inside ? [x, y] : null, { x: event.clientX, y: event.clientY });
  });
  frame.listen(canvas, "pointerleave", () => move(null, null));
  frame.listen(canvas, "blur", () => move(null, null));
  frame.listen(canvas, "keydown", (/** @type {KeyboardEvent} */ event) => {
    const [step, picture] = [STEPS[event.key], shown()];
    if (!step || !picture || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    const [x, y] = at ? [at[0] + step[0], at[1] + step[1]] : [0, 0];
    const next = /** @type {[number, number]} */ ([
      Math.max(0, Math.min(picture.width - 1, x)),
      Math.max(0, Math.min(picture.height - 1, y)),
    ]);
    const bounds = canvas.getBoundingClientRect();
    move(next, { x: bounds.left + (next[0] + 1) * picture.pixel, y: bounds.top + (next[1] + 0.5) * picture.pixel });
    const said = lines(...next).map((line) => line.join(" "));
    frame.say(`row ${next[1]}, column ${next[0]}: ${said.join(", ")}`);
  });

  return {
    /** The pixel under the cursor: column and row. */
    at: () => at,
  };
}
