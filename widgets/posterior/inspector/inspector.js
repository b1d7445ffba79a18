// Why a step looks as it does: filter, effective noise, errors, evidence, and the ordinary process that is the same
// thing.

import { approachColour, stepColour } from "../stage/stage.js";
import { createErrors } from "./errors.js";
import { createEvidence } from "./evidence.js";
import { createSame } from "./same.js";
import { createSpectrum } from "./spectrum.js";

/**
 * @param {import("../../parts/frame.js").Frame} frame
 * @param {import("../data.js").Data} data
 * @param {() => void} check ask Python
 */
export function createInspector(frame, data, check) {
  const goTo = (/** @type {number} */ x) => {
    const t = Math.max(1, Math.round(x));
    frame.select({
      step:
        t > data.steps() ? (data.seen(data.approaches()[0]).means.length > data.steps() ? "limit" : data.steps()) : t,
    });
  };
  const spectrum = createSpectrum(frame, data);
  const errors = createErrors(frame, data, goTo);
  const evidence = createEvidence(frame, data, goTo);
  const same = createSame(frame, data, check);
  frame.inspector.append(...spectrum.nodes, errors.node, evidence.node);

  return {
    /** The block that stands beside the formula. */
    same: same.node,
    /**
     * @param {import("../../parts/theme.js").Theme} theme
     * @param {number} index
     * @param {Record<string, { mean: number, std: number }>} differences largest ones to the ordinary process
     * @param {import("./same.js").Checked[]} checked
     * @param {number} width
     */
    update(theme, index, differences, checked, width) {
      const all = data.approaches().map(data.seen);
      const T = data.steps();
      const dash = (/** @type {number} */ k) => (k ? [5, 3] : []);
      const ink = (/** @type {number} */ k) =>
        all.length > 1 ? approachColour(all[k].approach, theme.dark) : stepColour(index, T, theme.dark);
      spectrum.update(theme, all, index, width, ink);
      errors.update(theme, all, index, all[0].means.length > T, width, ink, dash);
      evidence.update(theme, all, index, width, ink, dash);
      same.update(all, index, differences, checked);
    },
  };
}
