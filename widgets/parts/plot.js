// A small chart on a canvas: lines, bands, points, bars and segments over numbered axes, redrawn whole within a frame.

import { el, number, sharp } from "./dom.js";

/** One layer, drawn in the order given; colours are CSS colours.
 * @typedef {object} Layer
 * @property {"line" | "band" | "points" | "bars" | "segments"} kind
 * @property {ArrayLike<number>} x
 * @property {ArrayLike<number>} y of a band its upper edge, of a segment its end
 * @property {ArrayLike<number>} [low] of a band its lower edge, of a segment its start
 * @property {string} colour
 * @property {string} [name] shown when the cursor is at its x
 * @property {number} [width] line width, or a point's diameter, in pixels
 * @property {number[]} [dash]
 * @property {number} [opacity]
 * @property {boolean} [hollow]
 */

/** @typedef {{ low: number, high: number, title: string, log?: boolean, whole?: boolean, names?: string[] }} Axis */

/**
 * @typedef {{ label: string, x: Axis, y: Axis, layers: Layer[], cursor?: number | null, ring?: { x: number, y:
 *   number, text: string, colour: string } | null, note?: string }} Chart
 */

/** From values to pixels and back.
 * @typedef {object} Scales
 * @property {(value: number) => number} x
 * @property {(value: number) => number} y
 * @property {(pixel: number) => number} atX
 * @property {(pixel: number) => number} atY
 * @property {{ left: number, right: number, top: number, bottom: number }} box
 */

/**
 * Round numbers between two ends.
 * @param {number} low
 * @param {number} high
 * @param {number} count about how many
 * @param {boolean} [whole]
 */
export function ticks(low, high, count, whole = false) {
  const raw = (high - low) / Math.max(1, count);
  if (!(raw > 0) || !Number.isFinite(raw)) return { at: [low], digits: 2 };
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = Math.max(
    whole ? 1 : 0,
    power * ((whole ? [1, 2, 5, 10] : [1, 2, 2.5, 5, 10]).find((factor) => factor * power >= raw * 0.999) ?? 10),
  );
  const at = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) at.push(k * step);
  const digits = whole
    ? 0
    : Math.max(0, Math.min(8, Math.ceil(-Math.log10(step) - 1e-9) + (Math.abs(step / power - 2.5) < 1e-9 ? 1 : 0)));
  return { at, digits };
}

/**
 * Powers of ten between two ends, every second or third where there are many.
 * @param {number} low
 * @param {number} high
 * @param {number} count
 */
export function powers(low, high, count) {
  const [first, last] = [Math.ceil(Math.log10(low) - 1e-9), Math.floor(Math.log10(high) + 1e-9)];
  const stride = Math.max(1, Math.ceil((last - first + 1) / Math.max(1, count)));
  const at = [];
  for (let k = first; k <= last; k += stride) at.push(10 ** k);
  return at;
}

/**
 * A number of any size, short: 0.0123, 1.2e−7, 340.
 * @param {number | null | undefined} value
 * @param {number} [digits] significant ones
 */
export function short(value, digits = 3) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (value === 0) return "0";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  const text =
    size >= 1e-3 && size < 1e5
      ? String(Number(size.toPrecision(digits)))
      : size
          .toExponential(Math.max(0, digits - 2))
          .replace("e-", "e−")
          .replace("e+", "e");
  return value < 0 ? `−${text}` : text;
}

const SUPERS = "⁰¹²³⁴⁵⁶⁷⁸⁹";

/** @param {number} value a power of ten */
function powerName(value) {
  const exponent = Math.round(Math.log10(value));
  if (exponent >= -2 && exponent <= 3) return String(Number(value.toPrecision(1)));
  return `10${exponent < 0 ? "⁻" : ""}${[...String(Math.abs(exponent))].map((digit) => SUPERS[Number(digit)]).join("")}`;
}

/**
 * @param {import("./frame.js").Frame} frame
 * @param {string} testid
 * @param {{ pick?: (x: number) => void, readout?: boolean, interactive?: boolean }} [options]
 */
export function createPlot(frame, testid, { pick, readout = true, interactive = false } = {}) {
  const canvas = el("canvas", {
    class: "dw-xy",
    role: interactive ? "application" : "img",
    "data-testid": testid,
    tabindex: interactive ? 0 : null,
  });
  /** @type {Scales | null} */
  let scales = null;
  /** @type {Chart | null} */
  let shown = null;

  if (readout) {
    frame.listen(canvas, "pointermove", (/** @type {PointerEvent} */ event) => {
      if (!shown || !scales) return;
      const bounds = canvas.getBoundingClientRect();
      const px = event.clientX - bounds.left;
      if (px < scales.box.left - 4 || px > scales.box.right + 4) return frame.tooltip.hide();
      const rows = readings(shown, scales.atX(px));
      if (!rows.items.length) return frame.tooltip.hide();
      const list = el(
        "dl",
        { class: "dw-facts" },
        ...rows.items.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]),
      );
      return frame.tooltip.show(event.clientX, event.clientY, el("b", {}, rows.title), list);
    });
    frame.listen(canvas, "pointerleave", () => frame.tooltip.hide());
  }
  if (pick) {
    canvas.style.cursor = "pointer";
    frame.listen(canvas, "click", (/** @type {MouseEvent} */ event) => {
      if (scales) pick(scales.atX(event.clientX - canvas.getBoundingClientRect().left));
    });
  }

  return {
    node: canvas,
    scales: () => scales,
    /**
     * @param {import("./theme.js").Theme} theme
     * @param {Chart} chart
     * @param {number} width
     * @param {number} height
     */
    update(theme, chart, width, height) {
      shown = chart;
      const context = sharp(canvas, width, height);
      scales = axes(context, theme, chart, width, height);
      paint(context, theme, chart, scales);
      canvas.setAttribute("aria-label", chart.label);
      const { left, right, top, bottom } = scales.box;
      canvas.dataset.geometry = [
        left,
        top,
        right - left,
        bottom - top,
        chart.x.low,
        chart.x.high,
        chart.y.low,
        chart.y.high,
      ].join(" ");
      return scales;
    },
  };
}

/**
 * What the named layers say at x.
 * @param {Chart} chart
 * @param {number} x
 */
function readings(chart, x) {
  /** @type {[string, string][]} */
  const items = [];
  let title = "";
  for (const layer of chart.layers) {
    if (!layer.name || !layer.x.length) continue;
    let best = 0;
    for (let i = 1; i < layer.x.length; i++) if (Math.abs(layer.x[i] - x) < Math.abs(layer.x[best] - x)) best = i;
    const at = layer.x[best];
    if (!title)
      title = `${chart.x.title} ${chart.x.names?.[Math.round(at)] ?? (chart.x.whole ? Math.round(at) : short(at))}`;
    items.push([layer.name, short(layer.y[best])]);
  }
  return { title, items };
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {import("./theme.js").Theme} theme
 * @param {Chart} chart
 * @param {number} width
 * @param {number} height
 * @returns {Scales}
 */
function axes(context, theme, { x: along, y: up, note }, width, height) {
  context.font = `11px ${theme.font}`;
  const top = note ? 18 : 9;
  const bottom = height - (along.title ? 36 : 20);
  const across = (/** @type {Axis} */ axis, /** @type {number} */ count) =>
    axis.log ? { at: powers(axis.low, axis.high, count), digits: 0 } : ticks(axis.low, axis.high, count, axis.whole);
  const vertical = across(up, Math.max(2, Math.min(7, Math.floor((bottom - top) / (up.log ? 20 : 34)))));
  const name = (/** @type {Axis} */ axis, /** @type {number} */ value, /** @type {number} */ digits) =>
    axis.names?.[Math.round(value)] ??
    (axis.log ? powerName(value) : Math.abs(value) >= 1e5 ? short(value, 2) : number(value, digits));
  const labels = vertical.at.map((value) => name(up, value, vertical.digits));
  const widest = Math.max(14, ...labels.map((text) => context.measureText(text).width));
  const left = Math.ceil(widest) + (up.title ? 24 : 9);
  const right = width - 10;
  const warp = (/** @type {Axis} */ axis) =>
    axis.log
      ? (/** @type {number} */ value) => Math.log10(Math.max(value, 1e-300))
      : (/** @type {number} */ value) => value;
  const [wx, wy] = [warp(along), warp(up)];
  const [x0, x1, y0, y1] = [wx(along.low), wx(along.high), wy(up.low), wy(up.high)];
  const back = (/** @type {Axis} */ axis, /** @type {number} */ value) => (axis.log ? 10 ** value : value);
  /** @type {Scales} */
  const scales = {
    x: (value) => left + ((wx(value) - x0) / (x1 - x0 || 1)) * (right - left),
    y: (value) => bottom - ((wy(value) - y0) / (y1 - y0 || 1)) * (bottom - top),
    atX: (pixel) => back(along, x0 + ((pixel - left) / (right - left)) * (x1 - x0)),
    atY: (pixel) => back(up, y0 + ((bottom - pixel) / (bottom - top)) * (y1 - y0)),
    box: { left, right, top, bottom },
  };
  context.strokeStyle = theme.line;
  context.fillStyle = theme.ink;
  context.lineWidth = 1;
  context.textBaseline = "middle";
  context.textAlign = "right";
  context.beginPath();
  vertical.at.forEach((value, i) => {
    const y = Math.round(scales.y(value)) + 0.5;
    context.moveTo(left, y);
    context.lineTo(right, y);
    context.fillText(labels[i], left - 5, y);
  });
  context.stroke();
  context.textAlign = "center";
  const level = across(along, Math.max(2, Math.floor((right - left) / 62)));
  if (along.names)
    level.at = along.names.map((_, i) => i).filter((i) => i >= along.low && i <= along.high && along.names?.[i]);
  let edge = -Infinity;
  for (const value of level.at) {
    const text = name(along, value, level.digits);
    const half = context.measureText(text).width / 2;
    const middle = Math.min(width - half - 1, scales.x(value));
    if (middle - half < edge + 6) continue;
    edge = middle + half;
    context.fillText(text, middle, bottom + 11);
  }
  context.fillStyle = theme.quiet;
  if (along.title) context.fillText(along.title, (left + right) / 2, height - 7);
  if (up.title) {
    context.save();
    context.translate(8, (top + bottom) / 2);
    context.rotate(-Math.PI / 2);
    context.fillText(up.title, 0, 0);
    context.restore();
  }
  if (note) {
    context.textAlign = "left";
    context.fillText(note, left, 8);
  }
  context.textBaseline = "alphabetic";
  return scales;
}

/** @type {Map<string, { canvas: HTMLCanvasElement, size: number }>} */
const stamps = new Map();

/**
 * One point, drawn once and then stamped: filling hundreds of circles takes most of a frame.
 * @param {string} colour
 * @param {string} paper
 * @param {number} width
 * @param {boolean} hollow
 */
function stamp(colour, paper, width, hollow) {
  const ratio = Math.min(3, globalThis.devicePixelRatio || 1);
  const key = [colour, paper, width, hollow, ratio].join();
  let found = stamps.get(key);
  if (!found) {
    if (stamps.size > 200) stamps.clear();
    const size = Math.ceil(width) + 4;
    const canvas = document.createElement("canvas");
    const fine = 2 * ratio; // stamped between pixels, a finer picture stays round
    canvas.width = canvas.height = Math.round(size * fine);
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    context.scale(fine, fine);
    context.beginPath();
    context.arc(size / 2, size / 2, width / 2, 0, 2 * Math.PI);
    context.strokeStyle = hollow ? colour : paper;
    context.lineWidth = hollow ? 1.5 : 1;
    context.fillStyle = colour;
    if (!hollow) context.fill();
    context.stroke();
    stamps.set(key, (found = { canvas, size }));
  }
  return found;
}

/**
 * Draw the layers of a chart, its cursor and its ring, on axes that are there.
 * @param {CanvasRenderingContext2D} context
 * @param {import("./theme.js").Theme} theme
 * @param {Pick<Chart, "layers" | "cursor" | "ring">} chart
 * @param {Scales} scales
 */
export function paint(context, theme, chart, { x, y, box }) {
  context.save();
  context.beginPath();
  context.rect(box.left - 6, box.top - 6, box.right - box.left + 12, box.bottom - box.top + 7);
  context.clip();
  context.lineJoin = "round";
  for (const layer of chart.layers) {
    context.globalAlpha = layer.opacity ?? 1;
    context.strokeStyle = context.fillStyle = layer.colour;
    context.lineWidth = layer.width ?? 2;
    context.setLineDash(layer.dash ?? []);
    const count = layer.x.length;
    context.beginPath();
    if (layer.kind === "line") {
      let pen = false;
      for (let i = 0; i < count; i++) {
        if (!Number.isFinite(layer.y[i])) pen = false;
        else if (pen) context.lineTo(x(layer.x[i]), y(layer.y[i]));
        else {
          context.moveTo(x(layer.x[i]), y(layer.y[i]));
          pen = true;
        }
      }
      context.stroke();
    } else if (layer.kind === "band") {
      const low = /** @type {ArrayLike<number>} */ (layer.low);
      for (let i = 0; i < count; i++) context.lineTo(x(layer.x[i]), y(layer.y[i]));
      for (let i = count - 1; i >= 0; i--) context.lineTo(x(layer.x[i]), y(low[i]));
      context.closePath();
      context.fill();
    } else if (layer.kind === "segments") {
      const low = /** @type {ArrayLike<number>} */ (layer.low);
      const wide = layer.width ?? 2;
      // Upright rectangles, not one path of strokes: hundreds of them are drawn while a slider moves.
      for (let i = 0; i < count; i++) {
        const [from, to] = [y(low[i]), y(layer.y[i])];
        context.fillRect(x(layer.x[i]) - wide / 2, Math.min(from, to), wide, Math.abs(from - to));
      }
    } else if (layer.kind === "bars") {
      const wide = Math.max(1, (layer.width ?? 0.8) * Math.abs(x(1) - x(0)));
      for (let i = 0; i < count; i++) {
        const top = Math.max(box.top - 2, y(layer.y[i]));
        if (Number.isFinite(top)) context.rect(x(layer.x[i]) - wide / 2, top, wide, Math.max(0, box.bottom - top));
      }
      if (layer.hollow) {
        context.lineWidth = 1;
        context.stroke();
      } else context.fill();
    } else {
      const dot = stamp(layer.colour, theme.paper, layer.width ?? 7, layer.hollow ?? false);
      const half = dot.size / 2;
      for (let i = 0; i < count; i++) {
        if (Number.isFinite(layer.y[i]))
          context.drawImage(dot.canvas, x(layer.x[i]) - half, y(layer.y[i]) - half, dot.size, dot.size);
      }
    }
  }
  context.globalAlpha = 1;
  context.setLineDash([]);
  if (chart.cursor !== null && chart.cursor !== undefined) {
    context.strokeStyle = theme.ink;
    context.lineWidth = 1;
    const at = Math.round(x(chart.cursor)) + 0.5;
    context.beginPath();
    context.moveTo(at, box.top);
    context.lineTo(at, box.bottom);
    context.stroke();
  }
  if (chart.ring) {
    const [px, py] = [x(chart.ring.x), y(chart.ring.y)];
    context.strokeStyle = chart.ring.colour;
    context.lineWidth = 2;
    context.beginPath();
    context.arc(px, py, 6, 0, 2 * Math.PI);
    context.stroke();
    context.font = `600 11px ${theme.font}`;
    context.textAlign = px > (box.left + box.right) / 2 ? "right" : "left";
    context.strokeStyle = theme.paper;
    context.lineWidth = 3;
    const place = /** @type {const} */ ([
      px + (px > (box.left + box.right) / 2 ? -9 : 9),
      py < (box.top + box.bottom) / 2 ? py + 16 : py - 9,
    ]);
    context.strokeText(chart.ring.text, ...place);
    context.fillStyle = theme.ink;
    context.fillText(chart.ring.text, ...place);
  }
  context.restore();
}
