// The axes of a plot: ticks, names, and the way from values to pixels and back.

import { number } from "./dom.js";
import { powerName, powers, short, ticks } from "./numbers.js";

/** @typedef {{ low: number, high: number, title: string, log?: boolean, whole?: boolean, names?: string[] }} Axis */

/** From values to pixels and back.
 * @typedef {object} Scales
 * @property {(value: number) => number} x
 * @property {(value: number) => number} y
 * @property {(pixel: number) => number} atX
 * @property {(pixel: number) => number} atY
 * @property {{ left: number, right: number, top: number, bottom: number }} box
 */

/**
 * @param {CanvasRenderingContext2D} context
 * @param {import("./theme.js").Theme} theme
 * @param {import("./plot.js").Chart} chart
 * @param {number} width
 * @param {number} height
 * @returns {Scales}
 */
export function axes(context, theme, { x: along, y: up, note }, width, height) {
  context.font = theme.type(11);
  const s = theme.scale;
  const top = note ? 18 * s : 9;
  const bottom = height - (along.title ? 36 : 20) * s;
  const across = (/** @type {Axis} */ axis, /** @type {number} */ count) =>
    axis.log ? { at: powers(axis.low, axis.high, count), digits: 0 } : ticks(axis.low, axis.high, count, axis.whole);
  const vertical = across(up, Math.max(2, Math.min(7, Math.floor((bottom - top) / ((up.log ? 20 : 34) * s)))));
  const name = (/** @type {Axis} */ axis, /** @type {number} */ value, /** @type {number} */ digits) =>
    axis.names?.[Math.round(value)] ??
    (axis.log ? powerName(value) : Math.abs(value) >= 1e5 ? short(value, 2) : number(value, digits));
  const labels = vertical.at.map((value) => name(up, value, vertical.digits));
  const widest = Math.max(14, ...labels.map((text) => context.measureText(text).width));
  const left = Math.ceil(widest) + (up.title ? 24 : 9) * s;
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
  const level = across(along, Math.max(2, Math.floor((right - left) / (62 * s))));
  if (along.names)
    level.at = along.names.map((_, i) => i).filter((i) => i >= along.low && i <= along.high && along.names?.[i]);
  let edge = -Infinity;
  for (const value of level.at) {
    const text = name(along, value, level.digits);
    const half = context.measureText(text).width / 2;
    const middle = Math.min(width - half - 1, scales.x(value));
    if (middle - half < edge + 6) continue;
    edge = middle + half;
    context.fillText(text, middle, bottom + 11 * s);
  }
  context.fillStyle = theme.quiet;
  if (along.title) context.fillText(along.title, (left + right) / 2, height - 7 * s);
  if (up.title) {
    context.save();
    context.translate(8 * s, (top + bottom) / 2);
    context.rotate(-Math.PI / 2);
    context.fillText(up.title, 0, 0);
    context.restore();
  }
  if (note) {
    context.textAlign = "left";
    context.fillText(note, left, 8 * s);
  }
  context.textBaseline = "alphabetic";
  return scales;
}
