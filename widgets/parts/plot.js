// A small chart on a canvas: lines, bands, points, bars and segments over numbered axes, redrawn whole within a frame.

import { el, sharp } from "./dom.js";
import { short } from "./numbers.js";
import { axes } from "./plot_axes.js";
import { paint } from "./plot_layers.js";

/**
 * @typedef {{ label: string, x: import("./plot_axes.js").Axis, y: import("./plot_axes.js").Axis, layers: import("./plot_layers.js").Layer[], cursor?: number | null, ring?: { x: number, y:
 *   number, text: string, colour: string } | null, note?: string }} Chart
 */

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
  /** @type {import("./plot_axes.js").Scales | null} */
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
