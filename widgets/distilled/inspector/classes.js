// Class by class: what the label says beside what a network says, and what leaving the image out does to the class.

import { classColour, colour } from "../../parts/colours.js";
import { el, fill, number, write } from "../../parts/dom.js";

/**
 * @typedef {{ classes: string[], label: ArrayLike<number>, soft: boolean, probabilities: ArrayLike<number> | null,
 *   influence: ArrayLike<number> | null, limit: number }} Rows
 */

const MOST = 12; // classes listed; the rest are those with the least in them

/** @param {import("../../parts/frame.js").Frame} frame */
export function createClassRows(frame) {
  const head = el("tr", {});
  const body = el("tbody", {});
  const table = el("table", { class: "dw-bars", "data-testid": "class-rows" }, el("thead", {}, head), body);
  const rest = el("p", { class: "dw-quiet" });
  const key = el("p", { class: "dw-quiet dw-fine" });
  const node = el("section", { class: "dw-why" }, table, rest, key);
  let listed = "";
  frame.onDispose(() => (listed = ""));

  return {
    node,
    /**
     * @param {import("../../parts/theme.js").Theme} theme
     * @param {Rows} now
     */
    update(theme, { classes, label, soft, probabilities, influence, limit }) {
      const state = JSON.stringify([
        theme.dark,
        classes,
        Array.from(label),
        probabilities && Array.from(probabilities),
        influence && Array.from(influence),
        limit,
      ]);
      if (state === listed) return;
      listed = state;
      const weight = (/** @type {number} */ k) =>
        Math.max(label[k], probabilities?.[k] ?? 0, influence && limit ? Math.abs(influence[k]) / limit : 0);
      // A hard label is one bar, and alone it is all there is to say.
      const shown = classes.map((_, k) => k).filter((k) => soft || probabilities || influence || label[k] > 0);
      const many = shown.length > MOST;
      if (many) shown.sort((a, b) => weight(b) - weight(a)).splice(MOST);
      fill(
        head,
        el("th", { scope: "col" }, "class"),
        el(
          "th",
          { scope: "col" },
          soft ? "soft label" : "label",
          probabilities && el("span", { class: "dw-quiet" }, " / network"),
        ),
        influence && el("th", { scope: "col" }, "influence (nats)"),
      );
      fill(
        body,
        ...shown.map((k) => {
          const bar = (/** @type {number} */ share, /** @type {string} */ cssClass, /** @type {string} */ ink) => {
            const fillBar = el("i", { class: cssClass });
            fillBar.style.width = `${100 * Math.max(0, Math.min(1, share))}%`;
            fillBar.style.color = ink;
            return el("span", { class: "dw-bar-track", "aria-hidden": "true" }, fillBar);
          };
          const ink = classColour(k, theme.dark);
          const says = el(
            "td",
            {},
            (soft || label[k] > 0) &&
              el(
                "div",
                { class: "dw-two" },
                bar(label[k], "dw-solid", ink),
                el("span", { class: "dw-number" }, number(label[k], 2)),
              ),
          );
          if (probabilities)
            says.append(
              el(
                "div",
                { class: "dw-two dw-quiet" },
                bar(probabilities[k], "dw-open", theme.quiet),
                el("span", { class: "dw-number" }, number(probabilities[k], 2)),
              ),
            );
          return el(
            "tr",
            {},
            el("th", { scope: "row", title: classes[k] }, classes[k]),
            says,
            influence && el("td", {}, diverging(theme, influence[k], limit)),
          );
        }),
      );
      rest.hidden = !many;
      write(rest, `and ${classes.length - shown.length} classes with less in them`);
      key.hidden = !influence;
      write(
        key,
        "Influence: change of the class's mean test loss when this image is left out of training. Above zero (red): without it the class is learned worse.",
      );
    },
  };
}

/**
 * A bar to the left or right of zero, and its number.
 * @param {import("../../parts/theme.js").Theme} theme
 * @param {number} value
 * @param {number} limit
 */
function diverging(theme, value, limit) {
  const known = !Number.isNaN(value);
  const share = limit && known ? Math.min(1, Math.abs(value) / limit) : 0;
  const bar = el("i", { class: "dw-solid" });
  bar.style.width = `${50 * share}%`;
  bar.style.left = value < 0 ? `${50 - 50 * share}%` : "50%";
  // Ends of the map that stand out from the page; its middle is the page.
  bar.style.color = colour(
    theme.dark ? "diverging-dark" : "diverging",
    known ? Math.sign(value) * (0.45 + 0.4 * share) : 0,
    -1,
    1,
  );
  return el(
    "div",
    { class: "dw-two" },
    el("span", { class: "dw-bar-track dw-centred", "aria-hidden": "true" }, bar),
    el("span", { class: "dw-number" }, (value > 0 ? "+" : "") + number(value, 3)),
  );
}
