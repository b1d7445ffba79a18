// A Gram matrix ordered by class: blocks on the diagonal are classes that the layer keeps together.

import { classColour, level, table } from "./colours.js";
import { el, sharp } from "./dom.js";

/** What a Gram matrix shows.
 * @typedef {object} Gram
 * @property {string} label
 * @property {ArrayLike<number>} values (g, g) in −127..127
 * @property {ArrayLike<number>} examples which example each row is
 * @property {ArrayLike<number>} labels class of each example
 * @property {number[]} hovered examples
 * @property {number | null} pinned example
 */

/**
 * @typedef {{ hover: (pair: [number, number, number] | null, point: { x: number, y: number } | null) => void, pin:
 *   (example: number) => void }} GramEvents the pair: two examples and their entry in −1..1
 */

const STRIP = 6; // px of class colours along the top and the left

/**
 * @param {import("./frame.js").Frame} frame
 * @param {string} testid
 * @param {GramEvents} events
 */
export function createGram(frame, testid, events) {
  const canvas = el("canvas", { class: "dw-plot", role: "img", "data-testid": testid });
  const pixels = document.createElement("canvas");
  /** @type {any[]} */
  let painted = [];
  /** @type {Gram | null} */
  let gram = null;
  /** @type {number[]} */
  let order = [];
  let side = 0;

  /** @param {MouseEvent} event */
  function under(event) {
    const bounds = canvas.getBoundingClientRect();
    const step = (side - STRIP) / order.length;
    const [column, row] = [event.clientX - bounds.left, event.clientY - bounds.top].map((value) =>
      Math.floor((value - STRIP - 1) / step),
    );
    return gram && row >= 0 && column >= 0 && row < order.length && column < order.length ? { row, column } : null;
  }

  frame.listen(canvas, "pointermove", (/** @type {PointerEvent} */ event) => {
    const found = under(event);
    if (!found || !gram) return events.hover(null, null);
    const [a, b] = [order[found.row], order[found.column]];
    events.hover([gram.examples[a], gram.examples[b], gram.values[a * order.length + b] / 127], {
      x: event.clientX,
      y: event.clientY,
    });
  });
  frame.listen(canvas, "pointerleave", () => events.hover(null, null));
  frame.listen(canvas, "click", (/** @type {MouseEvent} */ event) => {
    const found = under(event);
    if (found && gram) events.pin(gram.examples[order[found.row]]);
  });

  return {
    canvas,
    /**
     * @param {import("./theme.js").Theme} theme
     * @param {Gram} next
     * @param {number} size
     */
    update(theme, next, size) {
      gram = next;
      side = size;
      const count = next.examples.length;
      const map = theme.dark ? "diverging-dark" : "diverging";
      const signature = [next.values, theme.dark, next.labels];
      if (signature.some((value, i) => value !== painted[i])) {
        painted = signature;
        order = [...Array(count).keys()].sort(
          (a, b) => next.labels[next.examples[a]] - next.labels[next.examples[b]] || a - b,
        );
        const rgb = table(map);
        pixels.width = pixels.height = count;
        const brush = /** @type {CanvasRenderingContext2D} */ (pixels.getContext("2d"));
        const image = brush.createImageData(count, count);
        for (let row = 0; row < count; row++) {
          for (let column = 0; column < count; column++) {
            const k = 3 * level(next.values[order[row] * count + order[column]], -127, 127);
            const p = 4 * (row * count + column);
            image.data[p] = rgb[k];
            image.data[p + 1] = rgb[k + 1];
            image.data[p + 2] = rgb[k + 2];
            image.data[p + 3] = 255;
          }
        }
        brush.putImageData(image, 0, 0);
      }
      const context = sharp(canvas, size, size);
      context.imageSmoothingEnabled = false;
      const inner = size - STRIP;
      context.drawImage(pixels, STRIP + 1, STRIP + 1, inner - 1, inner - 1);
      const step = inner / count;
      order.forEach((index, i) => {
        context.fillStyle = classColour(next.labels[next.examples[index]], theme.dark);
        context.fillRect(STRIP + 1 + i * step, 0, step + 0.5, STRIP - 1);
        context.fillRect(0, STRIP + 1 + i * step, STRIP - 1, step + 0.5);
      });
      context.strokeStyle = theme.ink;
      context.lineWidth = 1;
      const marked = [...new Set([...(next.pinned === null ? [] : [next.pinned]), ...next.hovered])];
      order.forEach((index, i) => {
        if (!marked.includes(next.examples[index])) return;
        const p = STRIP + 1 + i * step;
        context.strokeRect(STRIP + 0.5, p, inner - 1, Math.max(step, 2));
        context.strokeRect(p, STRIP + 0.5, Math.max(step, 2), inner - 1);
      });
      canvas.setAttribute("aria-label", next.label);
    },
  };
}
