// Why a step looks as it does: filter, effective noise, errors, evidence, and the ordinary process that is the same
// thing.

import { el, fill, write } from "../../parts/dom.js";
import { createPlot } from "../../parts/plot.js";
import { short } from "../../parts/numbers.js";
import { runColour } from "../../parts/colours.js";
import { approachColour, stepColour } from "../stage/stage.js";
import { swatch } from "../../parts/timeline.js";

const BARS = 40; // eigen-directions that fit side by side

/**
 * A titled block of the inspector.
 * @param {string} title
 * @param {...import("../../parts/dom.js").Child} children
 */
function block(title, ...children) {
  const beside = el("span", {});
  const node = el(
    "section",
    { class: "dw-why" },
    el("div", { class: "dw-heading-small" }, el("span", {}, title), beside),
    ...children,
  );
  return { node, beside };
}

/**
 * The range of curves over the steps. A limit far outside does not flatten what the steps do: it lies beyond the edge.
 * @param {number[][]} curves
 * @param {number} steps
 * @param {number} [floor]
 * @returns {[number, number]}
 */
export function spread(curves, steps, floor) {
  const within = curves.flatMap((values) => values.slice(0, steps)).filter(Number.isFinite);
  let [low, high] = [Math.min(...within), Math.max(...within)];
  const span = Math.max(high - low, 0.02 * Math.abs(high), 1e-12);
  for (const values of curves) {
    const end = values[steps];
    if (end !== undefined && Math.abs(end - (low + high) / 2) < 2 * span)
      [low, high] = [Math.min(low, end), Math.max(high, end)];
  }
  const pad = 0.14 * Math.max(high - low, span);
  return [floor ?? Math.max(0, low - pad), high + pad];
}

/**
 * @param {import("../../parts/frame.js").Frame} frame
 * @param {import("../data.js").Data} data
 * @param {() => void} check ask Python
 */
export function createInspector(frame, data, check) {
  const { model } = frame;
  const bars = createPlot(frame, "filter");
  const filterBlock = block("What each eigen-direction keeps", bars.node);
  const lambda = createPlot(frame, "effective-noise");
  const noiseBlock = block("Noise of the ordinary process with this mean", lambda.node);
  const toggle = el("input", { type: "checkbox", "data-testid": "setting-resampled" });
  frame.listen(toggle, "change", () => frame.save({ resampled: toggle.checked }));
  const toggleRow = el(
    "label",
    { class: "dw-setting" },
    toggle,
    el("span", {}, "bias² and variance over resampled noise"),
  );
  const goTo = (/** @type {number} */ x) => {
    const t = Math.max(1, Math.round(x));
    frame.select({
      step:
        t > data.steps() ? (data.seen(data.approaches()[0]).means.length > data.steps() ? "limit" : data.steps()) : t,
    });
  };
  const errors = createPlot(frame, "errors", { pick: goTo });
  const errorKey = el("div", { class: "dw-key" });
  const errorBlock = block("Error over the steps", errors.node, errorKey, toggleRow);
  const lml = createPlot(frame, "evidence", { pick: goTo });
  const evidenceBlock = block("Log marginal likelihood of each step's targets", lml.node);
  const overlay = el("input", { type: "checkbox", "data-testid": "setting-equivalent" });
  frame.listen(overlay, "change", () => frame.save({ equivalent: overlay.checked }));
  const what = el("p", { class: "dw-quiet" });
  const difference = el("dl", { class: "dw-facts", "data-testid": "difference" });
  const ask = el(
    "button",
    {
      class: "dw-button dw-outlined",
      "data-testid": "check",
      title: "Fits every step one after another and the ordinary process once, by Cholesky, in Python",
    },
    "check by Cholesky",
  );
  frame.listen(ask, "click", check);
  const sameBlock = block(
    "The same thing",
    what,
    difference,
    el(
      "div",
      { class: "dw-row" },
      el("label", { class: "dw-setting" }, overlay, el("span", {}, "overlay it (dashed)")),
      ask,
    ),
  );
  frame.inspector.append(filterBlock.node, noiseBlock.node, errorBlock.node, evidenceBlock.node);

  return {
    /** The block that stands beside the formula. */
    same: sameBlock.node,
    /**
     * @param {import("../../parts/theme.js").Theme} theme
     * @param {number} index
     * @param {Record<string, { mean: number, std: number }>} same largest differences to the ordinary process
     * @param {{ approach: string, mean: number, std: number | null }[]} checked
     * @param {number} width
     */
    update(theme, index, same, checked, width) {
      const approaches = data.approaches();
      const all = approaches.map(data.seen);
      const T = data.steps();
      const limit = all[0].means.length > T;
      const when = index === T ? "the limit" : `step ${index + 1}`;
      const dash = (/** @type {number} */ k) => (k ? [5, 3] : []);
      const ink = (/** @type {number} */ k) =>
        all.length > 1 ? approachColour(all[k].approach, theme.dark) : stepColour(index, T, theme.dark);
      for (const { node } of [filterBlock, noiseBlock]) node.hidden = !all[0].filter;
      if (all[0].filter) {
        const r = Math.min(BARS, all[0].filter.kept[0].length);
        const x = Float64Array.from({ length: r }, (_, i) => i + 1);
        const axis = { low: 0.4, high: r + 0.6, title: "eigen-direction, largest eigenvalue first", whole: true };
        const floor = 1e-6;
        write(filterBlock.beside, `share b of the targets, ${when}`);
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
        if (finite.length)
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
      }
      drawErrors(theme, all, index, limit, width, ink, dash);
      const x = Array.from({ length: T }, (_, t) => t + 1);
      const evidences = all.map((seen) => seen.evidence.slice(0, T));
      const known = evidences.flat().filter(Number.isFinite);
      evidenceBlock.node.hidden = !known.length || T < 2;
      if (known.length && T > 1) {
        const [low, high] = [Math.min(...known), Math.max(...known)];
        const pad = 0.12 * (high - low || 1);
        write(
          evidenceBlock.beside,
          index < T ? all.map((seen) => short(seen.evidence[index], 4)).join(" and ") + " nats" : "",
        );
        lml.update(
          theme,
          {
            label: `Log marginal likelihood of each step's targets: ${evidences.map((list) => list.map((value) => short(value, 4)).join(", ")).join("; ")} nats`,
            x: { low: 0.7, high: T + 0.3, title: "step τ", whole: true },
            y: { low: low - pad, high: high + pad, title: "nats" },
            layers: evidences.flatMap(
              (list, k) =>
                /** @type {import("../../parts/plot_layers.js").Layer[]} */ ([
                  {
                    kind: "line",
                    x,
                    y: list,
                    colour: all.length > 1 ? ink(k) : theme.focus,
                    dash: dash(k),
                    width: 1.75,
                  },
                  {
                    kind: "points",
                    x,
                    y: list,
                    colour: all.length > 1 ? ink(k) : theme.focus,
                    width: 5,
                    name: `${all[k].approach}-centric`,
                  },
                ]),
            ),
            cursor: index < T ? index + 1 : null,
          },
          width,
          108,
        );
      }
      sameBlock.node.hidden = !all[0].filter;
      overlay.checked = model.get("equivalent");
      ask.hidden = frame.standalone || !data.content().live;
      write(what, all.map((seen) => sentence(seen.approach, index === T)).join(" "));
      fill(
        difference,
        ...approaches.flatMap((approach) => [
          el("dt", {}, `largest difference of means${all.length > 1 ? `, ${approach}` : ""}`),
          el("dd", { "data-testid": `same-${approach}` }, short(same[approach]?.mean, 2)),
          el("dt", {}, "… of standard deviations"),
          el("dd", {}, short(same[approach]?.std, 2)),
        ]),
        ...checked.flatMap((one) => [
          el("dt", {}, `steps against one process, by Cholesky${all.length > 1 ? `, ${one.approach}` : ""}`),
          el(
            "dd",
            { "data-testid": "checked" },
            `${short(one.mean, 2)}${one.std === null ? "" : `; σ ${short(one.std, 2)}`}`,
          ),
        ]),
      );
    },
  };

  /**
   * @param {import("../data.js").Approach} approach
   * @param {boolean} limit
   */
  function sentence(approach, limit) {
    const alpha = data.schedule("mixing")[data.steps() - 1];
    if (approach === "distribution")
      return limit
        ? "Infinitely many distribution-centric steps interpolate: ordinary regression without noise."
        : "Distribution-centric steps are ordinary regression with noise 1 / Σ 1/γ: the labels counted τ times. Mean and bands agree.";
    if (limit)
      return alpha > 0
        ? "Infinitely many data-centric steps are ordinary regression with noise γ/α."
        : "Infinitely many data-centric steps with α = 0 forget everything: the mean is the prior's.";
    return "Data-centric steps have the mean of one ordinary process whose noise λ grows where eigenvalues are small. Its bands widen; the distilled ones stay those of γ.";
  }

  /**
   * @param {import("../../parts/theme.js").Theme} theme
   * @param {import("../data.js").Seen[]} all
   * @param {number} index
   * @param {boolean} limit
   * @param {number} width
   * @param {(k: number) => string} ink
   * @param {(k: number) => number[]} dash
   */
  function drawErrors(theme, all, index, limit, width, ink, dash) {
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
    const best = judged ? judged.values.slice(0, T).reduce((b, value, t) => (value < judged.values[b] ? t : b), 0) : 0;
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
  }
}
