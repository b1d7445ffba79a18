// What leaving images out changed, class by class, beside how far two trainings differ by their seeds alone.

import { block, percent } from "./words.js";
import { at, tensor } from "../../parts/arrays.js";
import { el, fill, write } from "../../parts/dom.js";
import { createPlot } from "../../parts/plot.js";
import { runColour } from "../../parts/colours.js";

/**
 * @param {import("../../parts/frame.js").Frame} frame
 * @param {import("../inspector/inspector.js").Lens} lens
 */
export function createChange(frame, lens) {
  const { model } = frame;
  const plot = createPlot(frame, "change");
  const words = el("p", { class: "dw-fine", "data-testid": "change-words" });
  const key = el("p", { class: "dw-quiet dw-fine" });
  const table = el("table", { class: "dw-unseen", "data-testid": "change-table" });
  const { node, beside } = block("Change of accuracy without them, by class", plot.node, words, key, table);
  node.classList.add("dw-wide");
  const signed = (/** @type {number} */ value) => `${value > 0 ? "+" : ""}${percent(value).replace(" %", "")}`;

  return {
    node,
    /**
     * @param {import("../../parts/theme.js").Theme} theme
     * @param {import("./teaching.js").Evaluation | null} found
     * @param {import("./teaching.js").Without | null} less
     * @param {number} network
     * @param {number} width
     */
    update(theme, found, less, network, width) {
      node.hidden = !found || !less;
      if (!found || !less) return;
      const { change } = less;
      plot.node.hidden = key.hidden = !change;
      if (!change) return write(words, less.reason);
      const rowOf = (/** @type {string} */ packed) =>
        Array.from(
          at(/** @type {import("../../parts/arrays.js").Tensor} */ (tensor(model, packed, "findings_arrays")), network)
            .data,
        );
      const [mean, low, high, noise] = [change.mean, change.low, change.high, change.noise].map(rowOf);
      const classes = ["all", ...lens.classes()];
      const known = !Number.isNaN(low[0]);
      const reach = Math.min(
        1,
        Math.max(0.02, ...[...mean, ...low, ...high, ...noise].filter(Number.isFinite).map(Math.abs)) * 1.12,
      );
      const x = classes.map((_, k) => k);
      const ink = runColour("other", 0, theme.dark);
      const wide = Math.max(4, Math.min(26, width / classes.length / 3));
      write(
        beside,
        `${found.networks[network]}, ${less.rows.length} left out, paired over ${change.seeds} ${change.seeds === 1 ? "seed" : "seeds"}`,
      );
      plot.update(
        theme,
        {
          label: `Change of accuracy when ${less.rows.length} images are left out: ${classes.map((name, k) => `${name} ${signed(mean[k])}${known ? ` (${signed(low[k])} to ${signed(high[k])})` : ""}`).join("; ")}`,
          x: { low: -0.6, high: classes.length - 0.4, title: "class", names: classes },
          y: { low: -100 * reach, high: 100 * reach, title: "percentage points" },
          layers: [
            {
              kind: "segments",
              x,
              y: noise.map((value) => 100 * value),
              low: noise.map((value) => -100 * value),
              colour: theme.quiet,
              opacity: 0.22,
              width: wide * 1.7,
              name: "seeds alone: ±",
            },
            { kind: "line", x: [-0.6, classes.length - 0.4], y: [0, 0], colour: theme.ink, width: 1 },
            {
              kind: "segments",
              x,
              y: high.map((value) => 100 * value),
              low: low.map((value) => 100 * value),
              colour: ink,
              width: 2.5,
            },
            { kind: "points", x, y: mean.map((value) => 100 * value), colour: ink, width: 9, name: "change" },
          ],
        },
        width,
        200,
      );
      // A change counts as seen where its paired interval leaves zero out; of many classes a few do so by chance.
      const moved = x.filter((k) => k > 0 && known && (low[k] > 0 || high[k] < 0));
      const chance = 0.05 * (classes.length - 1);
      fill(
        words,
        known
          ? `Over all classes ${signed(mean[0])} percentage points (95 % interval ${signed(low[0])} to ${signed(high[0])}). `
          : `Over all classes ${signed(mean[0])} percentage points; one seed: no interval can be told. `,
        known &&
          (moved.length
            ? `Interval beyond zero: ${moved.map((k) => `class ${classes[k]} ${signed(mean[k])}`).join(", ")} (by chance alone about ${chance < 1 ? chance.toFixed(1) : Math.round(chance)} of ${classes.length - 1} classes would).`
            : "No class has an interval beyond zero: the seeds explain it."),
      );
      key.hidden = !known;
      write(
        key,
        "Points and bars: change paired over the seeds with its 95 % interval. Grey: how far two means over as many seeds differ by the seeds alone.",
      );
      fill(
        table,
        el("caption", {}, "Change of accuracy by class, in percentage points"),
        el(
          "tbody",
          {},
          ...classes.map((name, k) =>
            el(
              "tr",
              {},
              el("th", { scope: "row" }, name),
              el("td", {}, signed(mean[k])),
              el("td", {}, known ? `${signed(low[k])} to ${signed(high[k])}` : "no interval"),
              el("td", {}, `seeds alone ±${percent(noise[k]).replace(" %", "")}`),
            ),
          ),
        ),
      );
    },
  };
}
