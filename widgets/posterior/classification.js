// The classification view of a PosteriorExplorer: maps (or lines) per step, boundaries, calibration over the steps.

import { createStepInspector } from "./inspector/calibration.js";
import { createClassData } from "./class_data.js";
import { createClassControls } from "./controls/class_controls.js";
import { createMap } from "./stage/map.js";
import { createWishes } from "../parts/wishes.js";
import { stepColour } from "./stage/stage.js";
import { extent } from "../parts/arrays.js";
import { classColour, isHollow } from "../parts/colours.js";
import { el, fill } from "../parts/dom.js";
import { createFrame } from "../parts/frame.js";
import { createLegend } from "../parts/legend.js";
import { createPlot } from "../parts/plot.js";
import { short } from "../parts/numbers.js";
import { createTimeline, swatch } from "../parts/timeline.js";
import { facts } from "../parts/tooltip.js";

const SHOWN = /** @type {const} */ ({
  probability: "class probability",
  mean: "latent mean",
  std: "latent standard deviation",
});

/** @param {{ model: import("../parts/dom.js").Model, el: HTMLElement }} view */
export function renderClassification({ model, el: host }) {
  const data = createClassData(model);
  const { content, numbers, once, position, stepOf, latent, chosen, values, boundary, placeAt, reading, targetsOf } =
    data;
  const live = () => content().live && !frame.standalone;
  const frame = createFrame(
    { model, el: host },
    {
      name: "posterior",
      table: data.table,
      settings: [
        {
          trait: "approach",
          label: "Approach",
          kind: "choice",
          inBar: true,
          choices: () =>
            live()
              ? [
                  ["data", "data-centric"],
                  ["distribution", "distribution-centric"],
                  ["both", "both, side by side"],
                ].map(([value, label]) => ({ value, label }))
              : [],
          save: (value) => refits.ask({ approach: value }),
        },
        {
          trait: "mode",
          label: "Mode",
          kind: "choice",
          inBar: true,
          choices: () =>
            live() && model.get("approach") !== "data"
              ? ["duplicate", "scaled", "sequential"].map((value) => ({ value, label: value }))
              : [],
          save: (value) => refits.ask({ mode: value }),
          help: "duplicate: each label τ times, exact · scaled: kernel τ·k, the paper's code · sequential: the last Laplace posterior as the next prior",
        },
        {
          trait: "show",
          label: "Show",
          kind: "choice",
          inBar: true,
          choices: () => Object.entries(SHOWN).map(([value, label]) => ({ value, label })),
        },
        {
          trait: "class_name",
          label: "of",
          kind: "choice",
          inBar: true,
          choices: () =>
            content().classes.length > 2 || content().axes.length === 1
              ? content().classes.map((value) => ({ value, label: value }))
              : [],
        },
        {
          trait: "feature",
          label: "Axis →",
          kind: "choice",
          choices: () => (live() ? content().features.map(({ name }) => ({ value: name, label: name })) : []),
          save: (value) => refits.ask({ feature: value }),
        },
        {
          trait: "feature_y",
          label: "Axis ↑",
          kind: "choice",
          choices: () =>
            live() && content().axes.length > 1
              ? content().features.map(({ name }) => ({ value: name, label: name }))
              : [],
          save: (value) => refits.ask({ feature_y: value }),
        },
        { trait: "fan", label: "Draw the decision boundaries (or lines) of all steps", kind: "switch" },
      ],
    },
  );
  const refits = createWishes(frame, "refit");
  /** @type {[number, number] | null} */
  let cross = null;

  const pin = (/** @type {number} */ row) => frame.select({ point: model.get("selection").point === row ? null : row });

  const panes = [0, 1].map((v) => {
    const map = createMap(frame, `map-${v}`, {
      hover(place, row, event) {
        cross = place;
        if (place && event)
          frame.tooltip.show(
            event.clientX,
            event.clientY,
            row === null
              ? el("b", {}, place.map((value) => short(value)).join(", "))
              : el("b", {}, `training row ${row}: ${content().classes[numbers(content().train.labels).data[row]]}`),
            facts(row === null ? reading(v, placeAt(v, place)) : targetsOf(v, row)),
          );
        else frame.tooltip.hide();
        frame.invalidate();
      },
      pin,
    });
    return { map, line: createPlot(frame, `line-${v}`) };
  });

  const key = el("div", { class: "dw-key", "data-testid": "key" });
  const scale = createLegend();
  const row = el("div", { class: "dw-panels" }, ...panes.flatMap(({ map, line }) => [map.node, line.node]));
  const controls = createClassControls(frame, content, refits);
  frame.stage.append(el("div", { class: "dw-key-row" }, key, scale.node), row, controls.node);
  const inspector = createStepInspector(frame, content, numbers);

  createTimeline(frame, {
    unit: "step",
    positions: () => Array.from({ length: model.get("steps") }, (_, t) => t + 1),
    get: position,
    set: (index) => frame.select({ step: index + 1 }),
    curves: (theme) =>
      content().variants.flatMap((variant, k) => {
        if (!variant.judged) return [];
        const of = content().variants.length > 1 ? `, ${variant.approach}` : "";
        const where = content().tested ? "" : " (training)";
        return [
          { name: `NLL${where}${of}`, values: variant.judged.nll, colour: theme.focus, dash: k ? [5, 3] : [] },
          { name: `ECE${where}${of}`, values: variant.judged.ece, colour: theme.quiet, dash: k ? [5, 3] : [] },
        ];
      }),
  });
  frame.bar.onDismiss(() => frame.select({ point: null }));
  frame.keys.add([], "walk through the training rows when the map has the focus", null, "← / →");

  frame.onDraw((theme) => {
    const { variants, axes, shape, spans, features, classes } = content();
    const show = /** @type {"probability" | "mean" | "std"} */ (model.get("show"));
    const both = variants.length > 1;
    frame.root.toggleAttribute("data-comparing", both);
    const narrow = frame.root.hasAttribute("data-narrow");
    const width = both && !narrow ? Math.floor((row.clientWidth - 12) / 2) : row.clientWidth;
    const height =
      document.fullscreenElement === frame.root
        ? Math.max(320, globalThis.innerHeight - 360)
        : both || narrow
          ? Math.min(420, width)
          : 470;
    const flat = axes.length === 2 && shape !== null;
    const limit =
      show === "probability"
        ? 1
        : once(`limit ${show} ${latent()}`, () =>
            Math.max(
              1e-9,
              ...variants.flatMap((variant, v) =>
                Array.from({ length: variant.steps }, (_, t) => extent(values(v, t, show)).map(Math.abs)).flat(),
              ),
            ),
          );
    panes.forEach(({ map, line }, v) => {
      const variant = variants[v];
      map.node.hidden = !variant || !flat;
      line.node.hidden = !variant || flat;
      if (!variant) return;
      const t = stepOf(variant);
      const name = both
        ? `${variant.approach}-centric${variant.approach === "distribution" ? `, ${variant.mode}` : ""}`
        : "";
      if (!flat) return drawLine(theme, v, t, name, width, height);
      const [ny, nx] = /** @type {number[]} */ (shape);
      const steps = model.get("fan") ? Array.from({ length: variant.steps }, (_, k) => k).filter((k) => k !== t) : [];
      return map.update(
        theme,
        {
          label: `Map of ${SHOWN[show]} over ${features[axes[0]].name} and ${features[axes[1]].name} at step ${t + 1} of ${variant.steps}, ${variant.approach}-centric. Left and right arrow walk through the training rows.`,
          note: name,
          nx,
          ny,
          spanX: spans[0],
          spanY: spans[1],
          xTitle: features[axes[0]].name,
          yTitle: features[axes[1]].name,
          values: values(v, t, show),
          show,
          classes: classes.length,
          limit,
          boundaries: [
            ...steps.map((k) => ({
              segments: boundary(v, k),
              colour: stepColour(k, Math.max(1, variant.steps - 1), theme.dark),
              width: 1.4,
            })),
            { segments: boundary(v, t), colour: theme.ink, width: 2.75 },
          ],
          points: { places: numbers(content().train.places).data, labels: numbers(content().train.labels).data },
          pinned: model.get("selection").point,
          cross,
        },
        width,
        height,
      );
    });
    scale.node.hidden = show === "probability" || !flat;
    if (!scale.node.hidden)
      scale.update(theme, {
        label: SHOWN[show],
        map: show === "std" ? "viridis" : theme.dark ? "diverging-dark" : "diverging",
        low: show === "std" ? 0 : -limit,
        high: limit,
        mark: null,
        clipped: false,
      });
    legend(theme);
    controls.update();
    inspector.update(theme, position());
    frame.bar.update();
    frame.root.dataset.revision = String(model.get("content").revision ?? 0);
    const n = numbers(content().train.labels).data.length;
    frame.status.facts([
      `n = ${n.toLocaleString("en")}`,
      content().tested ? "calibration on test rows" : "no test rows: calibration on the training rows",
      content().method === "exact" ? "exact up to Laplace's approximation" : `method ${content().method}`,
      `kernel ${content().kernel}`,
    ]);
    frame.bar.describe(model.get("title"), caption());
  });

  /**
   * One feature: a line per step. Loose places (a record's own inputs): a cloud.
   * @param {import("../parts/theme.js").Theme} theme
   * @param {number} v
   * @param {number} t
   * @param {string} note
   * @param {number} width
   * @param {number} height
   */
  function drawLine(theme, v, t, note, width, height) {
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
    /** @type {import("../parts/plot_layers.js").Layer[]} */
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
    panes[v].line.update(
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
  }

  let shownKey = "";
  /** @param {import("../parts/theme.js").Theme} theme */
  function legend(theme) {
    const { classes, shape, axes } = content();
    const T = model.get("steps");
    const now = JSON.stringify([classes, theme.dark, model.get("fan"), T, shape, position()]);
    if (now === shownKey) return;
    shownKey = now;
    const ramp = el("i", { class: "dw-ramp" });
    ramp.style.background = `linear-gradient(90deg, ${[0, 0.25, 0.5, 0.75, 1].map((share) => stepColour(share * T, T, theme.dark)).join(", ")})`;
    fill(
      key,
      ...classes.slice(0, 12).map((name, c) => {
        const mark = el("i", { class: "dw-mark" });
        mark.style.borderColor = classColour(c, theme.dark);
        mark.style.background = isHollow(c) ? "transparent" : classColour(c, theme.dark);
        return el("span", {}, mark, name);
      }),
      classes.length > 12 && el("span", {}, `and ${classes.length - 12} more`),
      axes.length === 2 &&
        shape !== null &&
        el("span", {}, swatch({ colour: theme.ink }), `decision boundary, step ${position() + 1}`),
      model.get("fan") && T > 1 && el("span", {}, ramp, "all steps"),
    );
  }

  function caption() {
    const parts = content().variants.map((variant) => {
      const t = stepOf(variant);
      const mode = variant.approach === "distribution" ? ` (${variant.mode})` : "";
      const judged = variant.judged;
      if (!judged) return `${variant.approach}-centric${mode}`;
      const best = judged.nll.indexOf(Math.min(...judged.nll)) + 1;
      return `${variant.approach}-centric${mode}: ${(100 * judged.error[t]).toFixed(1)} % wrong, NLL ${short(judged.nll[t])} nats (smallest at step ${best}), ECE ${short(judged.ece[t])}`;
    });
    return `Step ${position() + 1} of ${model.get("steps")}${content().tested ? "" : ", on the training rows"}. ${parts.join(" · ")}`;
  }

  frame.watch(
    [
      "content",
      "arrays",
      "selection",
      "approach",
      "mode",
      "steps",
      "mixing",
      "kernel",
      "length_scale",
      "amplitude",
      "feature",
      "feature_y",
      "held",
      "show",
      "class_name",
      "fan",
      "title",
    ],
    () => frame.invalidate(),
  );
  frame.invalidate();
  return () => frame.dispose();
}
