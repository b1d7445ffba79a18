// The log marginal likelihood of each step's targets.

import { write } from "../../parts/dom.js";
import { short } from "../../parts/numbers.js";
import { createPlot } from "../../parts/plot.js";
import { createFold } from "../../parts/fold.js";

/**
 * @param {import("../../parts/frame.js").Frame} frame
 * @param {import("../data.js").Data} data
 * @param {(step: number) => void} goTo
 */
export function createEvidence(frame, data, goTo) {
  const lml = createPlot(frame, "evidence", { pick: goTo });
  const evidenceBlock = createFold(
    frame,
    { name: "evidence", title: "Log marginal likelihood of each step's targets" },
    lml.node,
  );
  return {
    node: evidenceBlock.node,
    /**
     * @param {import("../../parts/theme.js").Theme} theme
     * @param {import("../data.js").Seen[]} all
     * @param {number} index
     * @param {number} width
     * @param {(k: number) => string} ink
     * @param {(k: number) => number[]} dash
     */
    update(theme, all, index, width, ink, dash) {
      const T = data.steps();
      const x = Array.from({ length: T }, (_, t) => t + 1);
      const evidences = all.map((seen) => seen.evidence.slice(0, T));
      const known = evidences.flat().filter(Number.isFinite);
      evidenceBlock.node.hidden = !known.length || T < 2;
      if (known.length && T > 1) {
        const [low, high] = [Math.min(...known), Math.max(...known)];
        const pad = 0.12 * (high - low || 1);
        write(
          evidenceBlock.beside,
          index < T ? all.map((seen) => short(seen.evidence[index], 4)).join(" and ") + " nats" : "",
        );
        if (evidenceBlock.open())
          lml.update(
            theme,
            {
              label: `Log marginal likelihood of each step's targets: ${evidences.map((list) => list.map((value) => short(value, 4)).join(", ")).join("; ")} nats`,
              x: { low: 0.7, high: T + 0.3, title: "step τ", whole: true },
              y: { low: low - pad, high: high + pad, title: "nats" },
              layers: evidences.flatMap(
                (list, k) =>
                  /** @type {import("../../parts/plot_layers.js").Layer[]} */ ([
                    {
                      kind: "line",
                      x,
                      y: list,
                      colour: all.length > 1 ? ink(k) : theme.focus,
                      dash: dash(k),
                      width: 1.75,
                    },
                    {
                      kind: "points",
                      x,
                      y: list,
                      colour: all.length > 1 ? ink(k) : theme.focus,
                      width: 5,
                      name: `${all[k].approach}-centric`,
                    },
                  ]),
              ),
              cursor: index < T ? index + 1 : null,
            },
            width,
            108,
          );
      }
    },
  };
}
