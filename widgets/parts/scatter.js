// A cloud of examples in two dimensions, coloured by class; the one under the cursor is marked in every linked cloud.

import { classColour, isHollow } from "./colours.js";
import { el, sharp } from "./dom.js";

/** What a scatter shows.
 * @typedef {object} Cloud
 * @property {string} label
 * @property {ArrayLike<number>} points x, y of each example
 * @property {ArrayLike<number>} labels class of each example
 * @property {string[]} classes
 * @property {[string, string]} axes
 * @property {number | null} pinned example
 * @property {number[]} hovered examples
 * @property {number | null} only class that is not dimmed
 */

/**
 * @typedef {{ hover: (example: number | null, point: { x: number, y: number } | null) => void, pin: (example: number)
 *   => void, describe: (example: number) => string }} ScatterEvents
 */

const PAD = 14;

/**
 * @param {import("./frame.js").Frame} frame
 * @param {string} testid
 * @param {ScatterEvents} events
 */
export function createScatter(frame, testid, events) {
  const canvas = el("canvas", {
    class: "dw-plot",
    tabindex: 0,
    role: "application",
    "aria-roledescription": "scatter plot",
    "data-testid": testid,
  });
  /** @type {Cloud | null} */
  let cloud = null;
  /**
   * @type {number | null} the example under the cursor, known before it has been drawn: keys come faster than frames
   */
  let cursor = null;
  let place = (/** @type {number} */ _) => ({ x: 0, y: 0 });

  /** @param {MouseEvent} event */
  function nearest(event) {
    if (!cloud) return null;
    const bounds = canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - bounds.left, event.clientY - bounds.top];
    let best = null;
    let distance = 14 ** 2; // px²; farther away is nobody
    for (let i = 0; i < cloud.labels.length; i++) {
      const point = place(i);
      const d = (point.x - x) ** 2 + (point.y - y) ** 2;
      if (d < distance) [best, distance] = [i, d];
    }
    return best;
  }

  frame.listen(canvas, "pointermove", (/** @type {PointerEvent} */ event) => {
    const example = nearest(event);
    canvas.style.cursor = example === null ? "default" : "pointer";
    cursor = example;
    events.hover(example, example === null ? null : { x: event.clientX, y: event.clientY });
  });
  const leave = () => {
    cursor = null;
    events.hover(null, null);
  };
  frame.listen(canvas, "pointerleave", leave);
  frame.listen(canvas, "blur", leave);
  frame.listen(canvas, "click", (/** @type {MouseEvent} */ event) => {
    const example = nearest(event);
    if (example !== null) events.pin(example);
  });
  frame.listen(canvas, "keydown", (/** @type {KeyboardEvent} */ event) => {
    if (!cloud || !["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Enter"].includes(event.key)) return;
    const from = cursor ?? cloud.pinned;
    event.preventDefault();
    event.stopPropagation();
    if (event.key === "Enter") {
      if (from !== null) events.pin(from);
      return;
    }
    const step = event.key === "ArrowLeft" || event.key === "ArrowUp" ? -1 : 1;
    const next = from === null ? 0 : (from + step + cloud.labels.length) % cloud.labels.length;
    const bounds = canvas.getBoundingClientRect();
    const point = place(next);
    cursor = next;
    events.hover(next, { x: bounds.left + point.x, y: bounds.top + point.y });
    frame.say(events.describe(next));
  });

  return {
    canvas,
    /**
     * @param {import("./theme.js").Theme} theme
     * @param {Cloud} next
     * @param {number} size
     */
    update(theme, next, size) {
      cloud = next;
      const { points, labels, classes } = next;
      let reach = 1e-9;
      for (let i = 0; i < points.length; i++) reach = Math.max(reach, Math.abs(points[i]));
      // One scale for both axes: distances in the picture are distances in the projection.
      const scale = (size / 2 - PAD) / reach;
      place = (i) => ({ x: size / 2 + points[2 * i] * scale, y: size / 2 - points[2 * i + 1] * scale });
      const context = sharp(canvas, size, size);
      context.strokeStyle = theme.line;
      context.lineWidth = 1;
      context.beginPath();
      context.moveTo(size / 2 + 0.5, 4);
      context.lineTo(size / 2 + 0.5, size - 4);
      context.moveTo(4, size / 2 + 0.5);
      context.lineTo(size - 4, size / 2 + 0.5);
      context.stroke();
      context.font = theme.type(10);
      context.fillStyle = theme.quiet;
      context.textAlign = "right";
      context.fillText(next.axes[0], size - 5, size - 5);
      context.save();
      context.translate(11, 5);
      context.rotate(-Math.PI / 2);
      context.fillText(next.axes[1], 0, 0);
      context.restore();
      const radius = (size > 210 ? 3.6 : 3) * theme.scale;
      for (let i = 0; i < labels.length; i++) {
        const dimmed = next.only !== null && labels[i] !== next.only;
        context.globalAlpha = dimmed ? 0.12 : 0.85;
        dot(context, theme, place(i), radius, labels[i]);
      }
      context.globalAlpha = 1;
      if (classes.length > 8 && size >= 130) centroids(context, theme, next);
      for (const example of new Set([...(next.pinned === null ? [] : [next.pinned]), ...next.hovered])) {
        if (example >= labels.length) continue;
        const point = place(example);
        context.strokeStyle = theme.ink;
        context.lineWidth = example === next.pinned ? 2.25 : 1.5;
        context.beginPath();
        context.arc(point.x, point.y, radius + 4, 0, 2 * Math.PI);
        context.stroke();
        dot(context, theme, point, radius + 1.25, labels[example]);
      }
      canvas.setAttribute("aria-label", `${next.label}. Arrow keys walk through the examples, Enter pins one.`);
    },
  };

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {import("./theme.js").Theme} theme
   * @param {{ x: number, y: number }} point
   * @param {number} radius
   * @param {number} label
   */
  function dot(context, theme, { x, y }, radius, label) {
    const ink = classColour(label, theme.dark);
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.fillStyle = isHollow(label) ? theme.paper : ink;
    context.fill();
    context.strokeStyle = isHollow(label) ? ink : theme.paper;
    context.lineWidth = isHollow(label) ? 1.75 : 0.75;
    context.stroke();
  }

  /**
   * Eight colours do not name more than eight classes, so each cloud carries its name.
   * @param {CanvasRenderingContext2D} context
   * @param {import("./theme.js").Theme} theme
   * @param {Cloud} shown
   */
  function centroids(context, theme, { labels, classes, only }) {
    const sums = classes.map(() => ({ x: 0, y: 0, n: 0 }));
    for (let i = 0; i < labels.length; i++) {
      const sum = sums[labels[i]];
      const { x, y } = place(i);
      sum.x += x;
      sum.y += y;
      sum.n++;
    }
    context.font = theme.type(11, 600);
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.lineJoin = "round";
    sums.forEach(({ x, y, n }, label) => {
      if (!n || (only !== null && only !== label)) return;
      const text = classes[label].length > 8 ? `${classes[label].slice(0, 7)}…` : classes[label];
      context.strokeStyle = theme.paper;
      context.lineWidth = 3.5;
      context.strokeText(text, x / n, y / n);
      context.fillStyle = theme.ink;
      context.fillText(text, x / n, y / n);
    });
    context.textBaseline = "alphabetic";
  }
}
