// The real images that a distilled one is nearest to, and those of the test split that change most without it.

import { tensor } from "../../parts/arrays.js";
import { el, fill, number } from "../../parts/dom.js";
import { thumbnail } from "../../parts/picture.js";

/**
 * @param {import("../../parts/frame.js").Frame} frame
 * @param {import("./inspector.js").Lens} lens
 */
export function createNearest(frame, lens) {
  const { model } = frame;
  const node = el("div", { "data-testid": "nearest" });
  let listed = /** @type {any[]} */ ([]);

  return {
    node,
    /**
     * @param {import("./inspector.js").Looks | null} looks
     * @param {number} row
     */
    update(looks, row) {
      node.hidden = looks === null;
      const state = [looks, row];
      if (!looks || state.every((value, i) => value === listed[i])) return;
      listed = state;
      const array = (/** @type {string | null | undefined} */ key) => tensor(model, key, "findings_arrays");
      const [real, labels, index, isTest] = [looks.real, looks.real_labels, looks.real_index, looks.real_is_test].map(
        array,
      );
      /**
       * @param {string} title
       * @param {string | null | undefined} rows
       * @param {string | null | undefined} values
       * @param {(value: number) => string} write
       */
      function group(title, rows, values, write) {
        const [which, what] = [array(rows), array(values)];
        if (!real || !which || !what || !which.shape[1]) return null;
        const count = which.shape[1];
        return el(
          "section",
          { class: "dw-why" },
          el("div", { class: "dw-heading-small" }, el("span", {}, title)),
          el(
            "ul",
            { class: "dw-gallery" },
            ...Array.from({ length: count }, (_, k) => {
              const place = which.data[row * count + k];
              const label = lens.classes()[labels?.data[place] ?? -1] ?? "";
              const text = write(what.data[row * count + k]);
              const picture = thumbnail(real, place, 48);
              picture.setAttribute("aria-label", `real image ${index?.data[place]} of class ${label}`);
              return el(
                "li",
                { title: `${isTest?.data[place] ? "test" : "training"} image ${index?.data[place]}` },
                picture,
                el("b", {}, label),
                el("span", { class: "dw-quiet" }, text),
              );
            }),
          ),
        );
      }
      const distance = (/** @type {number} */ value) => number(value, 2);
      fill(
        node,
        group(
          "Nearest real images in pixels (distance)",
          looks.nearest_pixels,
          looks.nearest_pixels_distance,
          distance,
        ),
        group(
          "Nearest in the features of the network (distance)",
          looks.nearest_features,
          looks.nearest_features_distance,
          distance,
        ),
        group(
          "Test images that change most without it (nats)",
          looks.influence_rows,
          looks.influence_values,
          (value) => (value > 0 ? "+" : "") + number(value, 2),
        ),
      );
    },
  };
}
