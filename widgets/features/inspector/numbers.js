// The pair of layers in numbers; where none is chosen, what to do and which layers are most alike.

import { bestMatches, strongest } from "../data.js";
import { el, fill, number } from "../../parts/dom.js";
import { facts } from "../../parts/tooltip.js";

/** @typedef {import("./inspector.js").LayerPair} LayerPair */

/**
 * @param {import("../../parts/frame.js").Frame} frame
 * @param {import("../data.js").Data} data
 */
export function createNumbers(frame, data) {
  const { model } = frame;
  const heading = el("div", { class: "dw-pair", "data-testid": "pair" });
  const figures = el("div", { class: "dw-figures", "data-testid": "figures" });
  const empty = el("div", { class: "dw-empty", "data-testid": "empty" });
  let listed = "";
  let built = /** @type {any} */ (null);

  /**
   * @param {LayerPair} pair
   * @param {boolean} preview
   */
  function writeFigures(pair, preview) {
    const { pairs } = data.content();
    fill(
      heading,
      el("span", { class: "dw-teacher dw-name" }, pair.a),
      el("span", { class: "dw-times" }, "×"),
      el("span", { class: "dw-student dw-name" }, pair.b),
      el("span", { class: "dw-tag" }, preview ? "preview" : "pinned"),
    );
    /** @type {[string, string][]} */
    const rows = [];
    pairs.forEach((one, p) => {
      const view = data.seen(p);
      if (!view) return rows.push([pairs.length > 1 ? one.title : model.get("measure"), "not computed"]);
      const found = data.cell(p, pair);
      const missing = !found.there ? "no such layer" : view.reason(found.row, found.column);
      const interval =
        found.interval && !Number.isNaN(found.interval[0])
          ? `${number(found.interval[0])} to ${number(found.interval[1])}`
          : "";
      const value = Number.isNaN(found.value) ? missing : number(found.value);
      rows.push([
        pairs.length > 1 ? one.title : model.get("measure"),
        pairs.length > 1 && interval ? `${value} (${interval})` : value,
      ]);
      if (pairs.length === 1 && interval) rows.push(["95 % interval", interval]);
      if (pairs.length === 1) {
        const best = bestMatches(view).find(([row]) => row === found.row);
        if (best)
          rows.push([
            "best match of this row",
            best[1] === found.column
              ? "this one"
              : `${view.columns[best[1]]}, ${number(view.values[best[0] * view.columns.length + best[1]])}`,
          ]);
      }
      if (p === pairs.length - 1) rows.push(["examples", view.n.toLocaleString("en")]);
      return undefined;
    });
    const shift = data.difference();
    if (shift) {
      const found = data.cell(-1, pair);
      if (found.there)
        rows.splice(-1, 0, [
          "difference",
          Number.isNaN(found.value) ? "no value" : (found.value > 0 ? "+" : "") + number(found.value),
        ]);
    }
    fill(figures, facts(rows));
  }

  function writeEmpty() {
    const view = data.seen(0);
    const now = JSON.stringify([
      data.position(),
      model.get("measure"),
      model.get("class_name"),
      data.content().pairs.length,
    ]);
    if (now === listed) return;
    listed = now;
    fill(
      empty,
      el("p", {}, el("b", {}, "Hover a cell; click to keep it.")),
      el(
        "p",
        { class: "dw-quiet" },
        "Its two layers then show here: the examples as each layer sees them, and which of them it holds alike.",
      ),
      view && el("p", { class: "dw-quiet" }, "The most similar layers now:"),
      view &&
        el(
          "ul",
          { class: "dw-suggestions" },
          ...strongest(view, 3).map(({ a, b, value }) => {
            const button = el(
              "button",
              { class: "dw-button dw-outlined" },
              el("span", {}, `${a} × ${b}`),
              el("b", { class: "dw-number" }, number(value)),
            );
            button.addEventListener("click", () => frame.select({ layer_a: a, layer_b: b }));
            return el("li", {}, button);
          }),
        ),
    );
  }

  return {
    nodes: [heading, figures, empty],
    /**
     * @param {LayerPair | null} pair
     * @param {boolean} preview the pair is under the cursor and not pinned
     */
    update(pair, preview) {
      if (built !== data.content()) {
        built = data.content();
        listed = "";
      }
      empty.hidden = pair !== null;
      heading.hidden = figures.hidden = pair === null;
      if (pair) writeFigures(pair, preview);
      else writeEmpty();
    },
  };
}
