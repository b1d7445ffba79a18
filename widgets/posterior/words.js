// What a regression view says in words: the key above the plot, the caption, and the table of what is seen.

import { stepColour } from "./stage/stage.js";
import { el, fill } from "../parts/dom.js";
import { short } from "../parts/numbers.js";
import { swatch } from "../parts/timeline.js";

const below = (/** @type {number} */ value) => [...String(value)].map((digit) => "₀₁₂₃₄₅₆₇₈₉"[Number(digit)]).join("");

/**
 * @param {import("../parts/dom.js").Model} model
 * @param {import("./data.js").Data} data
 */
export function createWords(model, data) {
  const { content } = data;
  const key = el("div", { class: "dw-key", "data-testid": "key" });
  let shownKey = "";
  const hasLimit = () => data.seen(data.approaches()[0]).means.length > data.steps();

  /**
   * @param {import("../parts/theme.js").Theme} theme
   * @param {import("./data.js").Seen[]} all
   * @param {number} index
   * @param {boolean} partial
   */
  function legend(theme, all, index, partial) {
    const T = data.steps();
    const ink = stepColour(index, T, theme.dark);
    const parts = [
      partial ? "partial residuals" : "data",
      index === T ? "limit" : `step ${index + 1}`,
      model.get("fan"),
      model.get("targets") &&
        !partial &&
        content().curve &&
        index > 0 &&
        all.some(({ approach }) => approach === "data"),
      model.get("equivalent"),
      content().test && (content().test?.true || !partial),
      hasLimit(),
      theme.dark,
      T,
      content().test?.true,
    ];
    const now = JSON.stringify(parts);
    if (now === shownKey) return;
    shownKey = now;
    const dot = (/** @type {string} */ colour, hollow = false) => {
      const node = el("i", { class: "dw-mark" });
      node.style.borderColor = colour;
      node.style.background = hollow ? "transparent" : colour;
      return node;
    };
    const ramp = el("i", { class: "dw-ramp" });
    ramp.style.background = `linear-gradient(90deg, ${[0, 0.25, 0.5, 0.75, 1].map((share) => stepColour(share * T, T, theme.dark)).join(", ")})`;
    fill(
      key,
      el("span", {}, dot(theme.ink), String(parts[0])),
      el(
        "span",
        {},
        swatch({ colour: ink }),
        `mean of ${parts[1] === "limit" ? "the limit" : parts[1]}, ${content().curve ? "bands ±1 σ and ±2 σ" : "±2 σ"}`,
      ),
      Boolean(parts[2]) &&
        T > 1 &&
        content().curve &&
        el("span", {}, ramp, `f₁ … f${below(T)}${hasLimit() ? ", f∞ dotted" : ""}`),
      Boolean(parts[3]) && el("span", {}, dot(ink, true), "what this step was fitted to"),
      Boolean(parts[5]) &&
        (content().test?.true
          ? el("span", {}, swatch({ colour: theme.quiet, dash: [6, 4] }), "truth")
          : el("span", {}, dot(theme.quiet), "test rows")),
      Boolean(parts[4]) &&
        el("span", {}, swatch({ colour: theme.ink, dash: [7, 5] }), "ordinary process with the same mean"),
    );
  }

  /**
   * @param {import("./data.js").Seen[]} all
   * @param {number} index
   */
  function caption(all, index) {
    const T = data.steps();
    const when = index === T ? "In the limit" : `Step ${index + 1} of ${T}`;
    const parts = all.map((seen) => {
      const name = `${seen.approach}-centric`;
      const bits = [];
      if (seen.testError) {
        const inside = seen.testError.slice(0, T);
        const best = inside.indexOf(Math.min(...inside));
        bits.push(
          `${content().test?.true ? "RMSE to the truth" : "test RMSE"} ${short(seen.testError[index])}, smallest at step ${best + 1} (${short(inside[best])})`,
        );
      } else if (seen.trainError) bits.push(`training RMSE ${short(seen.trainError[index])}`);
      if (seen.filter) {
        const alive = seen.filter.kept[index].reduce((count, value) => count + Number(value > 0.01), 0);
        bits.push(`${alive} direction${alive === 1 ? "" : "s"} keep${alive === 1 ? "s" : ""} more than 1 %`);
      }
      return `${name}: ${bits.join("; ")}`;
    });
    return `${when}. ${parts.join(" · ")}`;
  }

  return { node: key, legend, caption };
}

/**
 * What is seen, as numbers; the same columns as `.data()` in Python.
 * @param {import("./data.js").Data} data
 * @returns {import("../parts/frame.js").Table}
 */
export function tableOf(data) {
  const { content } = data;
  const index = data.position();
  const grid = data.numbers(content().grid).data;
  return {
    columns: ["approach", content().features[content().axis].name, "mean", "std"],
    rows: data.approaches().flatMap((approach) => {
      const seen = data.seen(approach);
      const std = seen.std(index);
      return Array.from(grid, (x, j) => [approach, x, seen.means[index][j], std[j]]);
    }),
  };
}
