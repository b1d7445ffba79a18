// Where each image of the atlas lies: blocks of classes in lines, as large as the stage allows; finding and walking.

/** A block of images in world coordinates, where one unit is one pixel of an image.
 * @typedef {object} Placed
 * @property {import("../data.js").Block} block
 * @property {number} x left end of the grid
 * @property {number} y upper end of the grid, below the header
 * @property {number} lines rows of images
 */

/** @typedef {ReturnType<typeof createLayout>} Layout */

const HEADER = 20; // px at the scale at which everything fits
const APART = [14, 6]; // px between blocks, across and down
const LARGEST = 128; // px of an image when everything fits

/**
 * @param {import("../data.js").Block[]} blocks
 * @param {[number, number]} size height and width of an image
 * @param {number} width px of the stage
 * @param {number} height px of the stage
 */
export function createLayout(blocks, [h, w], width, height) {
  const gap = Math.max(1, Math.round(Math.min(h, w) / 12));
  const named = blocks.some(({ title }) => title);
  // where classes mix, a line under each image says which is its own
  const pitch = [w + gap, h + (named ? gap : 2 * gap)];
  const header = named ? HEADER : 0;
  const most = Math.max(1, ...blocks.map(({ rows }) => rows.length));
  let best = { scale: 0, abreast: 1, columns: 1 };
  for (let abreast = 1; abreast <= Math.min(blocks.length, 12); abreast++) {
    for (let columns = 1; columns <= most; columns++) {
      let lines = 0;
      for (let k = 0; k < blocks.length; k += abreast) {
        let tallest = 0;
        for (let j = k; j < Math.min(blocks.length, k + abreast); j++)
          tallest = Math.max(tallest, Math.ceil(blocks[j].rows.length / columns));
        lines += tallest;
      }
      const bands = Math.ceil(blocks.length / abreast);
      const across = (width - (abreast - 1) * APART[0]) / (abreast * columns * pitch[0]);
      const down = (height - bands * header - (bands - 1) * APART[1]) / (lines * pitch[1]);
      const scale = Math.min(across, down, LARGEST / Math.max(h, w));
      if (scale > best.scale * 1.001) best = { scale, abreast, columns };
    }
  }
  const { abreast, columns } = best;
  // Where headers alone overfill the stage, everything is drawn tiny, and one zooms.
  const scale = Math.max(best.scale, 0.02);
  /** @type {Placed[]} */
  const placed = [];
  /** @type {Map<number, [number, number]>} which block an image is in, and its place there */
  const places = new Map();
  let y = 0;
  for (let k = 0; k < blocks.length; k += abreast) {
    let tallest = 0;
    blocks.slice(k, k + abreast).forEach((block, j) => {
      const lines = Math.ceil(block.rows.length / columns);
      placed.push({ block, x: j * (columns * pitch[0] + APART[0] / scale), y: y + header / scale, lines });
      block.rows.forEach((row, place) => places.set(row, [k + j, place]));
      tallest = Math.max(tallest, lines);
    });
    y += (header + APART[1]) / scale + tallest * pitch[1];
  }
  const world = [abreast * columns * pitch[0] + ((abreast - 1) * APART[0]) / scale - gap, y - APART[1] / scale - gap];

  /** Upper left corner of an image. @param {number} row @returns {[number, number] | null} */
  function corner(row) {
    const found = places.get(row);
    if (!found) return null;
    const { x, y: top } = placed[found[0]];
    return [x + (found[1] % columns) * pitch[0], top + Math.floor(found[1] / columns) * pitch[1]];
  }

  /** The image at a point, and the pixel of it. @param {number} x @param {number} y2 */
  function under(x, y2) {
    for (const { block, x: left, y: top, lines } of placed) {
      const [u, v] = [x - left, y2 - top];
      if (u < 0 || v < 0 || u >= columns * pitch[0] || v >= lines * pitch[1]) continue;
      const [column, line] = [Math.floor(u / pitch[0]), Math.floor(v / pitch[1])];
      const row = block.rows[line * columns + column];
      const pixel = /** @type {[number, number]} */ ([
        Math.floor(u - column * pitch[0]),
        Math.floor(v - line * pitch[1]),
      ]);
      if (row === undefined || pixel[0] >= w || pixel[1] >= h) return null;
      return { row, pixel };
    }
    return null;
  }

  /**
   * Images that a rectangle touches, in the order shown.
   * @param {number} x0
   * @param {number} y0
   * @param {number} x1
   * @param {number} y1
   */
  function touching(x0, y0, x1, y1) {
    /** @type {number[]} */
    const found = [];
    for (const { block, x, y: top, lines } of placed) {
      const [c0, c1] = [
        Math.max(0, Math.ceil((x0 - x - w) / pitch[0])),
        Math.min(columns - 1, Math.floor((x1 - x) / pitch[0])),
      ];
      const [l0, l1] = [
        Math.max(0, Math.ceil((y0 - top - h) / pitch[1])),
        Math.min(lines - 1, Math.floor((y1 - top) / pitch[1])),
      ];
      for (let line = l0; line <= l1; line++) {
        for (let column = c0; column <= c1; column++) {
          const row = block.rows[line * columns + column];
          if (row !== undefined) found.push(row);
        }
      }
    }
    return found;
  }

  /** Images whose middle lies inside a closed line. @param {[number, number][]} line */
  function inside(line) {
    const xs = line.map(([x]) => x);
    const ys = line.map(([, value]) => value);
    return touching(Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)).filter((row) => {
      const [x, value] = /** @type {[number, number]} */ (corner(row));
      return encloses(line, x + w / 2, value + h / 2);
    });
  }

  /**
   * The image one step away in a direction; the same one at an edge.
   * @param {number} row
   * @param {string} key
   * @returns {number}
   */
  function beside(row, key) {
    const order = () => placed.flatMap(({ block }) => block.rows);
    const found = places.get(row);
    if (!found) return order()[0];
    const [k, place] = found;
    const rows = placed[k].block.rows;
    if (key === "ArrowLeft") return rows[place - 1] ?? placed[k - 1]?.block.rows.at(-1) ?? row;
    if (key === "ArrowRight") return rows[place + 1] ?? placed[k + 1]?.block.rows[0] ?? row;
    if (key === "PageUp") return placed[k - 1]?.block.rows[0] ?? rows[0];
    if (key === "PageDown") return placed[k + 1]?.block.rows[0] ?? row;
    const down = key === "ArrowDown";
    const line = Math.floor(place / columns) + (down ? 1 : -1);
    if (line >= 0 && line < placed[k].lines) return rows[Math.min(rows.length - 1, line * columns + (place % columns))];
    // Into the block above or below: the one that is nearest, and there the image that is nearest.
    const [x] = /** @type {[number, number]} */ (corner(row));
    const candidates = placed.filter(({ y: top }) => (down ? top > placed[k].y : top < placed[k].y));
    if (!candidates.length) return row;
    const edge = down
      ? Math.min(...candidates.map(({ y: top }) => top))
      : Math.max(...candidates.map(({ y: top }) => top));
    const near = candidates
      .filter(({ y: top }) => top === edge)
      .sort((a, b) => Math.abs(a.x + (columns * pitch[0]) / 2 - x) - Math.abs(b.x + (columns * pitch[0]) / 2 - x))[0];
    const column = Math.max(0, Math.min(columns - 1, Math.round((x - near.x) / pitch[0])));
    return near.block.rows[Math.min(near.block.rows.length - 1, (down ? 0 : near.lines - 1) * columns + column)];
  }

  return {
    placed,
    places,
    columns,
    pitch,
    gap,
    size: [h, w],
    world,
    scale,
    header: header / scale,
    corner,
    under,
    touching,
    inside,
    beside,
  };
}

/**
 * @param {[number, number][]} line
 * @param {number} x
 * @param {number} y
 */
export function encloses(line, x, y) {
  let odd = false;
  for (let i = 0, j = line.length - 1; i < line.length; j = i++) {
    const [[x1, y1], [x2, y2]] = [line[i], line[j]];
    if (y1 > y !== y2 > y && x < ((x2 - x1) * (y - y1)) / (y2 - y1) + x1) odd = !odd;
  }
  return odd;
}
