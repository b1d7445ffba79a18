// A classification over one feature: a line per step. Over loose places, a record's own inputs: a cloud.

import { extent } from "../../parts/arrays.js";
import { classColour, isHollow } from "../../parts/colours.js";
import { SHOWN } from "../controls/class_settings.js";
import { stepColour } from "./stage.js";

/**
 * @param {import("../../parts/dom.js").Model} model
 * @param {ReturnType<typeof import("../class_data.js").createClassData>} data
 * @param {ReturnType<typeof import("../../parts/plot.js").createPlot>[]} plots
 */
export function createLines(model, { content, numbers, chosen, values }, plots) {
  /**
   * @param {import("../../parts/theme.js").Theme} theme
   * @param {number} v
   * @param {number} t
   * @param {string} note
   * @param {number} width
   * @param {number} height
   */
  return function drawLine(theme, v, t, note, width, height) {
    const { variants, features, axes, spans, classes, shape } = content();
    const show = /** @type {"probability" | "mean" | "std"} */ (model.get("show"));
    const variant = variants[v];
    const wide = axes.length;
    const places = numbers(variant.places).data;
    const x = Float64Array.from({ length: places.length / wide }, (_, i) => places[wide * i]);
    const of = (/** @type {number} */ k) => {
      const found = values(v, k, show);
      return show === "probability"
        ? Float64Array.from({ length: x.length }, (_, i) => found[i * classes.length + chosen()])
        : found;
    };
    const kind = /** @type {"line" | "points"} */ (shape ? "line" : "points");
    const steps = (model.get("fan") && shape ? Array.from({ length: variant.steps }, (_, k) => k) : []).filter(
      (k) => k !== t,
    );
    const now = of(t);
    /** @type {import("../../parts/plot_layers.js").Layer[]} */
    const layers = [];
    if (show === "mean" && shape) {
      const std = values(v, t, "std");
      for (const k of [2, 1])
        layers.push({
          kind: "band",
          x,
          y: now.map((value, i) => value + k * std[i]),
          low: now.map((value, i) => value - k * std[i]),
          colour: stepColour(t, Math.max(1, variant.steps - 1), theme.dark),
          opacity: theme.dark ? 0.24 : 0.16,
        });
    }
    for (const k of steps)
      layers.push({ kind, x, y: of(k), colour: stepColour(k, Math.max(1, variant.steps - 1), theme.dark), width: 1.4 });
    layers.push({
      kind,
      x,
      y: now,
      colour: stepColour(t, Math.max(1, variant.steps - 1), theme.dark),
      width: shape ? 3.25 : 5,
      name: `${SHOWN[show]}, step ${t + 1}`,
    });
    const labels = numbers(content().train.labels).data;
    const at_ = numbers(content().train.places).data;
    if (show === "probability") {
      layers.unshift({ kind: "line", x: spans[0], y: [0.5, 0.5], colour: theme.quiet, dash: [4, 4], width: 1 });
      classes.forEach((_, c) => {
        const rows = [...labels.keys()].filter((i) => labels[i] === c);
        layers.push({
          kind: "points",
          x: rows.map((i) => at_[wide * i]),
          y: rows.map(() => (c === chosen() ? 1 : 0)),
          colour: classColour(c, theme.dark),
          width: 7,
          hollow: isHollow(c),
        });
      });
    }
    const [low, high] =
      show === "probability"
        ? [-0.06, 1.06]
        : extent(layers.flatMap((layer) => [...extent(layer.y), ...(layer.low ? extent(layer.low) : [])]));
    plots[v].update(
      theme,
      {
        label: `${SHOWN[show]} of ${model.get("class_name")} over ${features[axes[0]].name} at step ${t + 1}`,
        note,
        x: { low: spans[0][0], high: spans[0][1], title: features[axes[0]].name },
        y: { low, high: high === low ? low + 1 : high, title: `${SHOWN[show]} of ${model.get("class_name")}` },
        layers,
      },
      width,
      height,
    );
  };
}
