// A labelled slider over a number, straight or logarithmic, with the number beside it and a way back to where it was.

import { el, write } from "./dom.js";
import { short } from "./numbers.js";

/**
 * @typedef {{ low: number, high: number, value: number, normal: number | null, log?: boolean, whole?: boolean,
 *   disabled?: string, text?: string }} Position
 */

const FINE = 400; // positions of a slider over real numbers

/**
 * @param {import("./frame.js").Frame} frame
 * @param {{ name: string, label: string, symbol?: string, help: string, move: (value: number) => void, reset?: ()
 *   => void, back?: string, touch?: (on: boolean) => void }} what
 */
export function createSlider(frame, { name, label, symbol, help, move, reset, back = "as fitted", touch }) {
  const input = el("input", { type: "range", "data-testid": `slider-${name}`, "aria-label": label, title: help });
  const readout = el("output", { class: "dw-slider-value", "data-testid": `value-${name}` });
  const undo = el(
    "button",
    {
      class: "dw-button dw-undo",
      title: `${label} ${back}`,
      "aria-label": `${label} ${back}`,
      "data-testid": `reset-${name}`,
      hidden: true,
    },
    "↺",
  );
  const caption = el(
    "span",
    { class: "dw-slider-label" },
    symbol && el("i", { class: "dw-symbol" }, symbol),
    symbol ? " " : "",
    label,
  );
  const node = el("div", { class: "dw-slider", "data-slider": name, title: help }, caption, input, readout, undo);
  /** @type {Position} */
  let now = { low: 0, high: 1, value: 0, normal: null };

  const from = () => {
    const share = Number(input.value);
    if (now.whole) return share;
    return now.log ? now.low * (now.high / now.low) ** (share / FINE) : now.low + (share / FINE) * (now.high - now.low);
  };
  const to = (/** @type {number} */ value) => {
    if (now.whole) return value;
    return Math.round(
      FINE *
        (now.log ? Math.log(value / now.low) / Math.log(now.high / now.low) : (value - now.low) / (now.high - now.low)),
    );
  };
  frame.listen(input, "input", () => {
    const value = from();
    move(now.whole ? value : Number(value.toPrecision(4)));
  });
  if (touch) {
    for (const [type, on] of /** @type {const} */ ([
      ["pointerenter", true],
      ["pointerleave", false],
      ["focusin", true],
      ["focusout", false],
    ]))
      frame.listen(node, type, () => touch(on));
  }
  if (reset) frame.listen(undo, "click", () => (reset(), input.focus({ preventScroll: true })));
  // The arrow keys belong to the slider that has the focus, not to the timeline.
  frame.listen(input, "keydown", (/** @type {KeyboardEvent} */ event) => {
    if (/^Arrow|^Home$|^End$|^Page/.test(event.key)) event.stopPropagation();
  });

  return {
    node,
    input,
    /** @param {Position} next */
    update(next) {
      now = next;
      const [low, high] = next.whole ? [next.low, next.high] : [0, FINE];
      if (input.min !== String(low)) input.min = String(low);
      if (input.max !== String(high)) input.max = String(high);
      const place = String(Math.max(low, Math.min(high, to(next.value))));
      if (input.value !== place) input.value = place;
      const text = next.text ?? short(next.value);
      write(readout, text);
      input.setAttribute("aria-valuetext", text);
      input.disabled = Boolean(next.disabled);
      node.title = next.disabled || help;
      node.toggleAttribute("data-disabled", Boolean(next.disabled));
      undo.hidden = next.normal === null || Boolean(next.disabled);
    },
  };
}
