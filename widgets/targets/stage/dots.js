// Thousands of points at once: each a small disc written pixel by pixel, which is some ten times as fast as drawing
// them.

import { sharp } from "../../parts/dom.js";

/**
 * Points of one look.
 * @typedef {{ x: ArrayLike<number>, y: ArrayLike<number>, colour: string, width: number, hollow?: boolean }} Dots
 */

/**
 * How much of each pixel around a place a disc and its rim cover.
 * @typedef {{ reach: number, ink: Float32Array, paper: Float32Array }} Mask
 */

const PARTS = 4; // a place is rounded to a quarter of a pixel
const OPACITY = 0.9;

/** @type {Map<string, Mask[]>} */
const masks = new Map();

/** @type {WeakMap<HTMLCanvasElement, { key: string, image: ImageData }>} the points that each canvas shows */
const drawn = new WeakMap();

/**
 * Masks of a disc for each fraction of a pixel that its middle may lie at.
 * @param {number} radius device pixels
 * @param {boolean} hollow a ring, without a rim of paper
 * @param {number} ratio device pixels per pixel
 */
function masksOf(radius, hollow, ratio) {
  const key = [radius, hollow, ratio].join();
  let found = masks.get(key);
  if (found) return found;
  const rim = hollow ? 0 : 0.9 * ratio;
  const reach = Math.ceil(radius + rim + 1);
  const side = 2 * reach + 1;
  found = [];
  const cover = (/** @type {number} */ distance, /** @type {number} */ edge) =>
    Math.max(0, Math.min(1, edge - distance + 0.5));
  for (let part = 0; part < PARTS * PARTS; part++) {
    const [fx, fy] = [(part % PARTS) / PARTS, Math.floor(part / PARTS) / PARTS];
    const [ink, paper] = [new Float32Array(side * side), new Float32Array(side * side)];
    for (let y = -reach, i = 0; y <= reach; y++) {
      for (let x = -reach; x <= reach; x++, i++) {
        const distance = Math.hypot(x - fx, y - fy);
        const inside = cover(distance, radius);
        ink[i] = OPACITY * (hollow ? Math.max(0, inside - cover(distance, radius - 1.6 * ratio)) : inside);
        paper[i] = OPACITY * Math.max(0, cover(distance, radius + rim) - inside) * (hollow ? 0 : 1);
      }
    }
    found.push({ reach, ink, paper });
  }
  if (masks.size > 60) masks.clear();
  masks.set(key, found);
  return found;
}

/**
 * @param {string} colour "#rrggbb" or "rgb(…)"
 * @returns {[number, number, number]}
 */
function channels(colour) {
  const found = colour.startsWith("#")
    ? [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16))
    : (colour.match(/[\d.]+/g) ?? []).map(Number);
  return [found[0] ?? 0, found[1] ?? 0, found[2] ?? 0];
}

/**
 * Clear a canvas and draw points on it.
 * @param {HTMLCanvasElement} canvas
 * @param {import("../../parts/theme.js").Theme} theme
 * @param {import("../../parts/plot_axes.js").Scales} scales straight ones
 * @param {string} key as long as it is the same, so are the points: they are not computed again while a cursor moves
 * @param {() => Dots[]} groups
 * @param {number} width
 * @param {number} height
 * @returns {CanvasRenderingContext2D} for what lies over the points
 */
export function drawDots(canvas, theme, scales, key, groups, width, height) {
  const context = sharp(canvas, width, height);
  const ratio = canvas.width / width;
  const { left, right, top, bottom } = scales.box;
  const [x0, y0] = [Math.floor((left - 6) * ratio), Math.floor((top - 6) * ratio)];
  const [wide, tall] = [Math.ceil((right + 6) * ratio) - x0, Math.ceil((bottom + 6) * ratio) - y0];
  if (wide <= 0 || tall <= 0) return context;
  const whole = JSON.stringify([
    key,
    wide,
    tall,
    x0,
    y0,
    ratio,
    theme.paper,
    scales.x(0),
    scales.x(1),
    scales.y(0),
    scales.y(1),
  ]);
  const known = drawn.get(canvas);
  if (known?.key === whole) {
    context.putImageData(known.image, x0, y0);
    return context;
  }
  const image = context.createImageData(wide, tall);
  drawn.set(canvas, { key: whole, image });
  const { data } = image;
  const paper = channels(theme.paper);
  const [ox, oy] = [scales.x(0) * ratio - x0, scales.y(0) * ratio - y0];
  const [sx, sy] = [(scales.x(1) - scales.x(0)) * ratio, (scales.y(1) - scales.y(0)) * ratio];
  const looks = groups().map(({ x, y, colour, width: size, hollow = false }) => ({
    x,
    y,
    rgb: channels(colour),
    shapes: masksOf((size / 2) * ratio, hollow, ratio),
  }));
  const most = Math.max(0, ...looks.map(({ x }) => x.length));
  // Point by point through all groups: none of them hides the others.
  for (let i = 0; i < most; i++) {
    for (const look of looks) if (i < look.x.length) put(look, ox + look.x[i] * sx, oy + look.y[i] * sy);
  }
  context.putImageData(image, x0, y0);
  return context;

  /**
   * @param {{ rgb: [number, number, number], shapes: Mask[] }} look
   * @param {number} px
   * @param {number} py
   */
  function put({ rgb, shapes }, px, py) {
    if (!(px >= 0 && py >= 0 && px < wide && py < tall)) return;
    const [ix, iy] = [Math.floor(px), Math.floor(py)];
    const { reach, ink, paper: rim } = shapes[Math.floor((px - ix) * PARTS) + PARTS * Math.floor((py - iy) * PARTS)];
    let k = 0;
    for (let v = iy - reach; v <= iy + reach; v++) {
      for (let u = ix - reach; u <= ix + reach; u++, k++) {
        const cover = ink[k] + rim[k];
        if (cover === 0 || u < 0 || v < 0 || u >= wide || v >= tall) continue;
        const at = 4 * (v * wide + u);
        const under = (data[at + 3] / 255) * (1 - cover);
        const alpha = cover + under;
        for (let c = 0; c < 3; c++) data[at + c] = (ink[k] * rgb[c] + rim[k] * paper[c] + under * data[at + c]) / alpha;
        data[at + 3] = 255 * alpha;
      }
    }
  }
}
