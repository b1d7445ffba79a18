// The ordinary Gaussian process that a step is the same thing as: in a sentence, as differences, and checked.

import { el, fill, write } from "../../parts/dom.js";
import { short } from "../../parts/numbers.js";
import { createFold } from "../../parts/fold.js";

/** @typedef {{ approach: string, mean: number, std: number | null }} Checked */

/**
 * @param {import("../../parts/frame.js").Frame} frame
 * @param {import("../data.js").Data} data
 * @param {() => void} check ask Python
 */
export function createSame(frame, data, check) {
  const { model } = frame;
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
  const sameBlock = createFold(
    frame,
    { name: "same", title: "The ordinary process that is the same thing" },
    what,
    difference,
    el(
      "div",
      { class: "dw-row" },
      el("label", { class: "dw-setting" }, overlay, el("span", {}, "overlay it (dashed)")),
      ask,
    ),
  );
  /**
   * @param {import("../content.js").Approach} approach
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

  return {
    node: sameBlock.node,
    /**
     * @param {import("../data.js").Seen[]} all
     * @param {number} index
     * @param {Record<string, { mean: number, std: number }>} same largest differences to the ordinary process
     * @param {Checked[]} checked
     */
    update(all, index, same, checked) {
      const T = data.steps();
      sameBlock.node.hidden = !all[0].filter;
      overlay.checked = model.get("equivalent");
      ask.hidden = frame.standalone || !data.content().live;
      write(what, all.map((seen) => sentence(seen.approach, index === T)).join(" "));
      fill(
        difference,
        ...data
          .approaches()
          .flatMap((approach) => [
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
}
