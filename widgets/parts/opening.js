// The first look: once, when it comes into view, an explorer plays from its first position to where it opens.

const LASTS = 4000; // ms at most
/** Models whose course has been played: another view of one does not play it again. */
const played = new WeakSet();

/**
 * Play once. Only what is seen moves: Python and other views hear nothing of it, and any touch ends it.
 * @param {import("./frame.js").Frame} frame
 * @param {import("./timeline.js").Course} course
 */
export function playOnce(frame, course) {
  const { model, root } = frame;
  const still = globalThis.matchMedia("(prefers-reduced-motion: reduce)").matches;
  const opening = model.get("recipe")?.defaults?.selection;
  const chosen = JSON.stringify(model.get("selection")) !== JSON.stringify(opening);
  if (still || chosen || !model.get("play") || played.has(model)) return;
  const goal = course.get();
  if (goal < 2) return;
  let timer = 0;
  const stop = (/** @type {boolean} */ back) => {
    if (!timer) return;
    clearInterval(timer);
    timer = 0;
    root.removeAttribute("data-opening");
    if (back) frame.locally(() => course.set(goal));
    frame.resume();
  };
  const start = () => {
    played.add(model);
    let at = 0;
    const step = () => {
      frame.locally(() => course.set(at));
      if (at++ >= goal) stop(false);
    };
    root.setAttribute("data-opening", "true");
    timer = /** @type {any} */ (setInterval(step, Math.max(40, Math.min(350, LASTS / (goal + 1)))));
    step();
  };
  const watcher = new IntersectionObserver(
    ([entry]) => {
      if (!entry.isIntersecting || document.hidden) return;
      watcher.disconnect();
      start();
    },
    { threshold: 0.25 },
  );
  watcher.observe(root);
  for (const type of ["pointerdown", "keydown", "wheel"])
    frame.listen(root, type, () => {
      watcher.disconnect();
      stop(true);
    });
  // Python, or a view linked to this one, says where to be: that counts.
  frame.watch(["selection", "content"], () => !frame.local() && stop(false));
  frame.onDispose(() => {
    watcher.disconnect();
    stop(true);
  });
}
