// The status line: what is computed right now, what the numbers rest on, and errors that would otherwise vanish.

import { el, fill, write } from "./dom.js";

/** @typedef {{ name: string, fraction: number | null, text?: string, stop: (() => void) | null }} Computing */

/** The status line.
 * @typedef {{ node: HTMLElement, fail: (text: string) => void, facts: (items: string[]) => void, computing: (state:
 *   Computing | null) => void }} Status */

/**
 * @param {import("./frame.js").Frame} frame
 * @returns {Status}
 */
export function createStatus(frame) {
  const facts = el("div", { class: "dw-status-facts", "data-testid": "status-facts" });
  const busy = el("div", { class: "dw-busy", "data-testid": "computing", role: "status", hidden: true });
  const actions = el("div", { class: "dw-actions" });
  const summary = el("summary", {});
  const trace = el("pre", { tabindex: 0 });
  const shut = el(
    "button",
    { class: "dw-button", "aria-label": "Dismiss the error", title: "Dismiss", onclick: () => clear() },
    "dismiss",
  );
  const strip = el(
    "div",
    { class: "dw-error", role: "alert", "data-testid": "error", hidden: true },
    el("details", {}, summary, trace),
    shut,
  );
  const node = el(
    "footer",
    { class: "dw-status", "data-testid": "status" },
    strip,
    el("div", { class: "dw-status-line" }, busy, facts, actions),
  );

  function clear() {
    strip.hidden = true;
    if (frame.model.get("error")) frame.save({ error: "" });
  }

  /** @param {string} text a traceback or a sentence */
  function fail(text) {
    const lines = text.trim().split("\n");
    // A Python traceback says what happened in its last line, a JavaScript one in its first.
    write(summary, /^Traceback/.test(lines[0]) ? lines[lines.length - 1] : lines[0]);
    write(trace, text);
    strip.hidden = false;
  }

  const follow = () => {
    const text = frame.model.get("error");
    if (text) fail(text);
    else strip.hidden = true;
  };
  frame.watch(["error"], follow);
  const showActions = () =>
    fill(
      actions,
      ...(frame.standalone ? [] : (frame.model.get("actions") ?? [])).map((/** @type {string} */ name) => {
        const button = el(
          "button",
          { class: "dw-button dw-outlined", "data-testid": "action", title: "Computed in Python" },
          name,
        );
        button.addEventListener("click", () => frame.requests.ask(name));
        return button;
      }),
    );
  frame.watch(["actions"], showActions);
  showActions();
  if (frame.model.get("error")) follow();

  return {
    node,
    fail,
    /** @param {string[]} items what the numbers rest on */
    facts(items) {
      write(facts, items.filter(Boolean).join(" · "));
    },
    /** @param {Computing | null} state */
    computing(state) {
      busy.hidden = state === null;
      if (!state) return;
      const percent = state.fraction === null ? "" : ` ${Math.round(100 * state.fraction)} %`;
      fill(
        busy,
        `computing ${state.name}${percent}${state.text ? ` · ${state.text}` : ""}`,
        el("progress", { max: 1, value: state.fraction, "aria-label": `progress of ${state.name}` }),
        state.stop &&
          el("button", { class: "dw-button dw-outlined", "data-testid": "stop", onclick: state.stop }, "stop"),
      );
    },
  };
}
