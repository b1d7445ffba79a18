// An explorer explains itself: a few steps, one sentence each, with all but the part spoken of dimmed.

import { el, fill, write } from "./dom.js";
import { icon } from "./icons.js";

const PATIENCE = 500; // ms that the kernel has to answer; then the sentences that are here do

/** One step; mirrors `Step` in widgets/core/explaining.py.
 * @typedef {{ part: string, text: string, state: Record<string, any>, fold: string }} Step */

/**
 * @param {import("./frame.js").Frame} frame
 */
export function createExplain(frame) {
  const { model, root } = frame;
  const steps = () => /** @type {Step[]} */ (model.get("guide") ?? []);
  const count = el("span", { class: "dw-quiet", "data-testid": "explain-count" });
  const text = el("p", { class: "dw-explain-text", "data-testid": "explain-text", "aria-live": "polite" });
  const button = (/** @type {string} */ id, /** @type {string} */ label, /** @type {() => void} */ run) => {
    const node = el("button", { class: "dw-button dw-outlined", "data-testid": `explain-${id}` }, label);
    frame.listen(node, "click", run);
    return node;
  };
  const back = button("back", "back", () => go(at - 1));
  const next = button("next", "next", () => (at + 1 < steps().length ? go(at + 1) : end()));
  const close = el(
    "button",
    { class: "dw-button", title: "End the explanation (Esc)", "aria-label": "End the explanation" },
    icon("close"),
  );
  frame.listen(close, "click", () => end());
  const node = el(
    "section",
    { class: "dw-explain", "data-testid": "explain", "aria-label": "Explanation", hidden: true },
    count,
    text,
    el("div", { class: "dw-tools" }, back, next, close),
  );
  frame.listen(node, "keydown", (/** @type {KeyboardEvent} */ event) => {
    const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!move) return;
    event.preventDefault();
    event.stopPropagation();
    if (at + move >= 0 && at + move < steps().length) go(at + move);
  });

  let at = -1;
  let waiting = 0;
  /** @type {Record<string, any>} what the view was before */
  let before = {};
  /** @type {Element[]} */
  let dimmed = [];

  function begin() {
    clearTimeout(waiting);
    waiting = 0;
    if (at >= 0 || !root.isConnected) return;
    if (!steps().length) return void frame.say("this record has nothing to explain step by step");
    for (const trait of new Set(steps().flatMap(({ state }) => Object.keys(state)))) before[trait] = model.get(trait);
    root.setAttribute("data-explaining", "true");
    node.hidden = false;
    go(0);
    next.focus({ preventScroll: true });
  }

  /** @param {number} k */
  function go(k) {
    at = k;
    const { state, fold, text: said } = steps()[k];
    frame.locally(() => {
      const { selection, ...rest } = state;
      frame.save({ ...rest, ...(selection ? { selection: { ...model.get("selection"), ...selection } } : {}) });
    });
    const line = fold && root.querySelector(`[data-testid="fold-${fold}"][aria-expanded="false"]`);
    if (line) /** @type {HTMLElement} */ (line).click();
    write(count, `${k + 1} of ${steps().length}`);
    write(text, said);
    back.disabled = k === 0;
    write(next, k + 1 < steps().length ? "next" : "done");
    frame.relayout();
    // What is spoken of may be made only by the drawing that the new state asks for.
    requestAnimationFrame(() => requestAnimationFrame(() => at === k && dim(steps()[k].part)));
  }

  /** @param {string} part */
  function dim(part) {
    light();
    const spoken = root.querySelector(`[data-testid="${CSS.escape(part)}"]`);
    if (!spoken) return;
    spoken.setAttribute("data-spoken", "true");
    for (let one = spoken; one !== root && one.parentElement; one = one.parentElement) {
      for (const other of one.parentElement.children) {
        if (other === one || other === node || other.contains(node) || other.matches("[aria-live], .dw-tooltip"))
          continue;
        if (one === spoken && one.matches("canvas") && other.matches("canvas")) continue; // layers of one picture
        other.classList.add("dw-dimmed");
        dimmed.push(other);
      }
    }
    if (frame.timeline.contains(spoken)) return; // it is always in view
    const { top, bottom } = spoken.getBoundingClientRect();
    if (bottom < 80 || top > globalThis.innerHeight - 120) spoken.scrollIntoView({ block: "center" });
  }

  function light() {
    for (const one of dimmed.splice(0)) one.classList.remove("dw-dimmed");
    root.querySelector("[data-spoken]")?.removeAttribute("data-spoken");
  }

  function end() {
    if (at < 0) return;
    at = -1;
    light();
    root.removeAttribute("data-explaining");
    node.hidden = true;
    frame.locally(() => frame.save(before));
    before = {};
    frame.resume();
    frame.relayout();
    fill(text);
  }
  frame.onDispose(end);

  return {
    node,
    on: () => at >= 0,
    end,
    /** Begin, or end what is under way. Where a kernel answers, the sentences are first brought up to date. */
    toggle() {
      if (at >= 0) return end();
      if (frame.standalone) return begin();
      if (waiting) return undefined;
      waiting = /** @type {any} */ (setTimeout(() => frame.guard(begin), PATIENCE));
      return frame.requests.ask("explain", {}, () => waiting && begin(), { silent: true });
    },
  };
}
