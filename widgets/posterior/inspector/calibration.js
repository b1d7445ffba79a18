// The inspector of a classification: calibration and evidence over the steps, reliability of this one.

import { el, fill, write } from "../../parts/dom.js";
import { at } from "../../parts/arrays.js";
import { createPlot } from "../../parts/plot.js";
import { short } from "../../parts/numbers.js";
import { runColour } from "../../parts/colours.js";
import { approachColour } from "../stage/stage.js";
import { swatch } from "../../parts/timeline.js";
import { createFold } from "../../parts/fold.js";

/**
 * @param {import("../../parts/frame.js").Frame} frame
 * @param {() => import("../class_data.js").Content} content
 * @param {(name: string) => import("../../parts/arrays.js").Tensor} numbers
 */
export function createStepInspector(frame, content, numbers) {
  const { model } = frame;
  const goTo = (/** @type {number} */ x) =>
    frame.select({ step: Math.max(1, Math.min(model.get("steps"), Math.round(x))) });
  const quality = createPlot(frame, "calibration", { pick: goTo });
  const key = el("div", { class: "dw-key" });
  const shares = createPlot(frame, "shares", { pick: goTo });
  const qualityBlock = createFold(
    frame,
    { name: "calibration", title: "Calibration over the steps", open: true },
    quality.node,
    shares.node,
    key,
  );
  const reliability = createPlot(frame, "reliability");
  const reliabilityBlock = createFold(frame, { name: "reliability", title: "Reliability" }, reliability.node);
  const rowPlot = createPlot(frame, "row-targets", { pick: goTo });
  const rowBlock = createFold(
    frame,
    { name: "row", title: "What each step gave this row to learn", open: true },
    rowPlot.node,
  );
  const lml = createPlot(frame, "evidence", { pick: goTo });
  const evidenceBlock = createFold(
    frame,
    { name: "evidence", title: "Log marginal likelihood of each step's targets" },
    lml.node,
  );
  const empty = el(
    "p",
    { class: "dw-empty", "data-testid": "empty" },
    "Hover the map to read it; click a training row to see what each step gave it to learn.",
  );
  frame.inspector.append(qualityBlock.node, reliabilityBlock.node, evidenceBlock.node, rowBlock.node, empty);

  return {
    /**
     * @param {import("../../parts/theme.js").Theme} theme
     * @param {number} index
     */
    update(theme, index) {
      const width = frame.inspector.clientWidth - (frame.root.hasAttribute("data-narrow") ? 0 : 18);
      const { variants, tested, classes } = content();
      const both = variants.length > 1;
      const ink = (/** @type {number} */ k) => (both ? approachColour(variants[k].approach, theme.dark) : theme.focus);
      const dash = (/** @type {number} */ k) => (k ? [5, 3] : []);
      const T = model.get("steps");
      const x = Array.from({ length: T }, (_, t) => t + 1);
      const along = { low: 0.7, high: T + 0.3, title: "step τ", whole: true };
      const judged = variants.filter(({ judged: found }) => found !== null);
      qualityBlock.node.hidden = !judged.length || T < 2;
      reliabilityBlock.node.hidden = !judged.length;
      const where = tested ? "test rows" : "training rows";
      if (judged.length && T > 1) {
        const curves = judged.flatMap((variant, k) => {
          const of = both ? `, ${variant.approach}` : "";
          const found = /** @type {NonNullable<typeof variant.judged>} */ (variant.judged);
          return [
            { name: `NLL${of}`, values: found.nll, colour: theme.focus, dash: dash(k), share: false },
            {
              name: `ECE${of}`,
              values: found.ece,
              colour: runColour("other", 1, theme.dark),
              dash: dash(k),
              share: true,
            },
            { name: `share wrong${of}`, values: found.error, colour: theme.quiet, dash: dash(k), share: true },
          ];
        });
        write(qualityBlock.beside, where);
        for (const [plot, share, title] of /** @type {const} */ ([
          [quality, false, "NLL (nats)"],
          [shares, true, "ECE, share wrong"],
        ])) {
          const some = curves.filter((curve) => curve.share === share);
          const best = some[0].values.indexOf(Math.min(...some[0].values));
          plot.update(
            theme,
            {
              label: `Over the steps, on ${where}. ${some.map(({ name, values }) => `${name}: ${values.map((value) => short(value)).join(", ")}`).join("; ")}`,
              x: { ...along, title: share ? along.title : "" },
              y: { low: 0, high: 1.15 * Math.max(...some.flatMap(({ values }) => values)) || 1, title },
              layers: some.flatMap(
                ({ name, values, colour, dash: line }) =>
                  /** @type {import("../../parts/plot_layers.js").Layer[]} */ ([
                    { kind: "line", x, y: values, colour, dash: line, width: 1.75 },
                    { kind: "points", x, y: values, colour, width: 4.5, name },
                  ]),
              ),
              cursor: index + 1,
              ring: {
                x: best + 1,
                y: some[0].values[best],
                text: `best ${share ? "ECE" : "NLL"}: step ${best + 1}`,
                colour: some[0].colour,
              },
            },
            width,
            share ? 124 : 106,
          );
        }
        fill(
          key,
          ...curves.map(({ name, colour, dash: line }) => el("span", {}, swatch({ colour, dash: line }), name)),
        );
      }
      if (judged.length) {
        const layers = judged.flatMap((variant, k) => {
          const found = /** @type {NonNullable<typeof variant.judged>} */ (variant.judged);
          const t = Math.min(variant.steps - 1, index);
          const [confidence, accuracy, count] = [found.confidence, found.accuracy, found.count].map(
            (name) => at(numbers(name), t).data,
          );
          const kept = [...count.keys()].filter((i) => count[i] > 0);
          const line = { x: kept.map((i) => confidence[i]), y: kept.map((i) => accuracy[i]), colour: ink(k) };
          return /** @type {import("../../parts/plot_layers.js").Layer[]} */ ([
            { ...line, kind: "line", width: 1.25, dash: dash(k) },
            { ...line, kind: "points", width: 7, name: both ? variant.approach : "share right" },
          ]);
        });
        write(reliabilityBlock.beside, `${where}, step ${index + 1}`);
        const low = 1 / classes.length;
        reliability.update(
          theme,
          {
            label: `Reliability diagram at step ${index + 1}: ${judged.map((variant) => `${variant.approach}-centric ECE ${short(variant.judged?.ece[Math.min(variant.steps - 1, index)])}`).join("; ")}`,
            x: { low: low - 0.02, high: 1.01, title: "confidence" },
            y: { low: 0, high: 1.04, title: "share right" },
            layers: [{ kind: "line", x: [0, 1], y: [0, 1], colour: theme.quiet, dash: [4, 4], width: 1.25 }, ...layers],
          },
          width,
          160,
        );
      }
      const known = variants.flatMap(({ evidence }) => evidence).filter(Number.isFinite);
      evidenceBlock.node.hidden = !known.length || T < 2;
      if (known.length && T > 1) {
        const [low, high] = [Math.min(...known), Math.max(...known)];
        const pad = 0.12 * (high - low || 1);
        write(
          evidenceBlock.beside,
          `${variants.map(({ evidence }) => short(evidence[Math.min(evidence.length - 1, index)], 4)).join(" and ")} nats`,
        );
        lml.update(
          theme,
          {
            label: `Log marginal likelihood over the steps: ${variants.map(({ approach, evidence }) => `${approach}-centric ${evidence.map((value) => short(value, 4)).join(", ")}`).join("; ")} nats`,
            x: along,
            y: { low: low - pad, high: high + pad, title: "nats" },
            layers: variants.flatMap(
              ({ evidence, approach }, k) =>
                /** @type {import("../../parts/plot_layers.js").Layer[]} */ ([
                  { kind: "line", x, y: evidence, colour: ink(k), dash: dash(k), width: 1.75 },
                  { kind: "points", x, y: evidence, colour: ink(k), width: 5, name: `${approach}-centric` },
                ]),
            ),
            cursor: index + 1,
          },
          width,
          112,
        );
      }
      const { point } = model.get("selection");
      rowBlock.node.hidden = point === null;
      empty.hidden = point !== null;
      if (point !== null) {
        const group = numbers(content().train.groups).data[point];
        const latent = content().outputs.length === 1 ? 0 : Math.max(0, classes.indexOf(model.get("class_name")));
        const layers = variants.flatMap((variant, k) => {
          const { data, shape } = numbers(variant.targets);
          const y = Array.from({ length: variant.steps }, (_, t) => data[(t * shape[1] + group) * shape[2] + latent]);
          return /** @type {import("../../parts/plot_layers.js").Layer[]} */ ([
            { kind: "line", x, y, colour: ink(k), dash: dash(k), width: 1.75 },
            { kind: "points", x, y, colour: ink(k), width: 5, name: `${variant.approach}-centric` },
          ]);
        });
        write(rowBlock.beside, `row ${point}: ${classes[numbers(content().train.labels).data[point]]}`);
        rowPlot.update(
          theme,
          {
            label: `Targets of training row ${point} over the steps`,
            x: along,
            y: { low: -0.04, high: 1.04, title: content().outputs[latent] },
            layers,
            cursor: index + 1,
          },
          width,
          112,
        );
      }
    },
  };
}
