// One image: large, with what its label says, what a network says, which real images it resembles and what it does.

import { createAttribution } from "./attribution.js";
import { createClassRows } from "./classes.js";
import { createCrops } from "./crops.js";
import { createNearest } from "./nearest.js";
import { createPicture } from "./picture.js";
import { mean, tensor } from "../../parts/arrays.js";
import { classColour, isHollow } from "../../parts/colours.js";
import { el, fill, number, write } from "../../parts/dom.js";
import { facts } from "../../parts/tooltip.js";

/** What is known of the images of a set under one network; mirrors `_look` in findings.py.
 * @typedef {object} Looks
 * @property {string} network
 * @property {Record<string, string>} scores
 * @property {string | null} probabilities
 * @property {string | null} real
 * @property {string | null} real_labels
 * @property {string | null} real_index
 * @property {string | null} real_is_test
 * @property {string | null} nearest_pixels
 * @property {string | null} nearest_pixels_distance
 * @property {string | null} nearest_features
 * @property {string | null} nearest_features_distance
 * @property {string | null} influence
 * @property {string | null} influence_rows
 * @property {string | null} influence_values
 */

/** What the parts beside the atlas ask of it.
 * @typedef {object} Lens
 * @property {() => string} set name of the set that is shown
 * @property {() => number} iteration at which its images are shown
 * @property {() => number} last the iteration of its final images
 * @property {() => string[]} classes
 * @property {() => [number, number, number]} shape channels, height, width
 * @property {() => number | null} hovered the image under the cursor
 * @property {() => number[]} pinned the selected images, the first one first
 * @property {() => number | null} shown the hovered one, else the first pinned one
 * @property {(rows: number[]) => void} pin
 * @property {(row: number) => number} labelOf its class, or the most probable of a soft label
 * @property {(row: number) => ArrayLike<number>} label its label as probabilities, at the iteration shown
 * @property {(row: number) => boolean} soft its label is a distribution
 * @property {() => import("./crops.js").Choices | null} choices why these crops, where images are mosaics
 * @property {(row: number) => HTMLCanvasElement} picture as drawn, one pixel per pixel
 * @property {(row: number, x: number, y: number) => number[]} values raw ones, by channel
 * @property {(row: number) => string} describe for a screen reader
 * @property {() => boolean} can Python can train and compare: there is data, and a kernel
 */

const MOST_SMALL = 24; // pictures of the other pinned images

/**
 * @param {import("../../parts/frame.js").Frame} frame
 * @param {Lens} lens
 */
export function createInspector(frame, lens) {
  const { model } = frame;
  const name = el("span", { class: "dw-name-of" });
  const tag = el("span", { class: "dw-tag" });
  const mark = el("i", { class: "dw-dot", "aria-hidden": "true" });
  const heading = el("div", { class: "dw-pair", "data-testid": "image-title" }, mark, name, tag);
  const picture = createPicture(frame, lens, () => frame.invalidate());
  const numbers = el("input", { type: "checkbox", "data-testid": "setting-pixel_values" });
  frame.listen(numbers, "change", () => frame.save({ pixel_values: numbers.checked }));
  const numbersRow = el(
    "label",
    { class: "dw-setting dw-quiet" },
    numbers,
    el("span", {}, "write the pixel values (raw, 0 to 1)"),
  );
  const strip = el("div", {
    class: "dw-strip",
    role: "group",
    "aria-label": "The other selected images",
    "data-testid": "strip",
  });
  const figures = el("div", { class: "dw-figures", "data-testid": "image-facts" });
  const attribution = createAttribution(frame, lens);
  const rows = createClassRows(frame);
  const crops = createCrops(frame, lens);
  const nearest = createNearest(frame, lens);
  const look = el(
    "button",
    {
      class: "dw-button dw-outlined",
      "data-testid": "look",
      title: "Trains one network on the images and looks at each of them",
    },
    "look at all images",
  );
  const influence = el(
    "button",
    {
      class: "dw-button dw-outlined",
      "data-testid": "look-influence",
      title: "Also trains once without each image: as many trainings as there are images",
    },
    "with influence",
  );
  let busy = false;
  const askLooks = (/** @type {boolean} */ more) => {
    busy = true;
    const done = () => {
      busy = false;
      frame.invalidate();
    };
    const here = /** @type {string[]} */ (model.get("offer").here);
    const chosen = model.get("attribution").network;
    frame.requests.ask(
      "looks",
      { set: lens.set(), influence: more, ...(here.includes(chosen) ? { network: chosen } : {}) },
      done,
      { failed: done },
    );
    frame.invalidate();
  };
  frame.listen(look, "click", () => askLooks(false));
  frame.listen(influence, "click", () => askLooks(true));
  const unknown = el("p", {});
  const missing = el(
    "div",
    { class: "dw-ask", "data-testid": "no-looks" },
    unknown,
    el("div", { class: "dw-row" }, look, influence),
  );
  const old = el("p", { class: "dw-note", "data-testid": "looks-moment" });
  const empty = el(
    "div",
    { class: "dw-empty", "data-testid": "empty" },
    el("p", {}, el("b", {}, "Hover an image; click to keep it.")),
    el(
      "p",
      { class: "dw-quiet" },
      "Its pixels, its label beside what a network says, the real images it is nearest to, what it does in training and where a network looks then show here. Several selected images can be compared, or left out of a training.",
    ),
  );
  const body = el(
    "div",
    { class: "dw-image" },
    el("div", { class: "dw-large-row" }, picture.node),
    numbersRow,
    strip,
    figures,
    attribution.node,
    rows.node,
    crops.node,
    old,
    nearest.node,
    missing,
  );
  frame.inspector.append(heading, empty, body);

  const looks = () => /** @type {Looks | null} */ (model.get("findings")?.looks?.[lens.set()] ?? null);
  const found = (/** @type {string | null | undefined} */ key) => tensor(model, key, "findings_arrays");

  let listed = "";
  /** @param {number[]} others @param {import("../../parts/theme.js").Theme} theme */
  function small(others, theme) {
    const now = JSON.stringify([others, lens.set(), lens.iteration(), theme.dark, model.get("full_range")]);
    strip.hidden = !others.length;
    if (now === listed) return;
    listed = now;
    fill(
      strip,
      ...others.slice(0, MOST_SMALL).map((row) => {
        const scale = 44 / Math.max(...lens.shape().slice(1));
        const copy = el("canvas", { width: lens.shape()[2], height: lens.shape()[1], class: "dw-thumbnail" });
        copy.style.width = `${Math.round(lens.shape()[2] * scale)}px`;
        copy.style.height = `${Math.round(lens.shape()[1] * scale)}px`;
        copy.getContext("2d")?.drawImage(lens.picture(row), 0, 0);
        const button = el(
          "button",
          {
            class: "dw-button dw-small",
            title: `Show ${lens.describe(row)} large`,
            "aria-label": `Show ${lens.describe(row)} large`,
          },
          copy,
        );
        button.addEventListener("click", () => lens.pin([row, ...lens.pinned().filter((one) => one !== row)]));
        return button;
      }),
      others.length > MOST_SMALL && el("span", { class: "dw-quiet" }, `and ${others.length - MOST_SMALL} more`),
    );
  }

  return {
    /** @param {import("../../parts/theme.js").Theme} theme */
    update(theme) {
      const row = lens.shown();
      empty.hidden = row !== null;
      body.hidden = heading.hidden = row === null;
      if (row === null) return;
      const width = frame.inspector.clientWidth - (frame.root.hasAttribute("data-narrow") ? 0 : 18);
      const label = lens.labelOf(row);
      write(name, `${lens.classes()[label]} · image ${row}`);
      mark.style.borderColor = classColour(label, theme.dark);
      mark.style.backgroundColor = isHollow(label) ? "transparent" : classColour(label, theme.dark);
      const preview = lens.hovered() !== null && !lens.pinned().includes(row);
      write(tag, preview ? "preview" : lens.pinned().length > 1 ? `1 of ${lens.pinned().length} selected` : "selected");
      const heat = attribution.heat(row);
      const large = Math.min(320, width);
      picture.update(theme, row, heat, {
        width: large,
        opacity: model.get("opacity"),
        numbers: model.get("pixel_values"),
      });
      numbersRow.hidden = !picture.legible(large);
      numbers.checked = model.get("pixel_values");
      small(
        lens.pinned().filter((one) => one !== row),
        theme,
      );
      const at = picture.pixel();
      attribution.update(theme, row, heat && at ? heat.values[at[1] * lens.shape()[2] + at[0]] : null);

      const known = looks();
      const here = lens.iteration() === lens.last();
      const count = lens.classes().length;
      const ofRow = (/** @type {string | null | undefined} */ key) =>
        found(key)?.data.subarray(row * count, (row + 1) * count) ?? null;
      const shift = known && here ? ofRow(known.influence) : null;
      /** @type {[string, string][]} */
      const lines = [];
      if (known && here) {
        lines.push(
          ["network", known.network],
          ["loss", `${number(found(known.scores.loss)?.data[row], 3)} nats`],
          ["gradient norm", number(found(known.scores.gradient_norm)?.data[row], 3)],
        );
        if (shift) lines.push(["influence, mean", `${signed(mean(shift))} nats`]);
      }
      figures.hidden = !lines.length;
      fill(figures, facts(lines));
      rows.update(theme, {
        classes: lens.classes(),
        label: lens.label(row),
        soft: lens.soft(row),
        probabilities: known && here ? ofRow(known.probabilities) : null,
        influence: shift,
        limit: largest(shift ?? []),
      });
      crops.update(row);
      nearest.update(known && here ? known : null, row);
      old.hidden = !known || here;
      write(
        old,
        `What a network says, nearest real images and influence are known of the final images (iteration ${lens.last()}); shown is iteration ${lens.iteration()}.`,
      );
      const able = !frame.standalone && lens.can();
      missing.hidden = Boolean(known?.influence) || (Boolean(known) && !able);
      look.hidden = Boolean(known);
      look.disabled = influence.disabled = busy;
      missing.lastElementChild?.toggleAttribute("hidden", !able);
      write(
        unknown,
        known
          ? "Influence is not known: it takes one training without each image."
          : able
            ? "What a network makes of the images is not known yet."
            : "What a network makes of the images is not known here: pass looks=, or data= to look from here.",
      );
    },
  };
}

/** @param {number | undefined} value */
export const signed = (value) => (value !== undefined && value > 0 ? "+" : "") + number(value, 3);

/** @param {ArrayLike<number>} values */
function largest(values) {
  let most = 0;
  for (let i = 0; i < values.length; i++) if (Math.abs(values[i]) > most) most = Math.abs(values[i]);
  return most;
}
