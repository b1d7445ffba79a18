// How much of the screen an explorer has: its bar, its picture and its timeline fit into what is seen at once, and the
// timeline sticks to the lower edge while any of the explorer is in view.

const SETTLING = 3; // drawings until what stands above a picture has found its size
const EDGE = 16; // px that a page leaves around the explorer

/** The screen.
 * @typedef {object} Screen
 * @property {() => void} measure read what has been laid out; called before anything is drawn
 * @property {(node: HTMLElement, least: number, most: number) => number} room px of height that a picture may take
 * @property {() => void} forget what stands above the pictures has changed for good
 * @property {() => void} dispose
 */

/**
 * @param {HTMLElement} root
 * @param {HTMLElement} timeline
 * @returns {Screen}
 */
export function createScreen(root, timeline) {
  /** @type {Map<HTMLElement, number>} px between the upper end of the explorer and the picture */
  const above = new Map();
  /** @type {[HTMLElement, string][]} what clipped the explorer, and how */
  const freed = [];
  let scroller = /** @type {HTMLElement | null | undefined} */ (undefined);
  let height = 0;
  let width = 0;
  let measured = 0;

  /**
   * What scrolls the explorer; null: the page. Whatever clips it on the way there without scrolling would keep the
   * timeline from sticking: it goes on clipping, but is no place to scroll in any more.
   */
  function find() {
    for (let node = root.parentElement; node && node !== document.body; node = node.parentElement) {
      const { overflowX, overflowY } = getComputedStyle(node);
      if (!/auto|scroll|hidden/.test(overflowX + overflowY)) continue;
      if (/auto|scroll/.test(overflowY) && !grows(node)) return node;
      freed.push([node, node.style.overflow]);
      node.style.overflow = "clip";
    }
    return null;
  }

  /** @param {HTMLElement} node */
  const top = (node) => node.getBoundingClientRect().top - root.getBoundingClientRect().top;

  return {
    measure() {
      if (scroller === undefined && root.clientWidth > 0) scroller = find();
      const full = document.fullscreenElement === root;
      const seen = full ? globalThis.innerHeight - 40 : Math.min(globalThis.innerHeight, visible(scroller)) - EDGE;
      height = seen - (timeline.hidden ? 0 : timeline.offsetHeight);
      measured = root.clientWidth === width ? measured + 1 : 0;
      width = root.clientWidth;
      for (const [node, known] of above) {
        if (!node.checkVisibility()) continue;
        // The most that stood above it counts: a caption that takes a line more at some step does not move the picture.
        above.set(node, measured < SETTLING ? top(node) : Math.max(known, top(node)));
      }
    },
    room(node, least, most) {
      node.setAttribute("data-picture", "");
      let known = above.get(node);
      if (known === undefined && node.checkVisibility()) above.set(node, (known = top(node)));
      return Math.max(least, Math.min(most, Math.floor(height - (known ?? 0) - 8)));
    },
    forget() {
      measured = -1;
    },
    dispose() {
      for (const [node, overflow] of freed.splice(0)) node.style.overflow = overflow;
    },
  };
}

/** A box grows with what it holds, where one that is made for scrolling keeps its size. @param {HTMLElement} node */
function grows(node) {
  if (node.scrollHeight > node.clientHeight + 1) return false;
  const before = node.clientHeight;
  const probe = document.createElement("div");
  probe.style.height = "2px";
  node.append(probe);
  const after = node.clientHeight;
  probe.remove();
  return after > before;
}

/** @param {HTMLElement | null | undefined} scroller */
const visible = (scroller) =>
  scroller && scroller.clientHeight > 240 ? scroller.clientHeight : globalThis.innerHeight;
