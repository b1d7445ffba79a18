// What was measured for every way of sharing the steps: one small plot each, with its interval and the way that is
// shown.

import { runColour } from "../../parts/colours.js";
import { el, fill, write } from "../../parts/dom.js";
import { createPlot } from "../../parts/plot.js";
import { short } from "../../parts/numbers.js";

/** What is known of a measure by its name; others are called what they are called in Python. */
const KNOWN = /** @type {Record<string, { title: string, help: string, share?: boolean }>} */ ({
  entropy: {
    title: "Mode entropy",
    help: "Entropy of the modes' shares over log of their number: 1 when all are equally full",
    share: true,
  },
  modes: { title: "Modes found", help: "How many modes hold more than a quarter of their share" },
  quality: { title: "Quality", help: "Share of samples within three standard deviations of a mode", share: true },
  diversity: { title: "Diversity", help: "Mean distance between two samples (of one class, where there are classes)" },
  precision: { title: "Precision", help: "Share of samples that lie among those they are compared with", share: true },
  recall: { title: "Recall", help: "Share of those they are compared with that samples lie among", share: true },
});

/**
 * @param {import("../../parts/frame.js").Frame} frame
 * @param {(at: number) => void} choose
 */
export function createHandOverMeasures(frame, choose) {
  const grid = el("div", { class: "dw-measures" });
  const beside = el("p", { class: "dw-quiet dw-fine", "data-testid": "reference" });
  const node = el("div", { class: "dw-measured", "data-testid": "measures" }, grid, beside);
  /** @type {{ name: string, plot: ReturnType<typeof createPlot>, beside: HTMLElement, figure: HTMLElement }[]} */
  let blocks = [];
  let last = 0;
  let drawn = false;

  /** @param {string} name */
  function block(name) {
    const plot = createPlot(frame, `measure-${name}`, {
      pick: (x) => choose(Math.max(0, Math.min(last, Math.round(x)))),
    });
    const beside = el("span", { "data-testid": `measured-${name}` });
    const title = KNOWN[name]?.title ?? name;
    const figure = el(
      "section",
      { class: "dw-why", title: KNOWN[name]?.help ?? name },
      el("div", { class: "dw-heading-small" }, el("span", {}, title), beside),
      plot.node,
    );
    return { name, plot, beside, figure };
  }

  return {
    node,
    /**
     * @param {import("../../parts/theme.js").Theme} theme
     * @param {import("./hand_over.js").HandOver} found
     * @param {import("./hand_over.js").Way} way
     * @param {number} at
     * @param {number} width
     */
    update(theme, found, way, at, width) {
      const names = found.order;
      last = found.steps;
      if (!drawn || names.join() !== blocks.map(({ name }) => name).join()) {
        blocks = names.map(block);
        fill(
          grid,
          ...(names.length
            ? blocks.map(({ figure }) => figure)
            : [
                el(
                  "p",
                  { class: "dw-quiet" },
                  "Nothing was measured: diversity needs two seeds, with classes two of each.",
                ),
              ]),
        );
        drawn = true;
      }
      write(beside, found.reference ? `Precision and recall: beside ${found.reference}.` : "");
      if (!names.length) return;
      const ink = runColour("other", 0, theme.dark); // neither the base nor the student: what both make together
      const columns = Math.max(1, Math.min(2, names.length, Math.floor(width / 160)));
      grid.style.gridTemplateColumns = `repeat(${columns}, minmax(0, 1fr))`;
      const each = Math.floor((width - 14 * (columns - 1)) / columns);
      const x = Array.from({ length: found.steps + 1 }, (_, k) => k);
      for (const { name, plot, beside: said } of blocks) {
        const [sweep, other] = [
          found.measures[name][way],
          found.measures[name][way === "switches" ? "positions" : "switches"],
        ];
        const line = (/** @type {(number | null)[]} */ values) => values.map((value) => value ?? NaN);
        const all = [sweep, other]
          .flatMap(({ values, low, high }) => [...values, ...low, ...high])
          .filter((value) => value !== null);
        const top = KNOWN[name]?.share ? Math.max(1, ...all) : Math.max(...all, 0);
        // a share is not blown up to fill the plot
        const bottom = Math.min(...all, KNOWN[name]?.share ? top - 0.25 : Infinity);
        const room = Math.max(0.08 * (top - bottom), 0.01 * Math.abs(top), 1e-6);
        const [value, low, high] = [sweep.values[at], sweep.low[at], sweep.high[at]];
        const between = low === null || high === null || low === high ? "" : ` (${short(low)} to ${short(high)})`;
        write(said, `${short(value)}${between}`);
        const of = way === "switches" ? "first steps made by the base" : "the step made by the base";
        plot.update(
          theme,
          {
            label: `${KNOWN[name]?.title ?? name} by ${of}: ${sweep.values.map((one, k) => `${k}: ${short(one)}`).join(", ")}`,
            x: {
              low: -0.25,
              high: found.steps + 0.25,
              title: each < 230 ? (way === "switches" ? "base steps" : "base step") : of,
              whole: true,
              names: x.map((k) => (way === "positions" && k === 0 ? "none" : String(k))),
            },
            y: {
              low: Math.max(bottom - room, all.every((one) => one >= 0) ? 0 : -Infinity),
              high: top + room,
              title: "",
            },
            layers: [
              // What all other ways come to: the student alone.
              {
                kind: "line",
                x: [-0.25, found.steps + 0.25],
                y: [sweep.values[0] ?? NaN, sweep.values[0] ?? NaN],
                colour: theme.quiet,
                dash: [4, 4],
                width: 1.25,
              },
              { kind: "segments", x, y: line(sweep.high), low: line(sweep.low), colour: ink, opacity: 0.35, width: 5 },
              ...(way === "switches"
                ? [
                    /** @type {import("../../parts/plot_layers.js").Layer} */ ({
                      kind: "line",
                      x,
                      y: line(sweep.values),
                      colour: ink,
                      width: 1.75,
                    }),
                  ]
                : []),
              { kind: "points", x, y: line(sweep.values), colour: ink, width: 8, name: KNOWN[name]?.title ?? name },
              { kind: "points", x: [at], y: [value ?? NaN], colour: theme.ink, width: 13, hollow: true },
            ],
          },
          each,
          148,
        );
      }
    },
  };
}
