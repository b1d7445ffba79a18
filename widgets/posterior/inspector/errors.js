// Errors over the steps: of training and test, or bias² and variance over resampled noise, and which step is best.

import { el, fill, write } from "../../parts/dom.js";
import { runColour } from "../../parts/colours.js";
import { short } from "../../parts/numbers.js";
import { createPlot } from "../../parts/plot.js";
import { swatch } from "../../parts/timeline.js";
import { createFold } from "../../parts/fold.js";
import { spread } from "./spread.js";

/**
 * @param {import("../../parts/frame.js").Frame} frame
 * @param {import("../data.js").Data} data
 * @param {(step: number) => void} goTo
 */
export function createErrors(frame, data, goTo) {
  const { model } = frame;
  const toggle = el("input", { type: "checkbox", "data-testid": "setting-resampled" });
  frame.listen(toggle, "change", () => frame.save({ resampled: toggle.checked }));
  const toggleRow = el(
    "label",
    { class: "dw-setting" },
    toggle,
    el("span", {}, "bias² and variance over resampled noise"),
  );
  const errors = createPlot(frame, "errors", { pick: goTo });
  const errorKey = el("div", { class: "dw-key" });
  const errorBlock = createFold(
    frame,
    { name: "errors", title: "Error over the steps" },
    errors.node,
    errorKey,
    toggleRow,
  );

  return {
    node: errorBlock.node,
    /**
     * @param {import("../../parts/theme.js").Theme} theme
     * @param {import("../data.js").Seen[]} all
     * @param {number} index
     * @param {boolean} limit
     * @param {number} width
     * @param {(k: number) => string} ink
     * @param {(k: number) => number[]} dash
     */
    update(theme, all, index, limit, width, ink, dash) {
      const T = data.steps();
      const shown = model.get("resampled");
      toggle.checked = shown;
      toggleRow.hidden = !all[0].filter;
      const count = limit ? T + 1 : T;
      const x = Array.from({ length: count }, (_, t) => t + 1);
      const names = x.map((t) => (t > T ? "∞" : String(t)));
      /** @type {{ name: string, values: number[], colour: string, dash: number[] }[]} */
      const curves = [];
      let plugIn = false;
      all.forEach((seen, k) => {
        const of = all.length > 1 ? `, ${seen.approach}` : "";
        if (shown) {
          const parts = seen.resampled();
          if (!parts) return;
          plugIn = parts.plugIn;
          curves.push({
            name: `bias²${of}`,
            values: parts.bias,
            colour: runColour("other", 0, theme.dark),
            dash: dash(k),
          });
          curves.push({
            name: `variance${of}`,
            values: parts.variance,
            colour: runColour("other", 1, theme.dark),
            dash: dash(k),
          });
          curves.push({
            name: `sum${of}`,
            values: parts.bias.map((value, t) => value + parts.variance[t]),
            colour: theme.ink,
            dash: dash(k),
          });
          return;
        }
        if (seen.trainError)
          curves.push({ name: `training RMSE${of}`, values: seen.trainError, colour: theme.quiet, dash: dash(k) });
        if (seen.testError)
          curves.push({
            name: `${data.content().test?.true ? "RMSE to the truth" : "test RMSE"}${of}`,
            values: seen.testError,
            colour: all.length > 1 ? ink(k) : theme.focus,
            dash: dash(k),
          });
      });
      errorBlock.node.hidden = !curves.length || T < 2;
      if (errorBlock.node.hidden) return;
      const main = curves.filter(({ name }) => (shown ? name.startsWith("sum") : /test|truth/.test(name)));
      const judged = main[0] ?? null;
      const best = judged
        ? judged.values.slice(0, T).reduce((b, value, t) => (value < judged.values[b] ? t : b), 0)
        : 0;
      const range = shown
        ? spread(
            curves.map(({ values }) => values),
            T,
            0,
          )
        : spread(
            curves.map(({ values }) => values),
            T,
          );
      write(
        errorBlock.beside,
        shown
          ? plugIn
            ? "truth unknown: the process as fitted stands in"
            : "mean over the test inputs"
          : judged
            ? `best at step ${best + 1}`
            : "no test set",
      );
      if (!errorBlock.open()) return;
      errors.update(
        theme,
        {
          label: `Errors over the steps. ${curves
            .map(
              ({ name, values }) =>
                `${name}: ${values
                  .slice(0, count)
                  .map((value) => short(value))
                  .join(", ")}`,
            )
            .join("; ")}${judged ? `. Smallest at step ${best + 1}` : ""}`,
          x: { low: 0.7, high: count + 0.3, title: "step τ", whole: true, names: ["", ...names] },
          y: { low: range[0], high: range[1], title: shown ? "squared error" : "RMSE" },
          layers: curves.flatMap(
            ({ name, values, colour, dash: line }) =>
              /** @type {import("../../parts/plot_layers.js").Layer[]} */ ([
                { kind: "line", x, y: values.slice(0, count), colour, dash: line, width: 1.75 },
                { kind: "points", x, y: values.slice(0, count), colour, width: 4.5, name },
              ]),
          ),
          cursor: index + 1,
          ring: judged && {
            x: best + 1,
            y: judged.values[best],
            text: `best: ${short(judged.values[best])}`,
            colour: judged.colour,
          },
        },
        width,
        138,
      );
      fill(
        errorKey,
        ...curves.map(({ name, colour, dash: line }) => el("span", {}, swatch({ colour, dash: line }), name)),
      );
    },
  };
}
