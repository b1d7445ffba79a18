// The filter on eigenvalues that a step is: what each direction keeps, and the noise that does the same in one go.

import { write } from "../../parts/dom.js";
import { short } from "../../parts/numbers.js";
import { createPlot } from "../../parts/plot.js";
import { createFold } from "../../parts/fold.js";

const BARS = 40; // eigen-directions that fit side by side

/**
 * @param {import("../../parts/frame.js").Frame} frame
 * @param {import("../data.js").Data} data
 */
export function createSpectrum(frame, data) {
  const bars = createPlot(frame, "filter");
  const filterBlock = createFold(
    frame,
    { name: "filter", title: "What each eigen-direction keeps", open: true },
    bars.node,
  );
  const lambda = createPlot(frame, "effective-noise");
  const noiseBlock = createFold(
    frame,
    { name: "noise", title: "Noise of the ordinary process with this mean" },
    lambda.node,
  );
  return {
    nodes: [filterBlock.node, noiseBlock.node],
    /**
     * @param {import("../../parts/theme.js").Theme} theme
     * @param {import("../data.js").Seen[]} all
     * @param {number} index
     * @param {number} width
     * @param {(k: number) => string} ink
     */
    update(theme, all, index, width, ink) {
      const T = data.steps();
      const when = index === T ? "the limit" : `step ${index + 1}`;
      for (const { node } of [filterBlock, noiseBlock]) node.hidden = !all[0].filter;
      if (!all[0].filter) return;
      const r = Math.min(BARS, all[0].filter.kept[0].length);
      const x = Float64Array.from({ length: r }, (_, i) => i + 1);
      const axis = { low: 0.4, high: r + 0.6, title: "eigen-direction, largest eigenvalue first", whole: true };
      const floor = 1e-6;
      write(filterBlock.beside, `share b of the targets, ${when}`);
      if (filterBlock.open())
        bars.update(
          theme,
          {
            label: `Filter: share of the targets that each of the first ${r} eigen-directions keeps at ${when}. ${all.map((seen) => `${seen.approach}-centric: ${Array.from(seen.filter?.kept[index].subarray(0, 6) ?? [], (value) => short(value)).join(", ")} …`).join(" ")}`,
            x: axis,
            y: { low: floor, high: 1.6, title: "b (log scale)", log: true },
            layers: [
              {
                kind: "bars",
                x,
                y: all[0].filter.kept[0].subarray(0, r),
                colour: theme.quiet,
                hollow: true,
                name: "step 1",
              },
              ...all.map(
                (seen, k) =>
                  /** @type {import("../../parts/plot_layers.js").Layer} */ ({
                    kind: "bars",
                    x: all.length > 1 ? x.map((value) => value + (k ? 0.2 : -0.2)) : x,
                    y: seen.filter?.kept[index].subarray(0, r) ?? [],
                    colour: ink(k),
                    width: all.length > 1 ? 0.38 : 0.62,
                    name: all.length > 1 ? `${seen.approach}-centric` : when,
                  }),
              ),
            ],
          },
          width,
          132,
        );
      const values = all.map((seen) =>
        /** @type {NonNullable<typeof seen.filter>} */ (seen.filter).effective[index].subarray(0, r),
      );
      const finite = values.flatMap((list) => [...list]).filter((value) => Number.isFinite(value) && value > 0);
      noiseBlock.node.hidden = !finite.length;
      const gamma = data.schedule("noise")[Math.min(index, T - 1)];
      const [low, high] = [Math.min(gamma, ...finite) / 2, Math.min(1e9, Math.max(gamma, ...finite)) * 2];
      write(
        noiseBlock.beside,
        all.length === 1 && all[0].approach === "distribution"
          ? `γ/τ in all directions: ${short(values[0][0])}`
          : `λ per direction, ${when}`,
      );
      if (finite.length && noiseBlock.open())
        lambda.update(
          theme,
          {
            label: `Effective noise per eigen-direction at ${when}, beside the noise γ = ${short(gamma)}`,
            x: axis,
            y: { low, high, title: "λ (log scale)", log: true },
            layers: [
              { kind: "line", x: [0.4, r + 0.6], y: [gamma, gamma], colour: theme.quiet, dash: [4, 4], width: 1.25 },
              ...values.map(
                (list, k) =>
                  /** @type {import("../../parts/plot_layers.js").Layer} */ ({
                    kind: "points",
                    x,
                    y: list,
                    colour: ink(k),
                    width: 6,
                    name: all.length > 1 ? `${all[k].approach}-centric` : "λ",
                  }),
              ),
            ],
          },
          width,
          112,
        );
    },
  };
}
