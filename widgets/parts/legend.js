// The colour legend: what a colour is worth, where the cell under the cursor lies, and what hatching means.

import { el, elide, number, sharp } from "./dom.js";
import { table } from "./colours.js";

/**
 * @typedef {{ label: string, note?: string, map: import("./colours.js").MapName, low: number, high: number,
 *   mark: number | null, clipped: boolean, above?: boolean }} Scale note: said after the label where there is room;
 *   clipped: some values lie below it; above: some lie above it
 */

export function createLegend() {
  const canvas = el("canvas", { role: "img" });
  const node = el("div", { class: "dw-scale", "data-testid": "legend" }, canvas);
  return {
    node,
    /**
     * @param {import("./theme.js").Theme} theme
     * @param {Scale} scale
     */
    update(theme, { label, note, map, low, high, mark, clipped, above = false }) {
      const s = theme.scale;
      const width = Math.max(140, Math.min(260 * s, node.clientWidth || 200));
      const context = sharp(canvas, width, 42 * s);
      const rgb = table(map);
      const left = 14 * s;
      const span = width - 28 * s;
      for (let i = 0; i < span; i++) {
        const k = 3 * Math.round((255 * i) / (span - 1));
        context.fillStyle = `rgb(${rgb[k]},${rgb[k + 1]},${rgb[k + 2]})`;
        context.fillRect(left + i, 17 * s, 1.5, 9 * s);
      }
      context.font = theme.type(11);
      context.fillStyle = theme.ink;
      context.textAlign = "left";
      const whole = note ? `${label}, ${note}` : label;
      const fits = context.measureText(whole).width <= width - left;
      context.fillText(fits ? whole : elide(context, label, width - left), left, 11 * s);
      context.textAlign = "center";
      context.font = theme.type(10);
      context.fillStyle = theme.quiet;
      const digits = high - low < 0.1 ? 3 : 2;
      [low, (low + high) / 2, high].forEach((value, k) => {
        const sign = clipped && k === 0 ? "≤ " : above && k === 2 ? "≥ " : "";
        const text = sign + number(value, k === 1 && high - low >= 0.1 ? 2 : digits);
        const half = context.measureText(text).width / 2 + 1;
        context.fillText(text, Math.max(half, Math.min(width - half, left + (k / 2) * span)), 39 * s);
      });
      if (mark !== null && !Number.isNaN(mark)) {
        const x = left + Math.max(0, Math.min(1, (mark - low) / (high - low || 1))) * span;
        context.fillStyle = theme.ink;
        context.beginPath();
        context.moveTo(x, 17 * s);
        context.lineTo(x - 4, 17 * s - 5);
        context.lineTo(x + 4, 17 * s - 5);
        context.fill();
        context.fillRect(x - 0.75, 17 * s, 1.5, 9 * s);
      }
      canvas.setAttribute("aria-label", `Colour scale of ${whole}, from ${number(low, 2)} to ${number(high, 2)}`);
    },
  };
}
