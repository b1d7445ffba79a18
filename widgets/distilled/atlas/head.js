// Above the atlas: what the hand does, zooming, which classes are shown, and which moment is compared with.

import { MOMENT } from "../data.js";
import { classColour, isHollow } from "../../parts/colours.js";
import { el, fill } from "../../parts/dom.js";
import { icon } from "../../parts/icons.js";

/**
 * @param {import("../../parts/frame.js").Frame} frame
 * @param {import("../data.js").Data} data
 * @param {ReturnType<typeof import("./stage.js").createStage>} stage
 */
export function createHead(frame, data, stage) {
  const { model } = data;
  /**
   * @param {string} name
   * @param {string} key
   * @param {string} help
   * @param {import("../../parts/icons.js").IconName} image
   * @param {() => void} run
   * @param {string} [shown]
   */
  function tool(name, key, help, image, run, shown = key.toUpperCase()) {
    const button = el(
      "button",
      { class: "dw-button", title: `${help} (${shown})`, "aria-label": help, "data-testid": `hand-${name}` },
      icon(image),
    );
    frame.listen(button, "click", run);
    frame.keys.add(key === "+" ? ["+", "="] : key, help.toLowerCase(), run, shown);
    return button;
  }
  const hands = /** @type {const} */ ([
    ["move", "m", "Move the atlas by dragging", "move"],
    ["rectangle", "r", "Select by dragging a rectangle", "rectangle"],
    ["lasso", "l", "Select by drawing around images", "lasso"],
  ]).map(([name, key, help, image]) => ({ name, button: tool(name, key, help, image, () => stage.use(name)) }));
  const zooms = [
    tool("in", "+", "Zoom in", "plus", () => stage.zoom(1.5)),
    tool("out", "-", "Zoom out", "minus", () => stage.zoom(1 / 1.5), "−"),
    tool("fit", "0", "Show all images", "fit", () => stage.fit()),
  ];
  const turn = tool("order", "o", "Reverse the order", "order", () =>
    frame.save({ descending: !model.get("descending") }),
  );
  frame.keys.add("a", "select all images that are shown", () => stage.pick(stage.shown(), "add"), "A");
  frame.keys.add("b", "compare with this moment from now on", () => keepMoment(), "B");
  frame.keys.add("x", "flip between the two sides of a flicker", () => stage.flip(), "X");
  frame.keys.add([], "walk through the atlas when it has the focus", null, "↑ / ↓ / ← / →");
  frame.keys.add([], "select or let go of the image under the cursor", null, "Enter");
  frame.keys.add([], "with a click, a drag or an arrow: add to the selection", null, "Shift");
  frame.keys.add([], "with a click, a drag or an arrow: take out of the selection", null, "Alt");

  const flip = el("button", { class: "dw-button dw-outlined", "data-testid": "flicker" });
  frame.listen(flip, "click", () => stage.pause());
  const moments = el("select", { "data-testid": "moment", "aria-label": "Iteration compared with" });
  frame.listen(moments, "change", () => frame.select({ moment: Number(moments.value) }));
  const take = el(
    "button",
    {
      class: "dw-button dw-outlined",
      title: "Compare with the moment shown now, from now on (B)",
      "data-testid": "take-moment",
    },
    "this one",
  );
  frame.listen(take, "click", () => keepMoment());
  const moment = el("label", { class: "dw-setting" }, el("span", { class: "dw-quiet" }, "with iteration"), moments);
  const compare = el("div", { class: "dw-row dw-compare" }, moment, take, flip, stage.legend);
  const chips = el("div", {
    class: "dw-classes dw-filter",
    role: "group",
    "aria-label": "Classes shown",
    "data-testid": "classes",
  });
  const tools = el(
    "div",
    { class: "dw-tools dw-hands", role: "toolbar", "aria-label": "Atlas" },
    ...hands.map(({ button }) => button),
    el("i", { class: "dw-rule", "aria-hidden": "true" }),
    ...zooms,
    el("i", { class: "dw-rule", "aria-hidden": "true" }),
    turn,
  );
  const node = el("div", { class: "dw-head" }, tools, chips, compare);
  let built = "";
  let listed = "";

  function keepMoment() {
    if (model.get("against") !== MOMENT && data.set().iterations.length > 1) frame.save({ against: MOMENT });
    frame.select({ moment: data.selection().iteration });
  }

  /** @param {number} k @param {boolean} more keep the others */
  function choose(k, more) {
    const name = data.content().classes[k];
    const kept = /** @type {string[]} */ (model.get("classes"));
    const alone = kept.length === 1 && kept[0] === name;
    const next = more
      ? kept.includes(name)
        ? kept.filter((one) => one !== name)
        : [...kept, name]
      : alone
        ? []
        : [name];
    frame.save({ classes: next });
  }

  return {
    node,
    /** @param {import("../../parts/theme.js").Theme} theme */
    update(theme) {
      const { classes } = data.content();
      turn.setAttribute("aria-pressed", String(model.get("descending")));
      for (const { name, button } of hands) button.setAttribute("aria-pressed", String(stage.tool() === name));
      const now = JSON.stringify([classes, theme.dark]);
      if (now !== built) {
        built = now;
        fill(
          chips,
          ...classes.map((name, k) => {
            const dot = el("i", { "aria-hidden": "true" });
            dot.style.borderColor = classColour(k, theme.dark);
            dot.style.backgroundColor = isHollow(k) ? "transparent" : classColour(k, theme.dark);
            const chip = el(
              "button",
              { class: "dw-class", "data-class": k, title: `Show only ${name}; with Shift also others` },
              dot,
              el("span", {}, name),
            );
            chip.addEventListener("click", (event) =>
              frame.guard(() => choose(k, event.shiftKey || event.ctrlKey || event.metaKey)),
            );
            return chip;
          }),
        );
      }
      const kept = new Set(model.get("classes"));
      [...chips.children].forEach((chip, k) => chip.setAttribute("aria-pressed", String(kept.has(classes[k]))));
      const against = model.get("against");
      const one = data.set();
      const list = JSON.stringify(one.iterations);
      if (list !== listed) {
        listed = list;
        fill(
          moments,
          ...one.iterations.map((iteration) => el("option", { value: iteration }, iteration.toLocaleString("en"))),
        );
      }
      moments.value = String(data.selection().moment);
      moment.hidden = take.hidden = against !== MOMENT;
      flip.hidden = against === "nothing" || model.get("compare") !== "flicker";
      flip.textContent = stage.paused() ? "alternate" : "hold still";
      flip.title = "Alternate or hold still; X flips by hand";
      compare.hidden = moment.hidden && flip.hidden && model.get("compare") !== "difference";
    },
  };
}
