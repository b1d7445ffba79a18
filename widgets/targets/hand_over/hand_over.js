// Who makes which step: the base hands over to the student, with samples, diversity, quality and calls for each choice.

import { createHandOverMeasures } from "./measures.js";
import { createHandOverSamples } from "./samples.js";
import { alike } from "../../parts/code.js";
import { runColour } from "../../parts/colours.js";
import { el, fill, write } from "../../parts/dom.js";
import { short } from "../../parts/numbers.js";
import { createSlider } from "../../parts/slider.js";

/** Values for each number of first steps, or for each single step; index 0 is the student alone.
 * @typedef {{ values: (number | null)[], low: (number | null)[], high: (number | null)[] }} Sweep */

/** @typedef {"switches" | "positions"} Way */

/** What is known of a hand-over; mirrors `handed_content` in content.py.
 * @typedef {object} HandOver
 * @property {string} base
 * @property {string} student
 * @property {number} steps K
 * @property {number[]} times (K + 1)
 * @property {number} count seeds that were sampled
 * @property {number} shown seeds whose places are here
 * @property {number} pictured seeds whose pictures are here
 * @property {boolean} same_seeds they are the first seeds of the runs
 * @property {string | null} condition int32 (n)
 * @property {string[]} classes
 * @property {string} reference what precision and recall compare with; "" where that is not known
 * @property {Record<Way, string | null>} places float32 (K + 1, n, 2) in the plane of the runs
 * @property {Record<Way, string | null>} pictures uint8 (K + 1, m, channels, height, width)
 * @property {string[]} order of the measures
 * @property {Record<string, Record<Way, Sweep>>} measures
 * @property {Record<Way, [number[], number[]] | null>} calls of the base and of the student, per seed
 * @property {{ sampling: Record<string, any>, adapter_scale: number }} made how the runs were made when it was computed
 */

/**
 * @param {import("../../parts/frame.js").Frame} frame
 * @param {import("../scene.js").Scene} scene
 */
export function createHandOver(frame, scene) {
  const { model } = frame;
  const known = () => /** @type {HandOver | null} */ (model.get("hand_over")?.steps ? model.get("hand_over") : null);
  const offered = () =>
    /** @type {import("../controls/controls.js").Offer["hand_over"]} */ (
      model.get("offer")?.hand_over ?? { base: null, students: [] }
    );
  const can = () => !frame.standalone && offered().base !== null && offered().students.length > 0;
  const way = () => /** @type {Way} */ (model.get("sharing") === "one step" ? "positions" : "switches");
  const chosen = () => Math.max(0, Math.min(known()?.steps ?? 0, scene.selection().switch ?? 1));
  const choose = (/** @type {number} */ value) => {
    frame.select({ switch: value });
    const found = known();
    if (found) frame.say(inWords(found, way(), value));
  };

  const modes = el("div", { class: "dw-segments", role: "radiogroup", "aria-label": "What the base makes" });
  const buttons = /** @type {const} */ ([
    ["first steps", "the first steps", "The base makes the first k steps, then hands over"],
    [
      "one step",
      "only one step",
      "The base makes a single step, the student all others: which step had lost what comes back?",
    ],
  ]).map(([value, label, help]) => {
    const one = el(
      "button",
      { class: "dw-segment", role: "radio", "data-testid": `sharing-${value.replace(" ", "-")}`, title: help },
      label,
    );
    frame.listen(one, "click", () => frame.save({ sharing: value }));
    frame.listen(one, "keydown", (/** @type {KeyboardEvent} */ event) => {
      if (!/^Arrow/.test(event.key)) return;
      event.preventDefault();
      event.stopPropagation();
      frame.save({ sharing: value === "one step" ? "first steps" : "one step" });
      buttons.find((other) => other.value !== value)?.one.focus();
    });
    return { value, one };
  });
  modes.append(...buttons.map(({ one }) => one));
  const cells = el("div", { class: "dw-steps", role: "group", "aria-label": "Who makes each step" });
  const slider = createSlider(frame, {
    name: "switch",
    label: "base makes",
    help: "How many steps the base makes, or which one; 0: the student alone",
    move: choose,
  });
  const said = el("p", { class: "dw-shared", "data-testid": "shared", "aria-live": "off" });
  const old = el("p", { class: "dw-note", "data-testid": "hand-over-stale" });
  const measures = createHandOverMeasures(frame, choose);
  const samples = createHandOverSamples(frame, scene);
  const body = el(
    "div",
    { class: "dw-handed" },
    el(
      "div",
      { class: "dw-handed-top" },
      el("div", { class: "dw-row" }, el("span", { class: "dw-quiet" }, "the base makes"), modes, slider.node),
      cells,
      said,
      old,
    ),
    el("div", { class: "dw-handed-views" }, samples.node, measures.node),
  );
  const student = el("select", { "data-testid": "hand-over-student", "aria-label": "student" });
  const ask = el("button", {
    class: "dw-button dw-outlined dw-main",
    "data-testid": "hand-over-compute",
    title: "Samples with every way of sharing the steps, from the noise of the runs",
  });
  const why = el("p", {});
  const asking = el(
    "div",
    { class: "dw-ask", "data-testid": "hand-over-ask" },
    why,
    el("div", { class: "dw-row" }, student, ask),
  );
  const node = el("div", { class: "dw-hand-over", "data-testid": "hand-over" }, asking, body);
  let busy = false;
  frame.listen(ask, "click", () => {
    busy = true;
    const over = () => {
      busy = false;
      frame.invalidate();
    };
    frame.requests.ask("hand-over", { student: student.value }, over, { failed: over });
    frame.invalidate();
  });
  let built = "";
  let listed = "";
  frame.watch(["sharing"], () => frame.invalidate());

  /** @param {HandOver} found @param {import("../../parts/theme.js").Theme} theme */
  function stepCells(found, theme) {
    const state = JSON.stringify([found.steps, found.times, found.base, found.student]);
    if (state !== built) {
      built = state;
      fill(
        cells,
        ...Array.from({ length: found.steps }, (_, i) => {
          const one = el(
            "button",
            { class: "dw-step", "data-testid": `step-${i + 1}` },
            el("b", {}),
            el("span", { class: "dw-fine" }, `${i + 1}: ${short(found.times[i])} → ${short(found.times[i + 1])}`),
          );
          one.addEventListener("click", () =>
            frame.guard(() => choose(chosen() === i + 1 ? (way() === "switches" ? i : 0) : i + 1)),
          );
          return one;
        }),
      );
    }
    const at = chosen();
    [...cells.children].forEach((child, i) => {
      const one = /** @type {HTMLElement} */ (child);
      const base = way() === "switches" ? i < at : i + 1 === at;
      one.style.setProperty("--dw-maker", runColour(base ? "teacher" : "student", 0, theme.dark));
      one.dataset.by = base ? "base" : "student";
      const name = base ? found.base : found.student;
      write(/** @type {Element} */ (one.firstElementChild), name);
      one.title = `Step ${i + 1} of ${found.steps}, t = ${short(found.times[i])} to ${short(found.times[i + 1])}: made by ${name}. A click changes who makes it.`;
      one.setAttribute("aria-pressed", String(base));
    });
  }

  return {
    node,
    available: () => known() !== null || can(),
    caption() {
      const found = /** @type {HandOver} */ (known());
      return `${found.base} hands over to ${found.student}, which has ${found.steps} ${found.steps === 1 ? "step" : "steps"}. ${found.count.toLocaleString("en")} seeds for each way of sharing them`;
    },
    /**
     * What is seen, as numbers; the same columns as `.data()` in Python.
     * @returns {import("../../parts/frame.js").Table}
     */
    table() {
      const found = /** @type {HandOver} */ (known());
      const by = way();
      const names = Object.keys(found.measures);
      const calls = found.calls[by];
      const bounded = (/** @type {string} */ name) => found.measures[name][by].low.some((value) => value !== null);
      return {
        columns: [
          "by",
          "at",
          "shown",
          ...names.flatMap((name) => [name, ...(bounded(name) ? [`${name} low`, `${name} high`] : [])]),
          ...(calls ? ["base calls", "student calls"] : []),
        ],
        rows: Array.from({ length: found.steps + 1 }, (_, k) => [
          model.get("sharing"),
          k,
          k === chosen() ? "yes" : "no",
          ...names.flatMap((name) => {
            const { values, low, high } = found.measures[name][by];
            return [values[k], ...(bounded(name) ? [low[k], high[k]] : [])];
          }),
          ...(calls ? [calls[0][k], calls[1][k]] : []),
        ]),
      };
    },
    /**
     * @param {import("../../parts/theme.js").Theme} theme
     * @param {number} width
     * @param {number} most px of height
     */
    update(theme, width, most) {
      const found = known();
      body.hidden = found === null;
      const { base, students } = offered();
      const state = JSON.stringify(students);
      if (state !== listed) {
        listed = state;
        fill(student, ...students.map((name) => el("option", { value: name }, name)));
      }
      const stale =
        found !== null &&
        !alike(found.made, { sampling: model.get("sampling"), adapter_scale: model.get("adapter_scale") });
      asking.hidden = found !== null && !(can() && (stale || students.length > 1 || busy));
      student.hidden = students.length < 2;
      ask.hidden = !can();
      ask.disabled = busy;
      write(ask, busy ? "sampling …" : found ? "compute it again" : "compute the hand-over");
      const target = students.length === 1 ? students[0] : "a student";
      write(
        why,
        found
          ? ""
          : can()
            ? `What comes out when ${base} makes some of the steps and ${target} the others is not computed yet: it takes one run for each way of sharing them.`
            : "What happens when the base hands over to a student is not known here: pass hand_over=, or the models of a teacher and a student to compute it.",
      );
      why.hidden = found !== null;
      if (!found) return;
      old.hidden = !stale;
      write(old, "The runs are made otherwise now than when this was computed.");
      for (const { value, one } of buttons) {
        const on = model.get("sharing") === value;
        one.setAttribute("aria-checked", String(on));
        one.tabIndex = on ? 0 : -1;
      }
      const at = chosen();
      const text = way() === "switches" ? `${at} of ${found.steps}` : at === 0 ? "none" : `step ${at}`;
      slider.update({ low: 0, high: found.steps, value: at, normal: null, whole: true, text });
      stepCells(found, theme);
      write(said, inWords(found, way(), at));
      const narrow = width < 620;
      body.toggleAttribute("data-stacked", narrow);
      const left = narrow ? width : Math.floor((width - 18) * 0.54);
      samples.update(theme, found, way(), at, left, frame.room(samples.node, 170, most) - 26);
      measures.update(theme, found, way(), at, narrow ? width : width - 18 - left);
    },
  };
}

/**
 * Who makes what, and what that costs.
 * @param {HandOver} found
 * @param {Way} way
 * @param {number} at
 */
export function inWords(found, way, at) {
  const { base, student, steps } = found;
  const range = (/** @type {number} */ from, /** @type {number} */ to) =>
    from === to ? `step ${from}` : `steps ${from}–${to}`;
  let who;
  if (at === 0) who = `${student} makes all ${steps} steps`;
  else if (way === "switches")
    who =
      at === steps
        ? `${base} makes all ${steps} steps`
        : `${base} makes ${range(1, at)}, ${student} ${range(at + 1, steps)}`;
  else who = `${base} makes step ${at}, ${student} the others`;
  const calls = found.calls[way];
  if (!calls) return `${who}.`;
  const [own, theirs] = [calls[0][at], calls[1][at]];
  return `${who}: ${own + theirs} ${own + theirs === 1 ? "call" : "calls"} per seed, ${own} of ${base} and ${theirs} of ${student}.`;
}
