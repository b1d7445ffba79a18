// What a distilled set teaches: train on it now, or without some images, and read what new networks have learned.

import { createChange } from "./change.js";
import { createConfusion } from "./confusion.js";
import { createControls } from "./controls.js";
import { createScaling } from "./scaling.js";
import { createCurves, createReliability, inkOf } from "./plots.js";
import { spread } from "./words.js";
import { el, fill, write } from "../../parts/dom.js";
import { swatch } from "../../parts/timeline.js";

/** Mean over seeds and its 95 % interval; null ends for a single seed.
 * @typedef {{ mean: number, low: number | null, high: number | null }} Estimate */

/** One curve per network, (3, points): mean, low and high over the seeds.
 * @typedef {{ name: "distilled" | "random" | "full", label: string, steps: number[], accuracy: string[],
 *   confidence: string[] | null }} Course */

/** An evaluation; mirrors `evaluation_content` in teaching.py.
 * @typedef {object} Evaluation
 * @property {string} name
 * @property {string[]} networks
 * @property {number[]} seeds
 * @property {number} images
 * @property {boolean} interrupted
 * @property {Record<string, Estimate[]>} scores
 * @property {Estimate[]} ece
 * @property {Record<string, Estimate[]>} agreement
 * @property {Course[]} curves
 * @property {string} per_class
 * @property {string} confusion
 * @property {Bins[]} calibration
 */

/** Bins of a reliability diagram; mirrors `bins_content` in teaching.py.
 * @typedef {{ confidence: string, accuracy: string, interval: string, count: string, nll: number }} Bins */

/** An evaluation without some images, and what that changed; mirrors `without_content` in teaching.py.
 * @typedef {object} Without
 * @property {number[]} rows left out
 * @property {Evaluation} evaluation
 * @property {{ mean: string, low: string, high: string, noise: string, seeds: number } | null} change
 * @property {string} reason why there is no change to be told
 */

/** Curves while training goes on, over shares of it: mean over seeds, null where not yet.
 * @typedef {{ set: string, network: string, steps: Record<string, number[]>, accuracy: Record<string, (number |
 *   null)[]>, confidence: Record<string, (number | null)[]> }} Live */

/**
 * @param {import("../../parts/frame.js").Frame} frame
 * @param {import("../inspector/inspector.js").Lens} lens
 */
export function createTeaching(frame, lens) {
  const { model } = frame;
  const controls = createControls(frame, lens);
  const stale = el("p", { class: "dw-note", role: "status", "data-testid": "stale", hidden: true });
  const empty = el("div", { class: "dw-empty", "data-testid": "teaching-empty" });
  const head = el("tr", {});
  const body = el("tbody", {});
  const table = el(
    "div",
    { class: "dw-table dw-cross", tabindex: 0 },
    el("table", { "data-testid": "cross" }, el("thead", {}, head), body),
  );
  const fine = el("p", { class: "dw-quiet dw-fine" });
  const key = el("div", { class: "dw-key", "data-testid": "curve-key" });
  const curves = createCurves(frame);
  const confusion = createConfusion(frame, lens);
  const reliability = createReliability(frame);
  const change = createChange(frame, lens);
  const scaling = createScaling(frame, lens);
  const figures = el(
    "div",
    { class: "dw-teach-figures" },
    el(
      "section",
      { class: "dw-why dw-wide" },
      el("div", { class: "dw-heading-small" }, el("span", {}, "On all test examples, by network"), el("span", {}, "")),
      table,
      fine,
    ),
    curves.accuracy,
    curves.confidence,
    el("div", { class: "dw-wide" }, key),
    change.node,
    confusion.node,
    reliability.node,
  );
  const inside = el(
    "div",
    { class: "dw-teaching", "data-testid": "teaching" },
    controls.node,
    stale,
    empty,
    figures,
    scaling.node,
  );
  const told = el("span", { class: "dw-quiet" });
  const fold = el(
    "button",
    { class: "dw-button dw-fold", "data-testid": "setting-panel", "aria-expanded": "false" },
    el("span", {}, "What it teaches"),
    told,
  );
  frame.listen(fold, "click", () => frame.save({ panel: model.get("panel") === "teaching" ? "images" : "teaching" }));
  frame.keys.add(
    "t",
    "what the set teaches: open or close",
    () => frame.save({ panel: model.get("panel") === "teaching" ? "images" : "teaching" }),
    "T",
  );
  const node = el("section", { class: "dw-lessons", "aria-label": "What it teaches" }, fold, inside);
  frame.watch(
    [
      "live",
      "attributions",
      "training",
      "left_out",
      "judged",
      "scaled",
      "offer",
      "attribution",
      "opacity",
      "pixel_values",
    ],
    () => frame.invalidate(),
  );

  const base = () => /** @type {Evaluation | null} */ (model.get("findings")?.evaluations?.[lens.set()] ?? null);
  const without = () => /** @type {Without | null} */ (model.get("findings")?.without?.[lens.set()] ?? null);
  const taughtAt = () => /** @type {number | null} */ (model.get("findings")?.taught?.[lens.set()]?.iteration ?? null);

  /** @param {Evaluation} found */
  const shown = (found) => Math.max(0, found.networks.indexOf(model.get("judged")));

  let drawn = /** @type {any[]} */ ([]);
  let listed = "";
  /** @param {Evaluation} found @param {Without | null} less */
  function writeTable(found, less) {
    const names = [
      "distilled",
      ...(less ? ["without"] : []),
      ...["random", "full"].filter((name) => found.scores[name]),
    ];
    const titles = /** @type {Record<string, string>} */ ({
      distilled: `${found.images} distilled images`,
      without: `without ${less?.rows.length}`,
      random: "as many random real",
      full: "all real data",
    });
    const agreements = Object.keys(found.agreement);
    const at = shown(found);
    const now = JSON.stringify([found, less?.evaluation.scores, less?.rows.length, at]);
    if (now === listed) return;
    listed = now;
    fill(
      head,
      el("th", { scope: "col" }, "network"),
      ...names.map((name) => el("th", { scope: "col", class: "dw-number" }, titles[name])),
      el("th", { scope: "col", class: "dw-number" }, "ECE"),
      ...agreements.map((name) => el("th", { scope: "col", class: "dw-number" }, `agrees with ${name}`)),
    );
    fill(
      body,
      ...found.networks.map((network, k) => {
        const row = el("tr", { "data-chosen": k === at });
        const pick = el(
          "button",
          { class: "dw-button", "aria-pressed": String(k === at), title: `Show the figures of ${network}` },
          network,
        );
        pick.addEventListener("click", () => frame.save({ judged: network }));
        const value = (/** @type {string} */ name) =>
          name === "without"
            ? less?.evaluation.scores.distilled[less.evaluation.networks.indexOf(network)]
            : found.scores[name][k];
        row.append(
          el("th", { scope: "row" }, pick),
          ...names.map((name) => el("td", { class: "dw-number" }, spread(value(name)))),
          el("td", { class: "dw-number" }, spread(found.ece[k])),
          ...agreements.map((name) => el("td", { class: "dw-number" }, spread(found.agreement[name][k]))),
        );
        return row;
      }),
    );
    const n = found.seeds.length;
    write(
      fine,
      `accuracy in % on the real test split, ${n === 1 ? "one seed: no interval can be told" : `mean ± half of the 95 % t interval over ${n} seeds`}${found.interrupted ? "; stopped before the end" : ""}`,
    );
  }

  return {
    node,
    /** @param {import("../../parts/theme.js").Theme} theme */
    update(theme) {
      // On a narrow page one image stands right below the atlas, and this below both.
      const home = frame.root.hasAttribute("data-narrow")
        ? /** @type {HTMLElement} */ (frame.inspector.parentElement)
        : frame.stage;
      if (node.parentElement !== home) home.append(node);
      const found = base();
      const less = without();
      const live = /** @type {Live | null} */ (model.get("live")?.set === lens.set() ? model.get("live") : null);
      const open = model.get("panel") === "teaching";
      inside.hidden = !open;
      fold.setAttribute("aria-expanded", String(open));
      const k = found ? shown(found) : 0;
      write(
        told,
        live
          ? "training …"
          : found
            ? `accuracy ${spread(found.scores.distilled[k])} (${found.networks[k]}, ${found.seeds.length} ${found.seeds.length === 1 ? "seed" : "seeds"})`
            : "not measured",
      );
      if (!open) return;
      controls.update();
      writeStale(found, less);
      const full = inside.clientWidth - 8;
      const columns = full > 640 ? 2 : 1;
      const width = Math.floor((full - 22 * (columns - 1)) / columns);
      inside.style.setProperty("--dw-columns", String(columns));
      scaling.update(theme, width);
      empty.hidden = found !== null || live !== null;
      figures.hidden = !found && !live;
      if (!found && !live) {
        fill(
          empty,
          el(
            "p",
            {},
            el(
              "b",
              {},
              frame.standalone || !lens.can()
                ? "What this set teaches has not been measured."
                : "Press “train on the set now”.",
            ),
          ),
          el(
            "p",
            { class: "dw-quiet" },
            frame.standalone || !lens.can()
              ? "Pass evaluation= to show a measurement, or data= to train from here."
              : "New networks then learn from these images alone, and are tested on real data: accuracy and confidence along training beside as many random real images and all real data, by class, by network, with intervals over seeds.",
          ),
        );
        return;
      }
      const network = found ? shown(found) : 0;
      confusion.update(theme, found, network, width);
      // While the timeline plays none of this changes, and drawing it would take most of a frame.
      const now = [theme, found, less, live, network, width, full];
      if (now.every((value, i) => value === drawn[i])) return;
      drawn = now;
      table.parentElement?.toggleAttribute("hidden", !found);
      if (found) writeTable(found, less);
      curves.update(theme, found, less, live, network, width);
      const names = curves.names(found, less, live);
      fill(key, ...names.map(({ name, label }) => el("span", {}, swatch(inkOf(name, theme.dark, theme)), label)));
      change.update(theme, found, less, network, full);
      reliability.update(theme, found, network, width);
    },
  };

  /** @param {Evaluation | null} found @param {Without | null} less */
  function writeStale(found, less) {
    const out = controls.leftOut();
    const reasons = [];
    const measured = taughtAt() ?? lens.last();
    if (found && measured !== lens.iteration())
      reasons.push(
        `measured on the images of iteration ${measured.toLocaleString("en")}; shown is ${lens.iteration().toLocaleString("en")}`,
      );
    if (less && JSON.stringify(less.rows) !== JSON.stringify(out))
      reasons.push(
        `“without” left out ${less.rows.length} images; now ${out.length === 0 ? "none is" : out.length === 1 ? "1 is" : `${out.length} are`} left out`,
      );
    else if (found && !less && out.length)
      reasons.push(
        `${out.length} ${out.length === 1 ? "image is" : "images are"} left out and not yet trained without`,
      );
    stale.hidden = !reasons.length;
    write(stale, reasons.length ? `Out of date: ${reasons.join("; ")}. Train again to see what is there now.` : "");
  }
}
