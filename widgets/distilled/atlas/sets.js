// The sets in one table: what they hold, what they cost and what they teach; a row loads its set.

import { size } from "../data.js";
import { el, fill, number } from "../../parts/dom.js";

/** Mean over seeds with the ends of its interval; mirrors `estimate` in teaching.py.
 * @typedef {{ mean: number, low: number | null, high: number | null }} Estimate */

/**
 * @param {import("../../parts/frame.js").Frame} frame
 * @param {import("../data.js").Data} data
 */
export function createSets(frame, data) {
  const { model } = data;
  const box = el("div", { class: "dw-table dw-sets-table", tabindex: 0 });
  const node = el("section", { class: "dw-sets", "data-testid": "sets", "aria-label": "Sets" }, box);
  let built = /** @type {any[]} */ ([]);

  /** @param {string} name */
  function load(name) {
    const next = data.content().sets.find((one) => one.name === name);
    if (!next || name === data.selection().set) return;
    // Compared with the one that is loaded, the two change places.
    if (model.get("against") === name) frame.save({ against: data.set().name });
    // Another history has other moments, and row 7 of another set is another image.
    frame.select({
      set: name,
      images: [],
      iteration: next.iterations[next.iterations.length - 1],
      moment: next.iterations[0],
    });
    frame.say(`${name} is shown`);
  }

  /** @param {Estimate | undefined} found */
  function percent(found) {
    if (!found) return el("span", { class: "dw-quiet" }, "–");
    const half = found.low === null || found.high === null ? "" : ` ± ${number(50 * (found.high - found.low), 1)}`;
    return `${number(100 * found.mean, 1)}${half}`;
  }

  return {
    node,
    load,
    update() {
      const { sets } = data.content();
      const evaluations = model.get("findings")?.evaluations ?? {};
      node.hidden = sets.length < 2 && !Object.keys(evaluations).length;
      const now = [sets, evaluations, data.set()];
      if (node.hidden || now.every((value, i) => value === built[i])) return;
      built = now;
      const focused = /** @type {HTMLElement | null} */ (document.activeElement)?.dataset.set;
      const networks = [...new Set(Object.values(evaluations).flatMap((/** @type {any} */ found) => found.networks))];
      const seeds = new Set(Object.values(evaluations).map((/** @type {any} */ found) => found.seeds.length));
      const note = networks.length
        ? `Accuracy on the test split in %, mean ± 95 % interval over ${seeds.size === 1 ? [...seeds][0] : "the"} seeds of networks trained on the set.`
        : "";
      const rows = sets.map((one) => {
        const found = evaluations[one.name];
        const shown = one === data.set();
        const row = el(
          "tr",
          {
            tabindex: 0,
            "data-set": one.name,
            "data-testid": "set-row",
            "aria-selected": String(shown),
            "aria-label": `${one.name}: ${shown ? "shown" : "Enter loads it"}`,
          },
          el("th", { scope: "row" }, one.name),
          el("td", { class: "dw-number" }, one.count.toLocaleString("en")),
          el("td", { class: "dw-number" }, size(one.bytes)),
          el("td", { class: "dw-number" }, one.seconds ? number(one.seconds, 1) : "–"),
          ...networks.map((network) =>
            el("td", { class: "dw-number" }, percent(found?.scores.distilled[found.networks.indexOf(network)])),
          ),
        );
        row.addEventListener("click", () => frame.guard(() => load(one.name)));
        row.addEventListener("keydown", (event) => {
          if (event.key === "Enter") frame.guard(() => load(one.name));
          else if (event.key === "ArrowDown" || event.key === "ArrowUp")
            /** @type {HTMLElement | null} */ (
              event.key === "ArrowDown" ? row.nextElementSibling : row.previousElementSibling
            )?.focus();
          else return;
          event.preventDefault();
          event.stopPropagation();
        });
        return row;
      });
      fill(
        box,
        el(
          "table",
          {},
          el(
            "thead",
            {},
            el(
              "tr",
              {},
              ...["set", "images", "size", "time (s)", ...networks].map((name, k) =>
                el("th", { scope: "col", class: k ? "dw-number" : null }, name),
              ),
            ),
          ),
          el("tbody", {}, ...rows),
        ),
        note && el("p", { class: "dw-quiet" }, note),
      );
      if (focused) rows.find((row) => row.dataset.set === focused)?.focus();
    },
  };
}
