// Above the stage: tabs of the views, the runs with their colours (a click counts the timeline in their steps), and a
// key.

import { classColour, isHollow } from "../../parts/colours.js";
import { el, fill } from "../../parts/dom.js";
import { lineStyle } from "../../parts/timeline.js";

const TABS = /** @type {const} */ ([
  ["plane", "Plane", "Seeds as points that move"],
  ["strip", "Strip", "What is believed at each step, step by step"],
  ["hand-over", "Hand-over", "The base makes some of the steps, the student the others"],
]);

/**
 * @param {import("../../parts/frame.js").Frame} frame
 * @param {import("../scene.js").Scene} scene
 * @param {() => boolean} handsOver there is something to show of a hand-over
 */
export function createHead(frame, scene, handsOver) {
  const { model } = scene;
  const tabs = TABS.map(([name, label, help], k) => {
    const tab = el(
      "button",
      { class: "dw-button dw-tab", role: "tab", title: `${help} (${k + 1})`, "data-testid": `tab-${name}` },
      label,
    );
    frame.listen(tab, "click", () => frame.save({ view: name }));
    frame.keys.add(
      String(k + 1),
      `${label.toLowerCase()}: ${help.toLowerCase()}`,
      () => tab.hidden || frame.save({ view: name }),
      String(k + 1),
    );
    return { name, tab };
  });
  const runs = el("div", { class: "dw-classes dw-runs", role: "group", "aria-label": "Runs", "data-testid": "runs" });
  const key = el("div", { class: "dw-key", "data-testid": "key" });
  const node = el(
    "div",
    { class: "dw-head" },
    el("div", { class: "dw-tabs", role: "tablist", "aria-label": "Views" }, ...tabs.map(({ tab }) => tab)),
    runs,
    key,
  );
  let built = "";
  let keyed = "";

  return {
    node,
    /** @param {import("../../parts/theme.js").Theme} theme */
    update(theme) {
      const view = model.get("view");
      for (const { name, tab } of tabs) {
        tab.setAttribute("aria-selected", String(name === view));
        tab.hidden = name === "hand-over" && !handsOver() && view !== name;
      }
      const all = scene.runs();
      const now = JSON.stringify([all.map(({ name, role, other, steps }) => [name, role, other, steps]), theme.dark]);
      if (now !== built) {
        built = now;
        fill(
          runs,
          ...all.map((one) => {
            const line = el("i", { "aria-hidden": "true" });
            line.style.borderColor = scene.colour(one, theme.dark);
            line.style.borderTopStyle = lineStyle(scene.dash(one));
            const chip = el(
              "button",
              { class: "dw-class", "data-run": one.name, title: `Count the timeline in the steps of ${one.name}` },
              line,
              el("span", {}, one.name),
              el("span", { class: "dw-quiet" }, `${one.steps} ${one.steps === 1 ? "step" : "steps"}`),
            );
            chip.addEventListener("click", () => frame.guard(() => scene.count(one)));
            return chip;
          }),
        );
      }
      runs.hidden = all.length < 2;
      [...runs.children].forEach((chip, k) => chip.setAttribute("aria-pressed", String(all[k] === scene.run())));
      showKey(theme);
    },
  };

  /** @param {import("../../parts/theme.js").Theme} theme */
  function showKey(theme) {
    const [view, show, density, field, colour, paths, ghost] = [
      "view",
      "show",
      "density",
      "field",
      "colour",
      "paths",
      "ghost",
    ].map((name) => model.get(name));
    const { ground, classes, kind, condition } = scene.content();
    const pinned = scene.seeds().length > 0 || (model.get("launches")?.launches?.length ?? 0) > 0;
    const now = JSON.stringify([view, show, density, field, colour, paths, ghost, pinned, theme.dark, classes, kind]);
    if (now === keyed) return;
    keyed = now;
    /** @type {HTMLElement[]} */
    const items = [];
    const add = (/** @type {HTMLElement} */ mark, /** @type {string} */ text) => items.push(el("span", {}, mark, text));
    if (view === "plane") {
      if (density && ground.density)
        add(
          el("i", { class: "dw-shade-mark" }),
          show === "targets" ? "density of the data" : "density of data as noisy as the states",
        );
      if (field !== "nothing")
        add(
          el("i", { class: "dw-arrow-mark" }, "→"),
          field === "velocity" ? "−dx/dt, where the sampler goes" : "score ∇ log p",
        );
      if (show === "states" && scene.runs().some(scene.shrunk))
        items.push(el("span", {}, "states drawn over √(α² + σ²)"));
      if (paths && pinned) {
        add(el("i", { class: "dw-swatch" }), "path of x_t");
        const dotted = el("i", { class: "dw-swatch" });
        dotted.style.borderTopStyle = "dotted";
        add(dotted, "path of x̂₀");
      }
      if (colour === "class" && condition !== null) {
        classes.forEach((name, k) => {
          const dot = el("i", { class: "dw-mark" });
          dot.style.borderColor = classColour(k, theme.dark);
          dot.style.backgroundColor = isHollow(k) ? "transparent" : classColour(k, theme.dark);
          add(dot, name);
        });
      }
    } else if (view === "strip" && kind === "images") {
      items.push(
        el(
          "span",
          {},
          ghost
            ? "large: x̂₀, what the model believes; faint below: x_t, the noisy state"
            : "x̂₀, what the model believes at each step",
        ),
      );
    }
    fill(key, ...items);
    key.hidden = items.length === 0;
  }
}
