// What a view of similarity maps says in words: its caption, and how many cells have no value.

import { number } from "../parts/dom.js";

/**
 * @param {import("./data.js").Data} data
 * @param {import("./data.js").Seen | null} view
 */
export function hatched(data, view) {
  return view
    ? data.once(`hatched ${data.position()}`, () =>
        view.values.reduce((count, value) => count + Number(Number.isNaN(value)), 0),
      )
    : 0;
}

/**
 * @param {import("../parts/dom.js").Model} model
 * @param {import("./data.js").Data} data
 */
export function caption(model, data) {
  const view = data.seen(0);
  const { pairs, epochs } = data.content();
  const when = epochs.length ? ` at epoch ${epochs[data.position()]}` : "";
  if (!view) return `${model.get("measure")}${when}: not computed`;
  if (pairs.length > 1) {
    const [one, two] = [0, 1].map((p) => data.means(p)[data.position()]);
    return `${model.get("measure")}${when}: mean ${number(one, 2)} for ${pairs[0].title}, ${number(two, 2)} for ${pairs[1].title}`;
  }
  const [most] = data.once(`strongest ${data.position()}`, () => {
    const top = view.values.reduce(
      (best, value, k) => (value > (view.values[best] ?? -Infinity) || Number.isNaN(view.values[best]) ? k : best),
      0,
    );
    return [
      {
        a: view.rows[Math.floor(top / view.columns.length)],
        b: view.columns[top % view.columns.length],
        value: view.values[top],
      },
    ];
  });
  const mean = data.means(0)[data.position()];
  if (Number.isNaN(mean)) return `${model.get("measure")}${when}: no cell has a value`;
  return `${model.get("measure")}${when}: mean ${number(mean, 2)}; most alike ${most.a} and ${most.b}, ${number(most.value, 2)}`;
}
