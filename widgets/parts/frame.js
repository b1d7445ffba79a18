// The frame of every explorer: bar, stage, inspector, timeline and status, with drawing, listening and cleaning up.

import { createBar } from "./bar.js";
import { el, write } from "./dom.js";
import { createKeys } from "./keys.js";
import { createRequests } from "./requests.js";
import { createScreen } from "./screen.js";
import { createStatus } from "./status.js";
import { readTheme, watchTheme } from "./theme.js";
import { createTooltip } from "./tooltip.js";

/** The version that both halves must agree on; widgets/core/explorer.py has the other copy. */
export const PROTOCOL = 1;

/** One row of the settings panel, bound to the trait of the same name.
 * @typedef {object} Setting
 * @property {string} trait
 * @property {string} label
 * @property {"switch" | "choice"} kind
 * @property {() => { value: string, label: string }[]} [choices]
 * @property {boolean} [inBar] shown in the bar itself, not behind the settings button
 * @property {string} [help]
 * @property {(value: string) => void} [save] what a choice does, where it must ask Python first
 */

/** What every explorer can be set to. @type {Setting[]} */
const COMMON = [
  { trait: "projector", label: "Larger type, lines and points, for a projector", kind: "switch" },
  {
    trait: "play",
    label: "Play once when first seen",
    kind: "switch",
    help: "Not where the system asks for reduced motion",
  },
];

/** @typedef {{ columns: string[], rows: (string | number | null)[][] }} Table */

/** What an explorer gives its frame.
 * @typedef {object} Filling
 * @property {string} name file name of downloads, without its ending
 * @property {Setting[]} settings
 * @property {() => Table} table what is seen, as numbers
 */

/** What every part and every explorer stands on.
 * @typedef {object} Frame
 * @property {import("./dom.js").Model} model
 * @property {HTMLElement} root
 * @property {HTMLElement} stage
 * @property {HTMLElement} inspector
 * @property {HTMLElement} timeline
 * @property {Filling} filling
 * @property {import("./tooltip.js").Tooltip} tooltip
 * @property {import("./status.js").Status} status
 * @property {import("./requests.js").Requests} requests
 * @property {import("./keys.js").Keys} keys
 * @property {import("./bar.js").Bar} bar
 * @property {(node: HTMLElement, least: number, most: number) => number} room px of height that a picture may take, so
 *     that bar, picture and timeline are seen together
 * @property {import("./theme.js").Theme} theme read again when the notebook's theme changes
 * @property {boolean} standalone on a page made by to_html: nothing can be asked of Python
 * @property {() => void} relayout what stands above the picture has changed for good: measure anew and draw
 * @property {() => void} invalidate draw at the next animation frame, however often this is called before it
 * @property {(drawing: (theme: import("./theme.js").Theme) => void) => void} onDraw
 * @property {(cleaning: () => void) => void} onDispose
 * @property {<E extends Event>(target: EventTarget, type: string, handler: (event: E) => void) => void} listen until
 *     the view goes away; what the handler throws is shown
 * @property {(traits: string[], handler: () => void) => void} watch traits until the view goes away
 * @property {(action: () => void) => void} guard run it; what it throws goes to the error strip
 * @property {(changes: Record<string, any>) => void} save change traits and tell Python
 * @property {(action: () => void) => void} locally what `action` saves changes what this page shows; Python is not told
 * @property {() => void} resume after such actions: what else was saved meanwhile may have taken some of it along
 * @property {() => boolean} local such an action is under way
 * @property {(changes: Record<string, any>) => void} select change part of the selection
 * @property {(text: string) => void} say to a screen reader
 * @property {() => void} dispose
 */

/**
 * @param {{ model: import("./dom.js").Model, el: HTMLElement }} view
 * @param {Filling} filling
 * @returns {Frame}
 */
export function createFrame({ model, el: host }, filling) {
  const stop = new AbortController();
  const stage = el("section", { class: "dw-stage", "data-testid": "stage", "aria-label": "Stage" });
  const inspector = el("aside", { class: "dw-inspector", "data-testid": "inspector", "aria-label": "Inspector" });
  const timeline = el("section", {
    class: "dw-timeline",
    "data-testid": "timeline",
    "aria-label": "Timeline",
    hidden: true,
  });
  const live = el("div", { class: "dw-unseen", "aria-live": "polite", "data-testid": "live" });
  // Lumino skips its shortcuts inside this attribute: "d" opens the data here and does not delete the notebook's cell.
  const root = el("div", {
    class: "dw",
    "data-testid": "explorer",
    "data-lm-suppress-shortcuts": "true",
    tabindex: -1,
    role: "group",
  });
  const body = el("div", { class: "dw-body" }, stage, inspector);

  /** @type {(() => void)[]} */
  const cleanings = [];
  /** @type {((theme: import("./theme.js").Theme) => void)[]} */
  const drawings = [];
  /** @type {import("./theme.js").Theme | null} */
  let theme = null;
  let pending = 0;
  let drawn = 0;
  let quietly = false;

  const screen = createScreen(root, timeline);
  cleanings.push(screen.dispose);

  /** @type {Frame} */
  const frame = {
    model,
    root,
    stage,
    inspector,
    timeline,
    filling: { ...filling, settings: [...filling.settings, ...COMMON] },
    room: screen.room,
    tooltip: createTooltip(root),
    // Made below: each of these stands on the frame itself.
    status: /** @type {any} */ (null),
    requests: /** @type {any} */ (null),
    keys: /** @type {any} */ (null),
    bar: /** @type {any} */ (null),
    standalone: Boolean(model.get("standalone")),
    get theme() {
      return (theme ??= readTheme(root));
    },
    invalidate() {
      if (!pending && !stop.signal.aborted) pending = requestAnimationFrame(draw);
    },
    relayout() {
      screen.forget();
      frame.invalidate();
    },
    onDraw: (drawing) => void drawings.push(drawing),
    onDispose: (cleaning) => void cleanings.push(cleaning),
    listen(target, type, handler) {
      const guarded = (/** @type {Event} */ event) => frame.guard(() => handler(/** @type {any} */ (event)));
      target.addEventListener(type, guarded, { signal: stop.signal });
    },
    watch(traits, handler) {
      for (const trait of traits) {
        model.on(`change:${trait}`, handler);
        cleanings.push(() => model.off(`change:${trait}`, handler));
      }
    },
    guard(action) {
      try {
        action();
      } catch (error) {
        frame.status.fail(error instanceof Error ? (error.stack ?? String(error)) : String(error));
      }
    },
    save(changes) {
      for (const [trait, value] of Object.entries(changes)) model.set(trait, value);
      if (!quietly) model.save_changes();
    },
    locally(action) {
      const nested = quietly;
      quietly = true;
      frame.guard(action);
      quietly = nested;
    },
    resume: () => void (model.get("error") || model.save_changes()),
    local: () => quietly,
    select(changes) {
      const selection = model.get("selection");
      if (Object.entries(changes).some(([key, value]) => selection[key] !== value))
        frame.save({ selection: { ...selection, ...changes } });
    },
    say: (text) => write(live, text),
    dispose() {
      stop.abort();
      cancelAnimationFrame(pending);
      for (const cleaning of cleanings.splice(0)) cleaning();
      root.remove();
    },
  };

  frame.keys = createKeys(frame);
  frame.status = createStatus(frame);
  frame.requests = createRequests(frame);
  frame.bar = createBar(frame);
  root.append(frame.bar.node, frame.bar.explain.node, body, timeline, frame.status.node, live, frame.tooltip.node);
  host.append(root);

  if (model.get("protocol") !== PROTOCOL) {
    frame.status.fail(
      `The Python half of this widget speaks version ${model.get("protocol")}, this page version ${PROTOCOL}: reload this browser tab.`,
    );
  }
  if (!frame.standalone) model.send({ type: "hello", protocol: PROTOCOL });

  cleanings.push(
    watchTheme(() => {
      theme = null;
      frame.invalidate();
    }),
  );
  const resized = new ResizeObserver(([entry]) => {
    const width = entry.contentRect.width;
    root.toggleAttribute("data-narrow", width > 0 && width < 700);
    root.toggleAttribute("data-compact", width > 0 && width < 980);
    frame.invalidate();
  });
  resized.observe(root);
  cleanings.push(() => resized.disconnect());
  const project = () => {
    root.toggleAttribute("data-projector", Boolean(model.get("projector")));
    theme = null;
    frame.invalidate();
  };
  frame.watch(["projector", "play"], project);
  project();
  frame.listen(document, "fullscreenchange", () => frame.invalidate());
  frame.listen(globalThis, "resize", () => frame.invalidate());

  function draw() {
    pending = 0;
    if (root.clientWidth === 0) return; // not on the page yet: the ResizeObserver calls again
    screen.measure();
    frame.guard(() => {
      for (const drawing of drawings) drawing(frame.theme);
    });
    if (drawn++) return;
    requestAnimationFrame(() => {
      draw(); // what was drawn first had no sizes to go by
      root.setAttribute("data-ready", "true");
    });
  }
  return frame;
}
