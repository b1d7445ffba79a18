// The part of the atlas that is seen: shared by all its pictures, so that they move as one.

/** @typedef {ReturnType<typeof createViewport>} Viewport */

const CLOSEST = 72; // px per pixel of an image

export function createViewport() {
  /** Everything is seen, whatever the size of the stage. */
  let fitted = true;
  let [x, y, scale] = [0, 0, 1];
  /** @type {import("./layout.js").Layout | null} */
  let layout = null;
  let size = [1, 1];

  function settle() {
    if (!layout) return;
    const least = layout.scale;
    scale = fitted ? least : Math.max(least, Math.min(Math.max(CLOSEST, least), scale));
    fitted = scale <= least * 1.0001;
    [x, y] = [x, y].map((value, axis) => {
      const room = /** @type {import("./layout.js").Layout} */ (layout).world[axis] - size[axis] / scale;
      return Math.max(0, Math.min(Math.max(0, room), value));
    });
  }

  return {
    get fitted() {
      return fitted;
    },
    /** As drawn now. */
    now: () => ({ x, y, scale }),
    /** @param {import("./layout.js").Layout} next @param {number} width @param {number} height */
    fit(next, width, height) {
      // Other images than before are seen from the start; the same ones, in whatever order or moment, stay in place.
      if (layout && (layout.placed.length !== next.placed.length || layout.places.size !== next.places.size))
        fitted = true;
      layout = next;
      size = [width, height];
      settle();
    },
    all() {
      fitted = true;
      settle();
    },
    /**
     * Zoom so that the point (px of the stage) stays where it is.
     * @param {number} factor
     * @param {number} px
     * @param {number} py
     */
    zoom(factor, px, py) {
      const [u, v] = [x + px / scale, y + py / scale];
      const least = layout?.scale ?? 0;
      fitted = false;
      scale = Math.max(least, Math.min(Math.max(CLOSEST, least), scale * factor));
      [x, y] = [u - px / scale, v - py / scale];
      settle();
    },
    /** @param {number} dx px @param {number} dy px */
    pan(dx, dy) {
      x -= dx / scale;
      y -= dy / scale;
      settle();
    },
    /** Bring an image into view. @param {number} row */
    reveal(row) {
      const corner = layout?.corner(row);
      if (!layout || !corner) return;
      const [h, w] = layout.size;
      const margin = 8 / scale;
      if (corner[0] - margin < x) x = corner[0] - margin;
      else if (corner[0] + w + margin > x + size[0] / scale) x = corner[0] + w + margin - size[0] / scale;
      if (corner[1] - margin < y) y = corner[1] - margin;
      else if (corner[1] + h + margin > y + size[1] / scale) y = corner[1] + h + margin - size[1] / scale;
      settle();
    },
    /** Fill the stage with one image. @param {number} row */
    close(row) {
      const corner = layout?.corner(row);
      if (!layout || !corner) return;
      const [h, w] = layout.size;
      fitted = false;
      scale = Math.max(layout.scale, Math.min(CLOSEST, 0.92 * Math.min(size[0] / w, size[1] / h)));
      [x, y] = [corner[0] + w / 2 - size[0] / scale / 2, corner[1] + h / 2 - size[1] / scale / 2];
      settle();
    },
    /** @param {number} px @param {number} py @returns {[number, number]} */
    world: (px, py) => [x + px / scale, y + py / scale],
  };
}
