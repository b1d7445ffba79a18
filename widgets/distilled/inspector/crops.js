// Where a mosaic was cut from: cell by cell the windows of a real image that were scored, and the one that was kept.

import { at, tensor } from "../../parts/arrays.js";
import { el, fill, number, write } from "../../parts/dom.js";
import { thumbnail } from "../../parts/picture.js";

/** Mirrors `crops_content` in crops.py.
 * @typedef {object} Choices
 * @property {number} factor cells along a side
 * @property {number} crops windows of each real image
 * @property {number[]} pool real images looked at, by class
 * @property {string} score (n, cells, crops), nats
 * @property {string} chosen (n, cells)
 * @property {string} rank (n, cells), 0 the most recognisable of its class
 * @property {string} source (n, cells), position of the real image in its data
 * @property {string | null} candidates uint8 (n, cells, crops, channels, side, side)
 */

const MOST_CELLS = 9;
const MOST_WINDOWS = 6;

/**
 * @param {import("../../parts/frame.js").Frame} frame
 * @param {import("./inspector.js").Lens} lens
 */
export function createCrops(frame, lens) {
  const { model } = frame;
  const beside = el("span", {});
  const cells = el("div", { class: "dw-cells" });
  const rest = el("p", { class: "dw-quiet dw-fine" });
  const key = el(
    "p",
    { class: "dw-quiet dw-fine" },
    "Cross-entropy of the classifier on each window, in nats: low is recognisable. Outlined: the window that was kept.",
  );
  const node = el(
    "section",
    { class: "dw-why", "data-testid": "crops" },
    el("div", { class: "dw-heading-small" }, el("span", {}, "Cut from real images"), beside),
    cells,
    rest,
    key,
  );
  let listed = /** @type {any[]} */ ([]);

  return {
    node,
    /** @param {number} row */
    update(row) {
      const choices = lens.choices();
      node.hidden = choices === null;
      const state = [choices, row];
      if (!choices || state.every((value, i) => value === listed[i])) return;
      listed = state;
      const of = (/** @type {string} */ name) =>
        at(/** @type {import("../../parts/arrays.js").Tensor} */ (tensor(model, name)), row);
      const [score, chosen, rank, source] = [choices.score, choices.chosen, choices.rank, choices.source].map(of);
      const pictures = choices.candidates ? of(choices.candidates) : null;
      const count = choices.factor ** 2;
      const pool = choices.pool[lens.labelOf(row)];
      write(
        beside,
        `${pool.toLocaleString("en")} images of the class, ${choices.crops} ${choices.crops === 1 ? "window" : "windows"} of each`,
      );
      fill(
        cells,
        ...Array.from({ length: Math.min(count, MOST_CELLS) }, (_, k) => {
          const scores = at(score, k).data;
          const kept = chosen.data[k];
          const order = [...scores.keys()].sort(
            (a, b) => Number(b === kept) - Number(a === kept) || scores[a] - scores[b],
          );
          const where =
            count === 1 ? "" : `line ${Math.floor(k / choices.factor) + 1}, column ${(k % choices.factor) + 1}: `;
          const shown = order.slice(0, MOST_WINDOWS);
          const windows = pictures && at(pictures, k);
          return el(
            "div",
            {},
            el(
              "p",
              {},
              where,
              el("b", {}, `image ${source.data[k]}`),
              el(
                "span",
                { class: "dw-quiet" },
                `, ${ordinal(rank.data[k] + 1)} of ${pool.toLocaleString("en")} by its best window`,
              ),
            ),
            el(
              "ul",
              { class: "dw-gallery" },
              ...shown.map((window) => {
                const text = `${number(scores[window], 3)}${window === kept ? " kept" : ""}`;
                const said = `window of image ${source.data[k]}, ${number(scores[window], 3)} nats${window === kept ? ", kept" : ""}`;
                const picture = windows && thumbnail(windows, window, 40);
                picture?.setAttribute("aria-label", said);
                return el(
                  "li",
                  { title: said, "data-kept": String(window === kept) },
                  picture,
                  window === kept ? el("b", {}, text) : el("span", { class: "dw-quiet" }, text),
                );
              }),
              order.length > shown.length && el("li", { class: "dw-quiet" }, `and ${order.length - shown.length} more`),
            ),
          );
        }),
      );
      rest.hidden = count <= MOST_CELLS;
      write(rest, `and ${count - MOST_CELLS} more cells`);
    },
  };
}

/** @param {number} value */
function ordinal(value) {
  const last = value % 100 > 10 && value % 100 < 14 ? 0 : value % 10;
  return `${value.toLocaleString("en")}${["th", "st", "nd", "rd"][last] ?? "th"}`;
}
