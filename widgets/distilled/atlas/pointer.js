// Hands on the atlas: move, zoom, point, click, draw a rectangle or a lasso, and walk with the keys.

/** @typedef {"move" | "rectangle" | "lasso"} Tool */

/** @typedef {"only" | "add" | "subtract" | "toggle"} How what a selection does with the one there was */

/** What the atlas does.
 * @typedef {object} Hands
 * @property {() => import("./layout.js").Layout | null} layout
 * @property {import("./viewport.js").Viewport} viewport
 * @property {() => Tool} tool
 * @property {() => number | null} cursor the image that the keys stand on
 * @property {(row: number | null, pixel: [number, number] | null, point: { x: number, y: number } | null, spoken:
 *   boolean) => void} hover
 * @property {(rows: number[], how: How) => void} pick
 * @property {(line: [number, number][] | null) => void} outline
 * @property {() => void} moved
 */

const NEAR = 4; // px; a shorter drag is a click
const SCROLL = 400; // ms without a wheel event after which a new scroll begins

/**
 * @param {import("../../parts/frame.js").Frame} frame
 * @param {HTMLCanvasElement} canvas
 * @param {Hands} hands
 */
export function createPointer(frame, canvas, hands) {
  const { viewport } = hands;
  /** @type {Map<number, [number, number]>} */
  const fingers = new Map();
  /** @type {{ from: [number, number], draws: Tool, how: How, line: [number, number][], moved: boolean } | null} */
  let drag = null;
  let elsewhere = -Infinity;

  /** @param {MouseEvent} event @returns {[number, number]} */
  const place = (event) => {
    const { left, top } = canvas.getBoundingClientRect();
    return [event.clientX - left, event.clientY - top];
  };
  const howOf = (/** @type {MouseEvent} */ event) =>
    /** @type {How} */ (
      event.altKey ? "subtract" : event.shiftKey ? "add" : event.ctrlKey || event.metaKey ? "toggle" : "only"
    );

  // A scroll of the page that runs over the atlas goes on; one that begins on the atlas zooms it.
  frame.listen(document, "wheel", (/** @type {WheelEvent} */ event) => {
    if (event.target !== canvas) elsewhere = event.timeStamp;
  });
  canvas.addEventListener(
    "wheel",
    (event) => {
      if (event.timeStamp - elsewhere < SCROLL && !event.ctrlKey) return void (elsewhere = event.timeStamp);
      if (event.deltaY > 0 && viewport.fitted && !event.ctrlKey) return; // nothing to zoom out of: the page scrolls
      event.preventDefault();
      const pace = event.deltaMode === 1 ? 0.05 : event.ctrlKey ? 0.01 : 0.0022;
      frame.guard(() => {
        viewport.zoom(Math.exp(-Math.max(-240, Math.min(240, event.deltaY)) * pace), ...place(event));
        hands.moved();
      });
    },
    { passive: false }, // the frame's listeners are passive where the browser says so; this one must be able to hold the page
  );

  frame.listen(canvas, "pointerdown", (/** @type {PointerEvent} */ event) => {
    if (event.button !== 0) return;
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, place(event));
    if (fingers.size > 1) {
      drag = null;
      hands.outline(null);
      return;
    }
    const how = howOf(event);
    const tool = hands.tool();
    // With the moving hand, a key that changes the selection makes the drag a rectangle.
    const draws = tool === "move" && (how === "add" || how === "subtract") ? "rectangle" : tool;
    drag = { from: place(event), draws, how, line: [place(event)], moved: false };
  });

  frame.listen(canvas, "pointermove", (/** @type {PointerEvent} */ event) => {
    const now = place(event);
    const before = fingers.get(event.pointerId);
    if (before && fingers.size === 2) {
      const [other] = [...fingers].filter(([id]) => id !== event.pointerId).map(([, point]) => point);
      const apart = (/** @type {[number, number]} */ point) => Math.hypot(point[0] - other[0], point[1] - other[1]);
      viewport.pan((now[0] - before[0]) / 2, (now[1] - before[1]) / 2);
      viewport.zoom(apart(now) / Math.max(1, apart(before)), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
      fingers.set(event.pointerId, now);
      return hands.moved();
    }
    if (!drag || !before) return point(event);
    fingers.set(event.pointerId, now);
    if (!drag.moved && Math.hypot(now[0] - drag.from[0], now[1] - drag.from[1]) < NEAR) return;
    if (!drag.moved) hands.hover(null, null, null, false);
    drag.moved = true;
    if (drag.draws === "move") {
      canvas.style.cursor = "grabbing";
      viewport.pan(now[0] - before[0], now[1] - before[1]);
      return hands.moved();
    }
    const [x, y] = drag.from;
    if (drag.draws === "lasso") drag.line.push(now);
    else drag.line = [[x, y], [now[0], y], now, [x, now[1]]];
    hands.outline(drag.line);
  });

  const release = (/** @type {PointerEvent} */ event) => {
    fingers.delete(event.pointerId);
    const ended = drag;
    drag = null;
    canvas.style.cursor = "";
    if (!ended || event.type === "pointercancel") return hands.outline(null);
    const layout = hands.layout();
    if (!layout) return;
    if (!ended.moved) {
      const found = layout.under(...viewport.world(...ended.from));
      if (found) hands.pick([found.row], ended.how);
      return;
    }
    if (ended.draws === "move") return;
    const line = ended.line.map((corner) => viewport.world(...corner));
    hands.outline(null);
    const rows =
      ended.draws === "lasso"
        ? layout.inside(line)
        : layout.touching(
            Math.min(line[0][0], line[2][0]),
            Math.min(line[0][1], line[2][1]),
            Math.max(line[0][0], line[2][0]),
            Math.max(line[0][1], line[2][1]),
          );
    hands.pick(rows, ended.how === "toggle" ? "add" : ended.how);
  };
  frame.listen(canvas, "pointerup", release);
  frame.listen(canvas, "pointercancel", release);

  /** @param {PointerEvent} event */
  function point(event) {
    const found = hands.layout()?.under(...viewport.world(...place(event))) ?? null;
    canvas.style.cursor = hands.tool() !== "move" ? "crosshair" : found ? "pointer" : "grab";
    hands.hover(found?.row ?? null, found?.pixel ?? null, found && { x: event.clientX, y: event.clientY }, false);
  }
  const leave = () => hands.hover(null, null, null, false);
  frame.listen(canvas, "pointerleave", leave);
  frame.listen(canvas, "blur", leave);
  frame.listen(canvas, "dblclick", (/** @type {MouseEvent} */ event) => {
    const found = hands.layout()?.under(...viewport.world(...place(event)));
    if (viewport.fitted && found) viewport.close(found.row);
    else viewport.all();
    hands.moved();
  });

  frame.listen(canvas, "keydown", (/** @type {KeyboardEvent} */ event) => {
    const layout = hands.layout();
    if (!layout || event.ctrlKey || event.metaKey || !layout.places.size) return;
    const from = hands.cursor();
    if (event.key === "Enter" || event.key === " ") {
      if (event.key === " " || from === null) return;
      hands.pick([from], event.altKey ? "subtract" : event.shiftKey ? "add" : "toggle");
    } else if (/^Arrow|^Page/.test(event.key)) {
      const next =
        from === null || !layout.places.has(from) ? layout.placed[0].block.rows[0] : layout.beside(from, event.key);
      viewport.reveal(next);
      const [x, y] = /** @type {[number, number]} */ (layout.corner(next));
      const view = viewport.now();
      const bounds = canvas.getBoundingClientRect();
      if (event.shiftKey) hands.pick(from === null ? [next] : [from, next], "add");
      else if (event.altKey) hands.pick(from === null ? [next] : [from, next], "subtract");
      hands.hover(
        next,
        null,
        {
          x: bounds.left + (x + layout.size[1] - view.x) * view.scale,
          y: bounds.top + (y + layout.size[0] / 2 - view.y) * view.scale,
        },
        true,
      );
      hands.moved();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });
}
