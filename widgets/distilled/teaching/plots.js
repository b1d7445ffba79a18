// Accuracy and confidence along training, and how far the confidence can be believed.

import { block, percent, spread } from "./words.js";
import { at, tensor } from "../../parts/arrays.js";
import { runColour } from "../../parts/colours.js";
import { el, write } from "../../parts/dom.js";
import { createPlot } from "../../parts/plot.js";

/** @typedef {"distilled" | "without" | "random" | "full"} Source */

/**
 * One curve.
 * @typedef {{ name: Source, label: string, x: number[], mean: ArrayLike<number>, low: ArrayLike<number>, high:
 *   ArrayLike<number> }} Line
 */

/**
 * The real data is the source (blue) and the distilled images are what it became (orange); random images are reference.
 * @param {Source} name
 * @param {boolean} dark
 * @param {import("../../parts/theme.js").Theme} theme
 */
export function inkOf(name, dark, theme) {
  if (name === "full") return { colour: runColour("teacher", 0, dark), dash: [] };
  if (name === "random") return { colour: theme.quiet, dash: [5, 3] };
  return name === "distilled"
    ? { colour: runColour("student", 0, dark), dash: [] }
    : { colour: runColour("other", 0, dark), dash: [2, 3] };
}

const LABELS = /** @type {Record<Source, string>} */ ({
  distilled: "distilled images",
  without: "without the images left out",
  random: "as many random real images",
  full: "all real data",
});

/**
 * @param {import("../../parts/frame.js").Frame} frame
 */
export function createCurves(frame) {
  const { model } = frame;
  const plots = { accuracy: createPlot(frame, "course-accuracy"), confidence: createPlot(frame, "course-confidence") };
  const blocks = {
    accuracy: block("Test accuracy along training", plots.accuracy.node),
    confidence: block("Mean confidence along training", plots.confidence.node),
  };

  /**
   * @param {"accuracy" | "confidence"} what
   * @param {import("./teaching.js").Evaluation | null} found
   * @param {import("./teaching.js").Without | null} less
   * @param {import("./teaching.js").Live | null} live
   * @param {number} network
   * @returns {Line[]}
   */
  function lines(what, found, less, live, network) {
    if (live) {
      return Object.entries(live[what]).map(([name, values]) => {
        const mean = values.map((value) => value ?? NaN);
        return {
          name: /** @type {Source} */ (name),
          label: LABELS[/** @type {Source} */ (name)],
          x: live.steps[name],
          mean,
          low: [],
          high: [],
        };
      });
    }
    const all = found
      ? found.curves.map((course) => ({ course, name: /** @type {Source} */ (course.name), k: network }))
      : [];
    const own = less?.evaluation.curves.find(({ name }) => name === "distilled");
    const k = less && found ? less.evaluation.networks.indexOf(found.networks[network]) : -1;
    if (own && k >= 0) all.push({ course: own, name: "without", k });
    return all.flatMap(({ course, name, k: at_ }) => {
      const packed = course[what]?.[at_];
      if (!packed) return [];
      const stack = /** @type {import("../../parts/arrays.js").Tensor} */ (tensor(model, packed, "findings_arrays"));
      const [mean, low, high] = [0, 1, 2].map((i) => at(stack, i).data);
      return [{ name, label: LABELS[name], x: course.steps, mean, low, high }];
    });
  }

  return {
    accuracy: blocks.accuracy.node,
    confidence: blocks.confidence.node,
    /**
     * @param {import("./teaching.js").Evaluation | null} found
     * @param {import("./teaching.js").Without | null} less
     * @param {import("./teaching.js").Live | null} live
     */
    names: (found, less, live) => lines("accuracy", found, less, live, 0).map(({ name, label }) => ({ name, label })),
    /**
     * @param {import("../../parts/theme.js").Theme} theme
     * @param {import("./teaching.js").Evaluation | null} found
     * @param {import("./teaching.js").Without | null} less
     * @param {import("./teaching.js").Live | null} live
     * @param {number} network
     * @param {number} width
     */
    update(theme, found, less, live, network, width) {
      for (const what of /** @type {const} */ (["accuracy", "confidence"])) {
        const drawn = lines(what, found, less, live, network);
        blocks[what].node.hidden = !drawn.length;
        if (!drawn.length) continue;
        const steps = drawn.flatMap(({ x }) => x);
        const first = Math.max(1, Math.min(...drawn.map(({ x }) => Math.max(1, x[0]))));
        const last = live ? 1 : Math.max(...steps, first + 1);
        // All real data takes many more steps than a few images: on a straight axis one of the two would be a wall.
        const log = !live && last > 6 * Math.min(...drawn.map(({ x }) => x[x.length - 1]));
        const name = live ? live.network : (found?.networks[network] ?? "");
        write(blocks[what].beside, live ? `${name}, training …` : name);
        const mean = (/** @type {Line} */ line) => percent(line.mean[line.mean.length - 1]);
        plots[what].update(
          theme,
          {
            label: `${what === "accuracy" ? "Test accuracy" : "Mean confidence"} of ${name} along training; at the end ${drawn.map((line) => `${line.label} ${mean(line)}`).join(", ")}`,
            x: live
              ? { low: 0, high: 1, title: "share of the training" }
              : {
                  low: log ? first : Math.min(first, ...steps),
                  high: last,
                  title: log ? "optimizer step (log scale)" : "optimizer step",
                  whole: !log,
                  log,
                },
            y: { low: 0, high: 1.02, title: what },
            layers: drawn.flatMap((line) => {
              const ink = inkOf(line.name, theme.dark, theme);
              const x = log ? line.x.map((step) => Math.max(1, step)) : line.x;
              return /** @type {import("../../parts/plot_layers.js").Layer[]} */ ([
                ...(line.low.length && !Number.isNaN(line.low[0])
                  ? [{ kind: "band", x, y: line.high, low: line.low, colour: ink.colour, opacity: 0.16 }]
                  : []),
                { kind: "line", x, y: line.mean, ...ink, width: 2 },
                { kind: "points", x, y: line.mean, colour: ink.colour, width: 5, name: line.label },
              ]);
            }),
          },
          width,
          190,
        );
      }
    },
  };
}

/** @param {import("../../parts/frame.js").Frame} frame */
export function createReliability(frame) {
  const { model } = frame;
  const plot = createPlot(frame, "reliability");
  const key = el(
    "p",
    { class: "dw-quiet dw-fine" },
    "Below the dashed line: more confident than right. Bars: 95 % Wilson interval; all seeds together.",
  );
  const { node, beside } = block("Reliability on the test split", plot.node, key);
  return {
    node,
    /**
     * @param {import("../../parts/theme.js").Theme} theme
     * @param {import("./teaching.js").Evaluation | null} found
     * @param {number} network
     * @param {number} width
     */
    update(theme, found, network, width) {
      const bins = found?.calibration[network];
      node.hidden = !bins;
      if (!found || !bins) return;
      const seeds = found.seeds.length;
      write(beside, `ECE ${spread(found.ece[network])}, ${seeds} ${seeds === 1 ? "seed" : "seeds"}`);
      plot.update(
        theme,
        reliability(
          model,
          theme,
          bins,
          `Reliability diagram of ${found.networks[network]}, all seeds together. ECE ${spread(found.ece[network])}.`,
        ),
        width,
        250,
      );
    },
  };
}

/**
 * A reliability diagram.
 * @param {import("../../parts/dom.js").Model} model
 * @param {import("../../parts/theme.js").Theme} theme
 * @param {import("./teaching.js").Bins} bins
 * @param {string} label what it is of, for those who hear it
 * @returns {import("../../parts/plot.js").Chart}
 */
export function reliability(model, theme, bins, label) {
  const [confidence, accuracy, interval, count] = [bins.confidence, bins.accuracy, bins.interval, bins.count].map(
    (key) => /** @type {import("../../parts/arrays.js").Tensor} */ (tensor(model, key, "findings_arrays")).data,
  );
  const kept = [...count.keys()].filter((i) => count[i] > 0);
  const ink = inkOf("distilled", theme.dark, theme).colour;
  const x = kept.map((i) => confidence[i]);
  const y = kept.map((i) => accuracy[i]);
  return {
    label: `${label} ${kept.map((i) => `confidence ${percent(confidence[i])}: right ${percent(accuracy[i])} of ${count[i]}`).join("; ")}`,
    x: { low: 0, high: 1.01, title: "confidence" },
    y: { low: 0, high: 1.04, title: "share right" },
    layers: [
      { kind: "line", x: [0, 1], y: [0, 1], colour: theme.quiet, dash: [4, 4], width: 1.25 },
      {
        kind: "segments",
        x,
        y: kept.map((i) => interval[2 * i + 1]),
        low: kept.map((i) => interval[2 * i]),
        colour: ink,
        opacity: 0.4,
        width: 3,
      },
      { kind: "line", x, y, colour: ink, width: 1.25 },
      { kind: "points", x, y, colour: ink, width: 7, name: "share right" },
    ],
  };
}
