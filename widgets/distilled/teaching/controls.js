// What to train, on which images: networks, seeds, epochs, images left out, and the buttons that ask Python.

import { el, fill, write } from "../../parts/dom.js";

/** @typedef {{ networks: string[], seeds: number, epochs: number, references: boolean }} Protocol */

/**
 * @param {import("../../parts/frame.js").Frame} frame
 * @param {import("../inspector/inspector.js").Lens} lens
 */
export function createControls(frame, lens) {
  const { model } = frame;
  const protocol = () => /** @type {Protocol} */ (model.get("training"));
  const leftOut = () => /** @type {number[]} */ (model.get("left_out")[lens.set()] ?? []);
  const leave = (/** @type {number[]} */ rows) => {
    const all = { ...model.get("left_out"), [lens.set()]: [...new Set(rows)].sort((a, b) => a - b) };
    if (!all[lens.set()].length) delete all[lens.set()];
    frame.save({ left_out: all });
  };
  let busy = "";

  const chips = el("div", { class: "dw-row dw-chips", role: "group", "aria-label": "Networks to train" });
  /** @param {string} name @param {string} label @param {number} low @param {number} high */
  function field(name, label, low, high) {
    const input = el("input", {
      type: "number",
      min: low,
      max: high,
      step: 1,
      "data-testid": `protocol-${name}`,
      class: "dw-count",
    });
    frame.listen(input, "change", () => {
      const value = Math.round(Number(input.value));
      if (value >= low && value <= high) frame.save({ training: { ...protocol(), [name]: value } });
      else input.value = String(protocol()[/** @type {"seeds" | "epochs"} */ (name)]);
    });
    return { input, row: el("label", { class: "dw-setting" }, el("span", {}, label), input) };
  }
  const seeds = field("seeds", "seeds", 1, 20);
  const epochs = field("epochs", "epochs", 1, 5000);
  const beside = el("input", { type: "checkbox", "data-testid": "protocol-references" });
  frame.listen(beside, "change", () => frame.save({ training: { ...protocol(), references: beside.checked } }));
  const train = el("button", {
    class: "dw-button dw-outlined dw-main",
    "data-testid": "teach",
    title: "New networks, trained from scratch on these images, tested on real data",
  });
  const retrain = el("button", {
    class: "dw-button dw-outlined dw-main",
    "data-testid": "teach-without",
    title: "The same training without the images left out; paired with the training on all of them over the seeds",
  });
  const takeOut = el("button", {
    class: "dw-button dw-outlined",
    "data-testid": "take-out",
    title: "Leave the selected images out of the next training",
  });
  const putBack = el(
    "button",
    { class: "dw-button dw-outlined", "data-testid": "put-back", title: "Put all images back" },
    "put all back",
  );
  const out = el("span", {});
  const gallery = el("span", {
    class: "dw-strip",
    role: "group",
    "aria-label": "Images left out",
    "data-testid": "left-out",
  });
  const first = el(
    "div",
    { class: "dw-row" },
    el("label", { class: "dw-setting" }, el("span", { class: "dw-quiet" }, "networks")),
    chips,
    seeds.row,
    epochs.row,
    el("label", { class: "dw-setting" }, beside, el("span", {}, "beside real data")),
    train,
  );
  const second = el("div", { class: "dw-row" }, out, gallery, takeOut, putBack, retrain);
  const node = el("div", { class: "dw-teach-controls" }, first, second);

  /** @param {boolean} without */
  function ask(without) {
    busy = without ? "without" : "all";
    const done = () => {
      busy = "";
      frame.invalidate();
    };
    frame.requests.ask(
      "training",
      { set: lens.set(), iteration: lens.iteration(), without: without ? leftOut() : [], ...protocol() },
      done,
      { failed: done },
    );
    frame.invalidate();
  }
  frame.listen(train, "click", () => ask(false));
  frame.listen(retrain, "click", () => ask(true));
  frame.listen(takeOut, "click", () => leave([...leftOut(), ...lens.pinned()]));
  frame.listen(putBack, "click", () => leave([]));

  let listed = "";
  let chipped = "";
  return {
    node,
    leftOut,
    update() {
      const able = !frame.standalone && lens.can();
      node.hidden = !able && !leftOut().length;
      first.hidden = !able;
      const now = protocol();
      const names = /** @type {string[]} */ (model.get("offer").models);
      const state = JSON.stringify([names, now.networks]);
      if (state !== chipped) {
        chipped = state;
        const focused = /** @type {HTMLElement | null} */ (
          chips.contains(document.activeElement) ? document.activeElement : null
        )?.dataset.network;
        fill(
          chips,
          ...[...new Set([...names, ...now.networks])].map((name) => {
            const on = now.networks.includes(name);
            const chip = el(
              "button",
              {
                class: "dw-class",
                "aria-pressed": String(on),
                "data-network": name,
                title: on ? `Do not train ${name}` : `Train ${name} too`,
              },
              el("span", {}, name),
            );
            chip.addEventListener("click", () => {
              const next = on
                ? now.networks.filter((one) => one !== name)
                : [...names].filter((one) => one === name || now.networks.includes(one));
              if (next.length) frame.save({ training: { ...now, networks: next } });
            });
            return chip;
          }),
        );
        if (focused)
          /** @type {HTMLElement | null} */ (chips.querySelector(`[data-network="${CSS.escape(focused)}"]`))?.focus({
            preventScroll: true,
          });
      }
      for (const [one, value] of /** @type {const} */ ([
        [seeds, now.seeds],
        [epochs, now.epochs],
      ])) {
        if (document.activeElement !== one.input) one.input.value = String(value);
      }
      beside.checked = now.references;
      train.disabled = retrain.disabled = busy !== "";
      write(
        train,
        busy === "all"
          ? "training …"
          : lens.iteration() === lens.last()
            ? "train on the set now"
            : `train on iteration ${lens.iteration().toLocaleString("en")} now`,
      );
      const rows = leftOut();
      const fresh = lens.pinned().filter((row) => !rows.includes(row));
      write(out, rows.length ? `Left out (${rows.length}):` : "Left out: none. Select images to take them out.");
      takeOut.hidden = !able || !fresh.length;
      write(takeOut, `take out the ${fresh.length} selected`);
      putBack.hidden = !rows.length || frame.standalone;
      retrain.hidden = !able || !rows.length;
      write(retrain, busy === "without" ? "training …" : `train without ${rows.length === 1 ? "it" : "them"}`);
      const key = JSON.stringify([rows, lens.set(), lens.iteration()]);
      if (key !== listed) {
        listed = key;
        fill(
          gallery,
          ...rows.slice(0, 16).map((row) => {
            const scale = 28 / Math.max(...lens.shape().slice(1));
            const copy = el("canvas", { width: lens.shape()[2], height: lens.shape()[1], class: "dw-thumbnail" });
            copy.style.width = `${Math.round(lens.shape()[2] * scale)}px`;
            copy.style.height = `${Math.round(lens.shape()[1] * scale)}px`;
            copy.getContext("2d")?.drawImage(lens.picture(row), 0, 0);
            const button = el(
              "button",
              {
                class: "dw-button dw-small",
                title: `Put back ${lens.describe(row)}`,
                "aria-label": `Put back ${lens.describe(row)}`,
              },
              copy,
            );
            button.addEventListener("click", () => leave(leftOut().filter((one) => one !== row)));
            return button;
          }),
          rows.length > 16 && el("span", { class: "dw-quiet" }, `and ${rows.length - 16} more`),
        );
      }
    },
  };
}
