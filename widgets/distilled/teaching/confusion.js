// Which class is taken for which: a confusion matrix over all seeds, each row in shares of its true class.

import { block } from "./words.js";
import { at, tensor } from "../../parts/arrays.js";
import { el, write } from "../../parts/dom.js";
import { createHeatMap } from "../../parts/heatmap.js";
import { facts } from "../../parts/tooltip.js";

/**
 * @param {import("../../parts/frame.js").Frame} frame
 * @param {import("../inspector/inspector.js").Lens} lens
 */
export function createConfusion(frame, lens) {
  const { model } = frame;
  /** @type {import("../../parts/heatmap.js").Cell | null} */
  let hovered = null;
  /** @type {import("../../parts/heatmap.js").Cell | null} */
  let pinned = null;
  let counts = /** @type {ArrayLike<number>} */ ([]);
  let shares = new Float32Array();
  let known = /** @type {any} */ (null);
  let names =
    /** @type {{ rows: { title: string, colour: string, names: string[] }, columns: { title: string, colour: string, names: string[] }, key: string }} */ ({
      key: "",
    });

  const told = (/** @type {import("../../parts/heatmap.js").Cell} */ [row, column]) => {
    const cell = row * lens.classes().length + column;
    return /** @type {[string, string][]} */ ([
      ["test images", String(counts[cell])],
      ["of this class", `${(100 * shares[cell]).toFixed(1)} %`],
    ]);
  };
  const title = (/** @type {import("../../parts/heatmap.js").Cell} */ [row, column]) =>
    row === column
      ? `${lens.classes()[row]}, recognised`
      : `${lens.classes()[row]} taken for ${lens.classes()[column]}`;
  const map = createHeatMap(frame, "confusion", {
    hover: (cell, point) => {
      hovered = cell;
      if (cell && point) frame.tooltip.show(point.x, point.y, el("b", {}, title(cell)), facts(told(cell)));
      else frame.tooltip.hide();
      frame.invalidate();
    },
    pin: (cell) => {
      pinned = pinned && pinned[0] === cell[0] && pinned[1] === cell[1] ? null : cell;
      frame.invalidate();
    },
    name: (axis, index, point) => {
      if (axis) frame.tooltip.show(point.x, point.y, lens.classes()[index]);
    },
    describe: (cell) =>
      `${title(cell)}: ${told(cell)
        .map((line) => line.join(" "))
        .join(", ")}`,
  });
  const { node, beside } = block("Confusion, in shares of the true class", map.node);

  return {
    node,
    /**
     * @param {import("../../parts/theme.js").Theme} theme
     * @param {import("./teaching.js").Evaluation | null} found
     * @param {number} network
     * @param {number} width
     */
    update(theme, found, network, width) {
      node.hidden = !found;
      if (!found) return;
      const stack = /** @type {import("../../parts/arrays.js").Tensor} */ (
        tensor(model, found.confusion, "findings_arrays")
      );
      counts = at(stack, network).data;
      const classes = lens.classes();
      const n = classes.length;
      if (known?.[0] !== stack || known?.[1] !== network) {
        known = [stack, network];
        shares = new Float32Array(n * n);
        for (let row = 0; row < n; row++) {
          let total = 0;
          for (let k = 0; k < n; k++) total += counts[row * n + k];
          for (let k = 0; k < n; k++) shares[row * n + k] = total ? counts[row * n + k] / total : NaN;
        }
      }
      const key = JSON.stringify([classes, theme.quiet]);
      if (names.key !== key)
        names = {
          key,
          rows: { title: "true class", colour: theme.quiet, names: classes },
          columns: { title: "taken for", colour: theme.quiet, names: classes },
        };
      let worst = -1;
      for (let k = 0; k < n * n; k++)
        if (Math.floor(k / n) !== k % n && (worst < 0 || shares[k] > shares[worst])) worst = k;
      const says = pinned
        ? `${title(pinned)}: ${told(pinned)[1][1]}`
        : worst >= 0 && shares[worst] > 0
          ? `most often ${title([Math.floor(worst / n), worst % n])}`
          : "";
      write(beside, `${found.networks[network]}${says ? `, ${says}` : ""}`);
      map.update(
        theme,
        {
          label: `Confusion matrix of ${found.networks[network]} over ${found.seeds.length} seeds; ${says}`,
          ...names,
          values: shares,
          map: "viridis",
          low: 0,
          high: 1,
          outlined: [],
          diagonal: false,
          numbers: n <= 12,
          least: 0.005,
          pinned,
          hovered,
        },
        width,
        Math.min(300, 26 * n),
      );
    },
  };
}
