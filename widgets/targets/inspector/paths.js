// The path of one seed through the plane: of its state, and of what each model believed it to become.

import { drawDensity } from "../stage/ground.js";
import { extent } from "../../parts/arrays.js";
import { el } from "../../parts/dom.js";
import { createPlot } from "../../parts/plot.js";

/**
 * @param {import("../../parts/frame.js").Frame} frame
 * @param {import("../scene.js").Scene} scene
 */
export function createPaths(frame, scene) {
  const ground = el("canvas", { "aria-hidden": "true" });
  const plot = createPlot(frame, "seed-path", { readout: false });
  const key = el(
    "p",
    { class: "dw-key" },
    el("span", {}, el("i", { class: "dw-swatch" }), "x_t"),
    el("span", {}, el("i", { class: "dw-swatch dw-dotted" }), "x̂₀"),
    el("span", {}, el("i", { class: "dw-mark dw-square" }), "sample"),
  );
  const node = el("div", { "data-testid": "seed-paths" }, el("div", { class: "dw-plane" }, ground, plot.node), key);
  let left = 46;

  return {
    node,
    /**
     * @param {import("../../parts/theme.js").Theme} theme
     * @param {number} seed
     * @param {number} side
     */
    update(theme, seed, side) {
      const { plane } = scene.content();
      const runs = scene.runs();
      const paths = runs.map((one) => {
        const of = (/** @type {import("../scene.js").Kind} */ kind) => {
          const places = Array.from({ length: one.steps + 1 }, (_, k) => scene.place(one, kind, k, seed));
          return { x: places.map(([x]) => x), y: places.map(([, y]) => y) };
        };
        return { one, states: of("states"), targets: of("targets"), index: scene.indexOf(one) };
      });
      // Zoomed to the seed: a square around all that is drawn, with the same unit on both axes.
      const [x0, x1] = extent(paths.flatMap(({ states, targets }) => [...states.x, ...targets.x]));
      const [y0, y1] = extent(paths.flatMap(({ states, targets }) => [...states.y, ...targets.y]));
      const half = 0.56 * Math.max(x1 - x0, y1 - y0, 1e-3);
      const [x, y] = [(x0 + x1) / 2, (y0 + y1) / 2];
      /** @type {import("../../parts/plot_layers.js").Layer[]} */
      const layers = [];
      for (const { one, states, targets, index } of paths) {
        const colour = scene.colour(one, theme.dark);
        layers.push({ kind: "line", ...states, colour, width: 1.5, opacity: 0.75 });
        layers.push({ kind: "line", ...targets, colour, width: 1.9, dash: [2, 3] });
        layers.push({
          kind: "line",
          x: [states.x[index], targets.x[index]],
          y: [states.y[index], targets.y[index]],
          colour,
          width: 1,
          opacity: 0.6,
        });
      }
      for (const { one, states, targets, index } of paths) {
        const colour = scene.colour(one, theme.dark);
        layers.push({
          kind: "points",
          x: targets.x.slice(0, -1),
          y: targets.y.slice(0, -1),
          colour,
          width: 3,
          opacity: 0.8,
        });
        layers.push({ kind: "points", x: [states.x[index]], y: [states.y[index]], colour, width: 9, hollow: true });
        layers.push({ kind: "points", x: [targets.x[index]], y: [targets.y[index]], colour, width: 10 });
      }
      const words = paths
        .map(
          ({ one, states, targets, index }) =>
            `${one.name} at ${scene.when(one)}: state ${fixed(states, index)}, believes ${fixed(targets, index)}, sample ${fixed(states, one.steps)}`,
        )
        .join("; ");
      const chart = {
        label: `Path of seed ${seed}. ${words}`,
        x: { low: x - half, high: x + half, title: plane.axes[0] },
        y: { low: y - half, high: y + half, title: plane.axes[1] },
        layers,
      };
      const tall = () => side - left - 10 + 9 + 36;
      let scales = plot.update(theme, chart, side, tall());
      if (Math.abs(scales.box.left - left) > 0.5) {
        left = scales.box.left;
        scales = plot.update(theme, chart, side, tall());
      }
      drawDensity(ground, scene, theme, scales, side, tall());
      ends(theme, paths, scales);
    },
  };

  /**
   * Squares where the runs ended.
   * @param {import("../../parts/theme.js").Theme} theme
   * @param {{ one: import("../content.js").Run, states: { x: number[], y: number[] } }[]} paths
   * @param {import("../../parts/plot_axes.js").Scales} scales
   */
  function ends(theme, paths, scales) {
    const context = /** @type {CanvasRenderingContext2D} */ (plot.node.getContext("2d"));
    context.lineWidth = 1.5;
    for (const { one, states } of paths) {
      const [x, y] = [scales.x(states.x[one.steps]), scales.y(states.y[one.steps])];
      context.fillStyle = scene.colour(one, theme.dark);
      context.strokeStyle = theme.paper;
      context.fillRect(x - 4, y - 4, 8, 8);
      context.strokeRect(x - 4.75, y - 4.75, 9.5, 9.5);
    }
  }
}

/** @param {{ x: number[], y: number[] }} path @param {number} index */
function fixed({ x, y }, index) {
  return `(${x[index].toFixed(2)}, ${y[index].toFixed(2)})`.replaceAll("-", "−");
}
