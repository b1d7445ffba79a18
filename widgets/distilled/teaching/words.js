// How scores are written: shares in percent, means with the half-width of their interval.

import { el } from "../../parts/dom.js";

/** @param {number | null | undefined} value @param {number} [digits] */
export const percent = (value, digits = 1) =>
  value === null || value === undefined || Number.isNaN(value)
    ? "–"
    : `${value < 0 ? "−" : ""}${Math.abs(100 * value).toFixed(digits)} %`;

/** @param {import("./teaching.js").Estimate | undefined} one @param {number} [digits] */
export function spread(one, digits = 1) {
  if (!one) return "–";
  return one.low === null || one.high === null
    ? percent(one.mean, digits)
    : `${(100 * one.mean).toFixed(digits)} ± ${(50 * (one.high - one.low)).toFixed(digits)} %`;
}

/** A block of the panel: a heading, a word beside it, and what it shows.
 * @param {string} title @param {...import("../../parts/dom.js").Child} children */
export function block(title, ...children) {
  const [name, beside] = [el("span", {}, title), el("span", {})];
  return {
    name,
    beside,
    node: el("section", { class: "dw-why" }, el("div", { class: "dw-heading-small" }, name, beside), ...children),
  };
}
