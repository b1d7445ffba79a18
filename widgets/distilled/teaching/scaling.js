// Calibration by temperature: what each way of finding one asks for, and what it does to how sure networks are.

import { percent, spread } from "./words.js";
import { inkOf, reliability } from "./plots.js";
import { extent, tensor } from "../../parts/arrays.js";
import { el, fill, number, write } from "../../parts/dom.js";
import { createPlot } from "../../parts/plot.js";
import { swatch } from "../../parts/timeline.js";

/** One way of finding a temperature.
 * @typedef {object} Way
 * @property {string} name
 * @property {number | null} ratio share of each image that was hidden; null: it saw no distilled image
 * @property {import("./teaching.js").Estimate} temperature
 * @property {{ lower: number, upper: number, flat: number }} bounds networks whose search ended there
 * @property {import("./teaching.js").Estimate} ece
 * @property {import("./teaching.js").Estimate} nll
 * @property {string | null} curve NLL of what it fits to, at each of `at`
 * @property {import("./teaching.js").Bins} bins
 */

/** Mirrors `scaling_content` in scaling.py.
 * @typedef {{ networks: number, accuracy: import("./teaching.js").Estimate, at: string, ways: Way[] }} Scaling */

/**
 * @param {import("../../parts/frame.js").Frame} frame
 * @param {import("../inspector/inspector.js").Lens} lens
 */
export function createScaling(frame, lens) {
  const { model } = frame;
  const beside = el("span", {});
  const body = el("tbody", {});
  const heads = [
    ["way", ""],
    ["hidden", "dw-number"],
    ["temperature", "dw-number"],
    ["ECE on test", "dw-number"],
    ["NLL on test", "dw-number"],
  ];
  const table = el(
    "table",
    { "data-testid": "scaling-table" },
    el("thead", {}, el("tr", {}, ...heads.map(([name, kind]) => el("th", { scope: "col", class: kind }, name)))),
    body,
  );
  const plots = { curve: createPlot(frame, "scaling-curve"), bins: createPlot(frame, "scaling-reliability") };
  const titles = { curve: el("span", {}), bins: el("span", {}) };
  const lineKey = el("div", { class: "dw-key", "data-testid": "scaling-key" });
  const [curve, bins] = /** @type {const} */ (["curve", "bins"]).map((name) =>
    el(
      "div",
      {},
      el("div", { class: "dw-heading-small" }, titles[name]),
      plots[name].node,
      name === "curve" && lineKey,
    ),
  );
  const key = el(
    "p",
    { class: "dw-quiet dw-fine" },
    "TS fits the temperature to the distilled images, MTS to the same images with a share of their pixels hidden, the oracle to the test images themselves: no one else may choose by those. Accuracy does not change with T.",
  );
  const node = el(
    "section",
    { class: "dw-why", "data-testid": "scaling" },
    el("div", { class: "dw-heading-small" }, el("span", {}, "Calibration by temperature"), beside),
    el("div", { class: "dw-table dw-cross", tabindex: 0 }, table),
    el("div", { class: "dw-teach-figures" }, curve, bins),
    key,
  );
  let drawn = /** @type {any[]} */ ([]);

  /** @param {Scaling} found */
  function shown(found) {
    const chosen = found.ways.find(({ name }) => name === model.get("scaled"));
    const masked = found.ways.filter(({ ratio }) => ratio);
    return chosen ?? masked[Math.floor(masked.length / 2)] ?? found.ways[found.ways.length - 1];
  }

  return {
    node,
    /**
     * @param {import("../../parts/theme.js").Theme} theme
     * @param {number} width of one of the two plots
     */
    update(theme, width) {
      const found = /** @type {Scaling | null} */ (model.get("findings")?.scalings?.[lens.set()] ?? null);
      node.hidden = !found;
      if (!found) return;
      const way = shown(found);
      const now = [theme, found, way, width];
      if (now.every((value, i) => value === drawn[i])) return;
      drawn = now;
      const n = found.networks;
      write(beside, `accuracy ${spread(found.accuracy)}, ${n} ${n === 1 ? "network" : "networks"}`);
      const focused = body.contains(document.activeElement);
      fill(
        body,
        ...found.ways.map((one) => {
          const pick = el(
            "button",
            { class: "dw-button", "aria-pressed": String(one === way), title: `Draw ${one.name}` },
            one.name,
          );
          pick.addEventListener("click", () => frame.save({ scaled: one.name }));
          const ends = /** @type {const} */ (["lower", "upper", "flat"])
            .filter((kind) => one.bounds[kind])
            .map(
              (kind) => `${one.bounds[kind]} of ${n} ${kind === "flat" ? "did not matter" : `at the ${kind} bound`}`,
            );
          return el(
            "tr",
            { "data-chosen": one === way },
            el("th", { scope: "row" }, pick),
            el("td", { class: "dw-number" }, one.ratio === null ? "–" : percent(one.ratio, 0)),
            el(
              "td",
              { class: "dw-number" },
              number(one.temperature.mean, 3),
              ends.length > 0 && el("span", { class: "dw-quiet" }, ` (${ends.join(", ")})`),
            ),
            el("td", { class: "dw-number" }, spread(one.ece)),
            el("td", { class: "dw-number" }, `${number(one.nll.mean, 3)} nats`),
          );
        }),
      );
      if (focused)
        /** @type {HTMLElement | null} */ (body.querySelector('[aria-pressed="true"]'))?.focus({ preventScroll: true });
      write(titles.bins, `Reliability on the test split: ${way.name}`);
      plots.bins.update(
        theme,
        reliability(
          model,
          theme,
          way.bins,
          `Reliability diagram of ${way.name}, all networks together. ECE ${spread(way.ece)}.`,
        ),
        width,
        230,
      );
      const values = (/** @type {string | null} */ name) =>
        name
          ? /** @type {import("../../parts/arrays.js").Tensor} */ (tensor(model, name, "findings_arrays")).data
          : null;
      const T = /** @type {Float32Array} */ (values(found.at));
      const lines = [...new Set([...found.ways.filter(({ name }) => name === "TS" || name === "oracle"), way])].flatMap(
        (one) => {
          const nll = values(one.curve);
          const ink =
            one === way
              ? inkOf("distilled", theme.dark, theme)
              : one.name === "oracle"
                ? inkOf("full", theme.dark, theme)
                : inkOf("random", theme.dark, theme);
          return nll ? [{ one, nll, ink }] : [];
        },
      );
      curve.hidden = !lines.length;
      write(titles.curve, "NLL of the images that T is fitted to");
      fill(lineKey, ...lines.map(({ one, ink }) => el("span", {}, swatch(ink), one.name)));
      if (!lines.length) return;
      // A temperature that suits nobody makes the NLL huge: what is near the best ones is what there is to see.
      const most = Math.min(
        Math.max(...lines.map(({ nll }) => extent(nll)[1])),
        3 * Math.max(0.1, ...lines.map(({ nll }) => extent(nll)[0])),
      );
      plots.curve.update(
        theme,
        {
          label: `NLL by temperature: ${lines.map(({ one }) => `${one.name} asks for ${number(one.temperature.mean, 3)}`).join("; ")}`,
          x: { low: T[0], high: T[T.length - 1], title: "temperature (log scale)", log: true },
          y: { low: 0, high: most, title: "NLL (nats)" },
          layers: lines.flatMap(({ one, nll, ink }) => {
            const kept = [...nll.keys()].filter((i) => nll[i] <= most);
            const best = kept.reduce((low, i) => (nll[i] < nll[low] ? i : low), kept[0]);
            return /** @type {import("../../parts/plot_layers.js").Layer[]} */ ([
              { kind: "line", x: kept.map((i) => T[i]), y: kept.map((i) => nll[i]), ...ink, width: 2, name: one.name },
              { kind: "points", x: [T[best]], y: [nll[best]], colour: ink.colour, width: 8 },
            ]);
          }),
        },
        width,
        230,
      );
    },
  };
}
