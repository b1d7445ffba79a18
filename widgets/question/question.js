// Question: answers to choose from, each with its feedback; the other half is question.py.

import { el, fill } from "../parts/dom.js";

let questions = 0; // radio buttons of one question share a name that no other question on the page has

/** @param {{ model: import("../parts/dom.js").Model, el: HTMLElement }} view */
function render({ model, el: host }) {
  const group = `dw-question-${++questions}`;
  const told = el("p", { class: "dw-told", role: "status", "data-testid": "feedback" });
  const list = el("div", { class: "dw-answers" });
  const legend = el("legend", { class: "dw-title" });
  const root = el(
    "div",
    { class: "dw dw-question", "data-testid": "question", "data-lm-suppress-shortcuts": "true" },
    el("fieldset", {}, legend, list, told),
  );

  function draw() {
    const choice = model.get("choice");
    const right = model.get("right");
    legend.textContent = model.get("text");
    if (list.childElementCount !== model.get("answers").length) build();
    list.querySelectorAll("input").forEach((input, i) => {
      input.checked = i === choice;
      input.parentElement?.setAttribute("data-state", i !== choice ? "" : i === right ? "right" : "wrong");
    });
    const mark = choice === right ? "✓ " : "✗ ";
    told.textContent = choice === null ? "" : mark + model.get("feedback")[choice];
    told.dataset.state = choice === null ? "" : choice === right ? "right" : "wrong";
    root.setAttribute("data-ready", "true");
  }

  function build() {
    const answers = /** @type {string[]} */ (model.get("answers"));
    fill(
      list,
      ...answers.map((answer, i) => {
        const choose = () => {
          model.set("choice", i);
          model.save_changes();
        };
        const input = el("input", { type: "radio", name: group, "data-testid": `answer-${i}`, onchange: choose });
        return el("label", { class: "dw-answer" }, input, el("span", {}, answer));
      }),
    );
  }

  const events = ["change:choice", "change:text", "change:answers", "change:feedback", "change:right"];
  for (const event of events) model.on(event, draw);
  host.append(root);
  draw();
  return () => {
    for (const event of events) model.off(event, draw);
    root.remove();
  };
}

export default { render };
