// A map over two features: class probability, latent mean or latent deviation, with boundaries and training points.

import { classColour, isHollow, level, table } from "../../parts/colours.js";
import { el } from "../../parts/dom.js";
import { createPlot } from "../../parts/plot.js";

/** What a map shows.
 * @typedef {object} MapView
 * @property {string} label
 * @property {string} note
 * @property {number} nx
 * @property {number} ny
 * @property {[number, number]} spanX
 * @property {[number, number]} spanY
 * @property {string} xTitle
 * @property {string} yTitle
 * @property {ArrayLike<number>} values (ny, nx), or (ny, nx, classes) for probabilities
 * @property {"probability" | "mean" | "std"} show
 * @property {number} classes
 * @property {number} limit of the colour scale of latent values
 * @property {{ segments: Float64Array, colour: string, width: number, dash?: number[] }[]} boundaries x, y pairs of
 *   ends
 * @property {{ places: ArrayLike<number>, labels: ArrayLike<number> }} points
 * @property {number | null} pinned
 * @property {[number, number] | null} cross
 */

/** @param {string} hex */
const rgb = (hex) => [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16));

/**
 * @param {import("../../parts/frame.js").Frame} frame
 * @param {string} testid
 * @param {{ hover: (place: [number, number] | null, row: number | null, event: PointerEvent | null) => void, pin:
 *   (row: number) => void }} events
 */
export function createMap(frame, testid, events) {
  const plot = createPlot(frame, testid, { readout: false, interactive: true });
  const canvas = plot.node;
  canvas.setAttribute("aria-roledescription", "map");
  const picture = el("canvas", {});
  let drawn = /** @type {any} */ (null);
  /** @type {MapView | null} */
  let view = null;

  /** @param {PointerEvent | MouseEvent} event */
  function nearest(event) {
    const scales = plot.scales();
    if (!view || !scales) return null;
    const bounds = canvas.getBoundingClientRect();
    let best = null;
    let distance = 11 ** 2;
    for (let i = 0; i < view.points.labels.length; i++) {
      const d =
        (scales.x(view.points.places[2 * i]) - (event.clientX - bounds.left)) ** 2 +
        (scales.y(view.points.places[2 * i + 1]) - (event.clientY - bounds.top)) ** 2;
      if (d < distance) [best, distance] = [i, d];
    }
    return best;
  }
  frame.listen(canvas, "pointermove", (/** @type {PointerEvent} */ event) => {
    const scales = plot.scales();
    if (!scales) return;
    const { left, top } = canvas.getBoundingClientRect();
    const { box } = scales;
    const [px, py] = [event.clientX - left, event.clientY - top];
    if (px < box.left || px > box.right || py < box.top || py > box.bottom) return events.hover(null, null, null);
    return events.hover([scales.atX(px), scales.atY(py)], nearest(event), event);
  });
  frame.listen(canvas, "pointerleave", () => events.hover(null, null, null));
  frame.listen(canvas, "click", (/** @type {MouseEvent} */ event) => {
    const row = nearest(event);
    if (row !== null) events.pin(row);
  });
  frame.listen(canvas, "keydown", (/** @type {KeyboardEvent} */ event) => {
    if (!view || (event.key !== "ArrowLeft" && event.key !== "ArrowRight")) return;
    event.preventDefault();
    event.stopPropagation();
    const count = view.points.labels.length;
    events.pin(view.pinned === null ? 0 : (view.pinned + (event.key === "ArrowRight" ? 1 : -1) + count) % count);
  });

  return {
    node: canvas,
    /**
     * @param {import("../../parts/theme.js").Theme} theme
     * @param {MapView} next
     * @param {number} width
     * @param {number} height
     */
    update(theme, next, width, height) {
      view = next;
      const chart = {
        label: next.label,
        note: next.note,
        x: { low: next.spanX[0], high: next.spanX[1], title: next.xTitle },
        y: { low: next.spanY[0], high: next.spanY[1], title: next.yTitle },
        layers: [],
      };
      const scales = plot.update(theme, chart, width, height);
      const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
      const stamp = [next.values, next.show, theme.dark, next.limit];
      if (!drawn || stamp.some((value, i) => value !== drawn[i])) {
        drawn = stamp;
        colourIn(picture, theme, next);
      }
      const { left, right, top, bottom } = scales.box;
      context.save();
      context.beginPath();
      context.rect(left, top, right - left, bottom - top);
      context.clip();
      context.imageSmoothingEnabled = true;
      context.drawImage(picture, left, top, right - left, bottom - top);
      context.lineCap = "round";
      for (const { segments, colour, width: wide, dash } of next.boundaries) {
        context.strokeStyle = colour;
        context.lineWidth = wide;
        context.setLineDash(dash ?? []);
        context.beginPath();
        for (let k = 0; k < segments.length; k += 4) {
          context.moveTo(scales.x(segments[k]), scales.y(segments[k + 1]));
          context.lineTo(scales.x(segments[k + 2]), scales.y(segments[k + 3]));
        }
        context.stroke();
      }
      context.setLineDash([]);
      if (next.cross) {
        context.strokeStyle = theme.ink;
        context.lineWidth = 0.75;
        context.beginPath();
        context.moveTo(scales.x(next.cross[0]), top);
        context.lineTo(scales.x(next.cross[0]), bottom);
        context.moveTo(left, scales.y(next.cross[1]));
        context.lineTo(right, scales.y(next.cross[1]));
        context.stroke();
      }
      const radius = next.points.labels.length > 250 ? 3 : 4.25;
      for (let i = 0; i < next.points.labels.length; i++) {
        const label = next.points.labels[i];
        const ink = classColour(label, theme.dark);
        context.beginPath();
        context.arc(
          scales.x(next.points.places[2 * i]),
          scales.y(next.points.places[2 * i + 1]),
          radius,
          0,
          2 * Math.PI,
        );
        context.fillStyle = isHollow(label) ? theme.paper : ink;
        context.fill();
        context.lineWidth = 1.1;
        context.strokeStyle = isHollow(label) ? ink : theme.dark ? "#000" : "#fff";
        context.stroke();
      }
      if (next.pinned !== null && next.pinned < next.points.labels.length) {
        context.beginPath();
        context.arc(
          scales.x(next.points.places[2 * next.pinned]),
          scales.y(next.points.places[2 * next.pinned + 1]),
          radius + 5,
          0,
          2 * Math.PI,
        );
        context.lineWidth = 2.5;
        context.strokeStyle = theme.ink;
        context.stroke();
      }
      context.restore();
    },
  };
}

/**
 * One pixel per place; the browser smooths between them.
 * @param {HTMLCanvasElement} picture
 * @param {import("../../parts/theme.js").Theme} theme
 * @param {MapView} view
 */
function colourIn(picture, theme, { nx, ny, values, show, classes, limit }) {
  picture.width = nx;
  picture.height = ny;
  const context = /** @type {CanvasRenderingContext2D} */ (picture.getContext("2d"));
  const image = context.createImageData(nx, ny);
  const paper = theme.dark ? [17, 18, 20] : [255, 255, 255];
  const palette = Array.from({ length: classes }, (_, c) => rgb(classColour(c, theme.dark)));
  const colours = table(show === "std" ? "viridis" : theme.dark ? "diverging-dark" : "diverging");
  for (let row = 0; row < ny; row++) {
    for (let column = 0; column < nx; column++) {
      const from = row * nx + column;
      const to = 4 * ((ny - 1 - row) * nx + column);
      if (show === "probability") {
        let best = 0;
        for (let c = 1; c < classes; c++) if (values[from * classes + c] > values[from * classes + best]) best = c;
        const sure = 0.78 * ((values[from * classes + best] - 1 / classes) / (1 - 1 / classes));
        for (let k = 0; k < 3; k++) image.data[to + k] = paper[k] + sure * (palette[best][k] - paper[k]);
      } else {
        const k = 3 * level(values[from], show === "std" ? 0 : -limit, limit);
        for (let i = 0; i < 3; i++) image.data[to + i] = colours[k + i];
      }
      image.data[to + 3] = 255;
    }
  }
  context.putImageData(image, 0, 0);
}

/**
 * Where a function on a map crosses zero: marching squares, four numbers per piece (x, y, x, y).
 * @param {(row: number, column: number) => number} value
 * @param {number} nx
 * @param {number} ny
 * @param {(column: number) => number} x
 * @param {(row: number) => number} y
 */
export function zeroLine(value, nx, ny, x, y) {
  /** @type {number[]} */
  const out = [];
  const between = (/** @type {number} */ a, /** @type {number} */ b) => a / (a - b);
  for (let i = 0; i < ny - 1; i++) {
    for (let j = 0; j < nx - 1; j++) {
      const [a, b, c, d] = [value(i, j), value(i, j + 1), value(i + 1, j + 1), value(i + 1, j)];
      /** @type {[number, number][]} */
      const ends = [];
      if (a > 0 !== b > 0) ends.push([x(j + between(a, b)), y(i)]);
      if (b > 0 !== c > 0) ends.push([x(j + 1), y(i + between(b, c))]);
      if (d > 0 !== c > 0) ends.push([x(j + between(d, c)), y(i + 1)]);
      if (a > 0 !== d > 0) ends.push([x(j), y(i + between(a, d))]);
      // At a saddle four edges are crossed: the order above pairs them so that the pieces do not cross.
      for (let k = 0; k + 1 < ends.length; k += 2) out.push(...ends[k], ...ends[k + 1]);
    }
  }
  return Float64Array.from(out);
}
