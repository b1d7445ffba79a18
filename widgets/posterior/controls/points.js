// The points of a regression under the hand: dragged, added, removed, put back; and where they are drawn meanwhile.

import { el, fill, write } from "../../parts/dom.js";
import { short } from "../../parts/numbers.js";

/**
 * @param {import("../../parts/frame.js").Frame} frame
 * @param {import("../data.js").Data} data
 * @param {import("./controls.js").Refits & { busy: () => boolean }} refits
 */
export function createPoints(frame, data, refits) {
  const { model } = frame;
  const { content } = data;
  /** @type {{ row: number, x: number, y: number } | null} the point under the hand */
  let moving = null;

  const round = (/** @type {number} */ value) => Number(value.toPrecision(6));
  /** @returns {[number, number][]} */
  const now = () => refits.current("points") ?? Array.from(data.train().x, (x, i) => [x, data.train().y[i]]);

  const edits = {
    move(/** @type {number} */ row, /** @type {number} */ x, /** @type {number} */ y, /** @type {boolean} */ done) {
      moving = done ? null : { row, x, y };
      const points = now().map((pair) => [...pair]);
      points[row] = [round(x), round(y)];
      refits.ask({ points });
      if (done) frame.select({ point: row });
    },
    add(/** @type {number} */ x, /** @type {number} */ y) {
      refits.ask({ points: [...now(), [round(x), round(y)]] });
      frame.say(`added a point at ${short(x)}, ${short(y)}`);
    },
    remove(/** @type {number} */ row) {
      if (now().length < 2) return frame.say("the last point stays");
      refits.ask({ points: now().filter((_, i) => i !== row) });
      frame.select({ point: null });
      return frame.say("point removed");
    },
    pin: (/** @type {number} */ row) => frame.select({ point: model.get("selection").point === row ? null : row }),
  };
  const edit = el("div", { class: "dw-edit", "data-testid": "edit" });
  const hint = el("span", {});
  const tool = (
    /** @type {string} */ id,
    /** @type {string} */ label,
    /** @type {string} */ help,
    /** @type {() => void} */ run,
  ) => {
    const button = el("button", { class: "dw-button dw-outlined", "data-testid": id, title: help }, label);
    frame.listen(button, "click", run);
    return button;
  };
  const addButton = tool("add-point", "add a point", "Adds one in the middle of the axis, at the mean there", () => {
    const seen = data.seen(data.approaches()[0]);
    const j = Math.floor(seen.means[0].length / 2);
    edits.add(data.numbers(content().grid).data[j], seen.means[data.position()][j]);
  });
  const removeButton = tool("remove-point", "remove it", "Removes the pinned point (Delete)", () =>
    edits.remove(model.get("selection").point),
  );
  const resetButton = tool("reset-points", "points as fitted", "Puts every point back", () =>
    refits.ask({ points: null }),
  );
  const drawButton = tool(
    "samples",
    "draw samples",
    "Draws functions from the posterior; they move with the sliders",
    () => refits.ask({ samples: refits.current("samples") ? 0 : 6 }),
  );
  fill(edit, drawButton, addButton, removeButton, resetButton, hint);
  /**
   * The points as drawn: where the hand has them; partial residuals where other features are held.
   * @param {import("../data.js").Seen} seen
   * @param {number} index
   */
  function pointsOf(seen, index) {
    const { x, y, groups } = data.train();
    if (content().features.length > 1) {
      if (!seen.fitted || !content().curve) return { x, y };
      const grid = data.numbers(content().grid).data;
      const mean = seen.means[index];
      const step = (grid[grid.length - 1] - grid[0]) / (grid.length - 1);
      const fitted = seen.fitted[index];
      const part = y.map((value, i) => {
        const place = Math.max(0, Math.min(grid.length - 1.001, (x[i] - grid[0]) / step));
        const left = Math.floor(place);
        return mean[left] + (place - left) * (mean[left + 1] - mean[left]) + value - fitted[groups[i]];
      });
      return { x, y: part };
    }
    if (!moving && !refits.busy()) return { x, y };
    const wished = now();
    const found = { x: wished.map(([a]) => a), y: wished.map(([, b]) => b) };
    if (moving && moving.row < found.x.length) [found.x[moving.row], found.y[moving.row]] = [moving.x, moving.y];
    return found;
  }

  return {
    node: edit,
    edits,
    of: pointsOf,
    moving: () => moving !== null,
    update() {
      const editable = content().editable && !frame.standalone;
      for (const node of [addButton, removeButton, resetButton]) node.hidden = !editable;
      drawButton.hidden = frame.standalone || !content().live;
      drawButton.setAttribute("aria-pressed", String(Boolean(refits.current("samples"))));
      removeButton.toggleAttribute("disabled", model.get("selection").point === null);
      resetButton.hidden ||= refits.current("points") === null;
      write(
        hint,
        editable
          ? "drag a point · double-click adds one · Alt-click removes it"
          : frame.standalone && content().editable
            ? "points move where a kernel runs"
            : content().why_not,
      );
    },
  };
}
