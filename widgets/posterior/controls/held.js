// The features that are not drawn: each is held at its median, or where its slider says.

import { el, fill, write } from "../../parts/dom.js";
import { createSlider } from "../../parts/slider.js";
import { short } from "../../parts/numbers.js";

/**
 * @param {import("../../parts/frame.js").Frame} frame
 * @param {import("./controls.js").Refits} refits
 * @param {string} everywhere of what a held feature is one for all, in words
 */
export function createHeld(frame, refits, everywhere) {
  const title = el("summary", {});
  const sliders = el("div", { class: "dw-sliders" });
  const node = el("details", { class: "dw-others", "data-testid": "held", hidden: true }, title, sliders);
  /** @type {{ feature: import("../content.js").Feature, slider: ReturnType<typeof createSlider> }[]} */
  let held = [];
  let built = "";

  /** @param {import("../content.js").Feature[]} features */
  function build(features) {
    held = features.map((feature, k) => ({
      feature,
      slider: createSlider(frame, {
        name: `held-${k}`,
        label: feature.name,
        help: `${feature.name} of every place on the ${everywhere}; asks Python`,
        move: (value) => refits.ask({ held: { ...refits.current("held"), [feature.name]: value } }),
        reset: () =>
          refits.ask({
            held: Object.fromEntries(Object.entries(refits.current("held")).filter(([name]) => name !== feature.name)),
          }),
      }),
    }));
    fill(sliders, ...held.map(({ slider }) => slider.node));
  }

  return {
    node,
    /** @param {import("../content.js").Feature[]} rest @param {boolean} shown @param {string} disabled why, or empty */
    update(rest, shown, disabled) {
      node.hidden = !rest.length || !shown;
      if (node.hidden) return;
      const now = JSON.stringify(rest);
      if (now !== built) {
        built = now;
        build(rest);
      }
      const chosen = refits.current("held");
      const moved = rest.filter(({ name }) => name in chosen);
      write(
        title,
        `${rest.length} other feature${rest.length > 1 ? "s" : ""} held at ${moved.length ? `their medians, except ${moved.map(({ name }) => `${name} ${short(chosen[name])}`).join(", ")}` : "their medians"}`,
      );
      for (const { feature, slider } of held)
        slider.update({
          low: feature.low,
          high: feature.high === feature.low ? feature.low + 1 : feature.high,
          value: chosen[feature.name] ?? feature.median,
          normal: feature.name in chosen ? feature.median : null,
          disabled,
        });
    },
  };
}
