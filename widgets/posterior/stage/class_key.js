// The key above the maps of a classification: classes, the boundary, and the colours of the steps.

import { classColour, isHollow } from "../../parts/colours.js";
import { el, fill } from "../../parts/dom.js";
import { swatch } from "../../parts/timeline.js";
import { stepColour } from "./stage.js";

/**
 * @param {import("../../parts/dom.js").Model} model
 * @param {ReturnType<typeof import("../class_data.js").createClassData>} data
 */
export function createClassKey(model, { content, position }) {
  const node = el("div", { class: "dw-key", "data-testid": "key" });
  let shownKey = "";
  /** @param {import("../../parts/theme.js").Theme} theme */
  function update(theme) {
    const { classes, shape, axes } = content();
    const T = model.get("steps");
    const now = JSON.stringify([classes, theme.dark, model.get("fan"), T, shape, position()]);
    if (now === shownKey) return;
    shownKey = now;
    const ramp = el("i", { class: "dw-ramp" });
    ramp.style.background = `linear-gradient(90deg, ${[0, 0.25, 0.5, 0.75, 1].map((share) => stepColour(share * T, T, theme.dark)).join(", ")})`;
    fill(
      node,
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

  return { node, update };
}
