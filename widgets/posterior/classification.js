// The classification view of a PosteriorExplorer: maps (or lines) per step, boundaries, calibration over the steps.

import { createStepInspector } from "./inspector/calibration.js";
import { createClassData } from "./class_data.js";
import { createClassControls } from "./controls/class_controls.js";
import { classSettings, SHOWN } from "./controls/class_settings.js";
import { createClassKey } from "./stage/class_key.js";
import { createLines } from "./stage/line.js";
import { createMap } from "./stage/map.js";
import { createWishes } from "../parts/wishes.js";
import { stepColour } from "./stage/stage.js";
import { extent } from "../parts/arrays.js";
import { el } from "../parts/dom.js";
import { createFrame } from "../parts/frame.js";
import { createTabs } from "../parts/tabs.js";
import { createLegend } from "../parts/legend.js";
import { createPlot } from "../parts/plot.js";
import { short } from "../parts/numbers.js";
import { createTimeline } from "../parts/timeline.js";
import { facts } from "../parts/tooltip.js";

/** @param {{ model: import("../parts/dom.js").Model, el: HTMLElement }} view */
export function renderClassification({ model, el: host }) {
  const data = createClassData(model);
  const { content, numbers, once, position, stepOf, latent, values, boundary, placeAt, reading, targetsOf } = data;
  const live = () => content().live && !frame.standalone;
  const frame = createFrame(
    { model, el: host },
    {
      name: "posterior",
      table: data.table,
      settings: classSettings(model, data, live, (wish) => refits.ask(wish)),
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

  const key = createClassKey(model, data);
  const scale = createLegend();
  const tabs = createTabs(frame, "Approach that is shown");
  const drawLine = createLines(
    model,
    data,
    panes.map(({ line }) => line),
  );
  const row = el("div", { class: "dw-panels" }, ...panes.flatMap(({ map, line }) => [map.node, line.node]));
  const controls = createClassControls(frame, content, refits);
  frame.stage.append(tabs.node, el("div", { class: "dw-key-row" }, key.node, scale.node), row, controls.node);
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
    const full = document.fullscreenElement === frame.root;
    const height = frame.room(row, 190, full ? Infinity : Math.min(both || narrow ? 420 : 470, width));
    const seenTab = tabs.update(variants.map(({ approach }) => `${approach}-centric`));
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
      const away = !variant || (seenTab !== null && seenTab !== v);
      map.node.hidden = away || !flat;
      line.node.hidden = away || flat;
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
    key.update(theme);
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
