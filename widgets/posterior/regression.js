// The regression view of a PosteriorExplorer: one or two plots, sliders, formula and inspector around one eigensystem.

import { createControls } from "./controls/controls.js";
import { createPoints } from "./controls/points.js";
import { regressionSettings } from "./controls/settings.js";
import { createData } from "./data.js";
import { equivalentOf } from "./inspector/equivalent.js";
import { createFormula } from "./controls/formula.js";
import { spread } from "./inspector/spread.js";
import { createInspector } from "./inspector/inspector.js";
import { createWishes } from "../parts/wishes.js";
import { approachColour, createStage } from "./stage/stage.js";
import { createWords, tableOf } from "./words.js";
import { extent } from "../parts/arrays.js";
import { el } from "../parts/dom.js";
import { createFold } from "../parts/fold.js";
import { createFrame } from "../parts/frame.js";
import { createTabs } from "../parts/tabs.js";
import { createTimeline } from "../parts/timeline.js";

/** @param {{ model: import("../parts/dom.js").Model, el: HTMLElement }} view */
export function renderRegression({ model, el: host }) {
  const data = createData(model);
  const { content } = data;
  const frame = createFrame(
    { model, el: host },
    {
      name: "posterior",
      table: () => tableOf(data),
      settings: regressionSettings(
        data,
        () => frame.standalone,
        (wish) => refits.ask(wish),
      ),
    },
  );
  const refits = createWishes(frame, "refit");
  /** @type {string | null} */
  let lit = null;
  let litUntil = 0;
  /** @type {number | null} */
  let cursor = null;
  /** @type {[number, number] | null} */
  let range = null;
  /** @type {{ found: { approach: string, mean: number, std: number | null }[], state: string, content: any } | null} */
  let checked = null;
  let seenLimits = "";

  const light = (/** @type {string | null} */ term) => {
    lit = term;
    frame.invalidate();
  };
  const points = createPoints(frame, data, refits);
  const stages = [0, 1].map((k) =>
    createStage(frame, `posterior-${k}`, points.edits, (x) => {
      cursor = x;
      frame.invalidate();
    }),
  );
  const panels = el("div", { class: "dw-panels" }, ...stages.map(({ node }) => node));
  const words = createWords(model, data);
  const tabs = createTabs(frame, "Approach that is shown");
  const controls = createControls(frame, data, refits, light);
  const formula = createFormula();
  const closed = createFold(frame, { name: "formula", title: "Formula", open: true }, formula.node);
  const inspector = createInspector(frame, data, () =>
    frame.requests.ask("check", {}, (found) => {
      checked = { found, state: state(), content: content() };
      frame.invalidate();
    }),
  );

  frame.stage.append(tabs.node, words.node, panels, points.node, controls.node, closed.node, inspector.same);

  const state = () =>
    JSON.stringify(["selection", "approach", "steps", "noise", "mixing"].map((name) => model.get(name)));
  for (const [trait, term] of Object.entries({
    noise: "noise",
    mixing: "mixing",
    steps: "step",
    selection: "step",
    length_scale: "kernel",
    amplitude: "kernel",
    kernel: "kernel",
    points: "points",
  })) {
    frame.watch([trait], () => {
      if (!lit) {
        lit = term;
        litUntil = performance.now() + 1200;
        setTimeout(() => {
          if (litUntil && performance.now() >= litUntil - 5) light(null);
        }, 1200);
      }
    });
  }

  const hasLimit = () => data.seen(data.approaches()[0]).means.length > data.steps();
  const positions = () => [...Array.from({ length: data.steps() }, (_, t) => t + 1), ...(hasLimit() ? ["∞"] : [])];
  let pending = 0;
  let drawnAt = -Infinity;
  frame.onDispose(() => cancelAnimationFrame(pending));
  /**
   * Draw the inspector one frame after the stage, so that the stage keeps up with the hand; while the hand keeps
   * moving, four times a second at least.
   * @param {() => void} draw
   */
  function afterwards(draw) {
    cancelAnimationFrame(pending);
    const run = () => {
      drawnAt = performance.now();
      frame.guard(draw);
    };
    if (performance.now() - drawnAt > 250) run();
    else pending = requestAnimationFrame(run);
  }

  const sizes = { room: 0, beside: 0 };
  frame.onDraw(() => {
    sizes.room = panels.clientWidth; // read before anything is written: the page is laid out once, not five times
    sizes.beside = frame.inspector.clientWidth - (frame.root.hasAttribute("data-narrow") ? 0 : 18);
  });
  createTimeline(frame, {
    unit: "step",
    positions,
    get: data.position,
    set: (index) => frame.select({ step: index === data.steps() ? "limit" : index + 1 }),
    curves,
    /** @returns {[number, number]} */
    get range() {
      const found = curves(frame.theme).map(({ values }) => values);
      return found.length ? spread(found, data.steps()) : [0, 1];
    },
  });

  /** @param {import("../parts/theme.js").Theme} theme */
  function curves(theme) {
    return data.approaches().flatMap((approach, k) => {
      const seen = data.seen(approach);
      const both = data.approaches().length > 1;
      const of = both ? `, ${approach}` : "";
      const dash = k ? [5, 3] : [];
      const what = content().test?.true ? "RMSE to truth" : "test RMSE";
      return [
        ...(seen.trainError
          ? [{ name: `training RMSE${of}`, values: seen.trainError, colour: theme.quiet, dash }]
          : []),
        ...(seen.testError
          ? [
              {
                name: `${what}${of}`,
                values: seen.testError,
                colour: both ? approachColour(approach, theme.dark) : theme.focus,
                dash,
              },
            ]
          : []),
      ];
    });
  }
  frame.bar.onDismiss(() => frame.select({ point: null }));
  frame.keys.add([], "walk through the points when the plot has the focus", null, "← / →");
  frame.keys.add([], "move the pinned point", null, "↑ / ↓ / Shift+← / Shift+→");
  frame.keys.add([], "remove the pinned point", null, "Delete");

  /**
   * One y axis for all panels. It grows when something leaves it, and shrinks only when most of it is empty.
   * @param {import("./data.js").Seen[]} all
   * @param {number} index
   */
  function fit(all, index) {
    const parts = all.flatMap((seen) => {
      const std = seen.std(index);
      return [
        ...extent(seen.means[index].map((value, j) => value + 2 * std[j])),
        ...extent(seen.means[index].map((value, j) => value - 2 * std[j])),
        ...extent(points.of(seen, index).y),
      ];
    });
    if (content().test?.true) parts.push(...extent(data.column(/** @type {any} */ (content().test).y)));
    const [low, high] = extent(parts);
    const pad = 0.06 * (high - low || 1);
    const key = JSON.stringify([content().axis, model.get("output"), content().outputs.length]);
    const stale = key !== seenLimits || !range || high - low < 0.5 * (range[1] - range[0]);
    seenLimits = key;
    if (stale && !points.moving()) range = [low - pad, high + pad];
    else if (range) range = [low < range[0] ? low - pad : range[0], high > range[1] ? high + pad : range[1]];
    else range = [low - pad, high + pad];
    return range;
  }

  frame.onDraw((theme) => {
    const index = data.position();
    const approaches = data.approaches();
    const all = approaches.map(data.seen);
    const { outputs, features, axis, test } = content();
    const both = all.length > 1;
    frame.root.toggleAttribute("data-comparing", both);
    const narrow = frame.root.hasAttribute("data-narrow");
    const { room } = sizes;
    const seenTab = tabs.update(approaches.map((approach) => `${approach}-centric`));
    const width = both && !narrow ? Math.floor((room - 12) / 2) : room;
    const full = document.fullscreenElement === frame.root;
    const height = frame.room(panels, 190, full ? Infinity : both ? 400 : 460);
    const limits = fit(all, index);
    const partial = features.length > 1 && content().curve;
    const tests =
      test && !(partial && !test.true)
        ? { x: data.numbers(test.x).data, y: data.column(test.y), true: test.true }
        : null;
    /** @type {Record<string, { mean: number, std: number }>} */
    const same = {};
    stages.forEach((stage, k) => {
      const seen = all[k];
      stage.node.hidden = !seen || (seenTab !== null && seenTab !== k);
      if (!seen) return;
      const equal = equivalentOf(data, seen, index);
      if (equal) same[seen.approach] = equal.difference;
      stage.update(
        theme,
        {
          seen,
          index,
          title: both ? `${seen.approach}-centric` : "",
          grid: data.numbers(content().grid).data,
          points: points.of(seen, index),
          test: tests,
          span: content().span,
          range: limits,
          xTitle: features[axis].name,
          yTitle: partial ? `${outputs[data.output()]} (partial residuals)` : outputs[data.output()],
          fan: model.get("fan"),
          targets: model.get("targets") && !partial && content().curve,
          curve: content().curve,
          limit: hasLimit(),
          equivalent: model.get("equivalent") && equal ? equal : null,
          pinned: model.get("selection").point,
          cursor,
          editable: content().editable && !frame.standalone,
        },
        width,
        height,
      );
    });
    words.legend(theme, all, index, partial);
    points.update();
    controls.update();
    const [noise, mixing] = [data.schedule("noise"), data.schedule("mixing")];
    closed.node.hidden = !all[0].filter;
    formula.update(
      approaches.map((approach) => ({
        approach,
        limit: index === data.steps(),
        constant: new Set(noise).size === 1,
        mixing: mixing[mixing.length - 1],
        noise: noise[Math.min(index, noise.length - 1)],
        step: index + 1,
      })),
      lit,
    );
    if (checked && (checked.content !== content() || checked.state !== state())) checked = null;
    afterwards(() => inspector.update(theme, index, same, checked?.found ?? [], sizes.beside));
    frame.bar.update();
    frame.root.dataset.revision = String(model.get("content").revision ?? 0);
    const n = data.train().x.length;
    frame.status.facts([
      `n = ${n.toLocaleString("en")}`,
      content().train.rows < n ? `${content().train.rows.toLocaleString("en")} distinct inputs` : "",
      test
        ? test.true
          ? "errors against the true function"
          : `${data.numbers(test.y).shape[0].toLocaleString("en")} test rows`
        : "no test rows",
      content().method === "exact" ? "exact" : `method ${content().method}`,
      `kernel ${content().kernel.text}`,
    ]);
    frame.bar.describe(model.get("title"), words.caption(all, index));
  });

  frame.watch(
    [
      "content",
      "arrays",
      "selection",
      "approach",
      "steps",
      "noise",
      "mixing",
      "kernel",
      "length_scale",
      "amplitude",
      "points",
      "feature",
      "held",
      "output",
      "fan",
      "targets",
      "samples",
      "equivalent",
      "resampled",
      "title",
    ],
    () => frame.invalidate(),
  );
  frame.invalidate();
  return () => frame.dispose();
}
