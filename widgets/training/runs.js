// What the arrays of a TrainingExplorer say of its runs: curves, accuracy per class, the caption and the table.

import { at, tensor } from "../parts/arrays.js";
import { number } from "../parts/dom.js";

/** One run; mirrors `_run` in explorer.py.
 * @typedef {object} Run
 * @property {string} name
 * @property {"teacher" | "student" | "other"} role
 * @property {number} other
 * @property {number[]} dash
 * @property {Record<string, string>} curves
 * @property {number} epochs
 * @property {boolean} interrupted
 * @property {string | null} per_class
 * @property {{ confidence: string, accuracy: string, count: string, ece: number, nll: number } | null} calibration
 */

/**
 * @typedef {{ runs: Run[], classes: string[], epochs: number[], metrics: { value: string, label: string, unit:
 *   string, main: string, beside: string | null, share: boolean }[] }} Content
 */

export const percent = (/** @type {number | undefined} */ value) =>
  value === undefined || Number.isNaN(value) ? "–" : `${(100 * value).toFixed(1)} %`;

/**
 * @param {import("../parts/dom.js").Model} model
 * @param {() => Content} content
 * @param {() => Content["metrics"][number]} metric
 * @param {() => number} position
 */
export function createRuns(model, content, metric, position) {
  /**
   * @param {Run} run
   * @param {string | null} name
   * @returns {number[]}
   */
  function values(run, name) {
    return name && run.curves[name] ? Array.from(/** @type {any} */ (tensor(model, run.curves[name])).data) : [];
  }

  /**
   * @param {Run} run
   * @param {number} when
   */
  function perClass(run, when) {
    return /** @type {number[]} */ (Array.from(at(/** @type {any} */ (tensor(model, run.per_class)), when).data));
  }

  function caption() {
    const { runs, epochs } = content();
    const shown = metric();
    const when = position();
    const ends = runs
      .map((run) => ({ run, value: values(run, shown.main)[when] }))
      .filter(({ value }) => value !== undefined && !Number.isNaN(value));
    if (!ends.length) return `${shown.label} at epoch ${epochs[when]}: no value`;
    const parts = ends.map(({ run, value }) => `${run.name} ${shown.share ? percent(value) : number(value)}`);
    return `${shown.label} at epoch ${epochs[when]}: ${parts.join(", ")}`;
  }

  /** What is seen, as numbers; the same columns as `.data()` in Python.
   * @returns {import("../parts/frame.js").Table} */
  function table() {
    const { runs, epochs } = content();
    const shown = metric();
    return {
      columns: ["run", "epoch", shown.main, ...(shown.beside ? [shown.beside] : [])],
      rows: runs.flatMap((run) => {
        const [main, beside] = [values(run, shown.main), values(run, shown.beside)];
        return epochs
          .slice(0, run.epochs)
          .map((epoch, i) => [run.name, epoch, main[i] ?? null, ...(shown.beside ? [beside[i] ?? null] : [])]);
      }),
    };
  }

  return { values, perClass, caption, table };
}
