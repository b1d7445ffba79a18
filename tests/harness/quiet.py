"""When a page has done what it was asked to do: nothing that it has put off is still to come.

A test acts (click, key, a trait set in Python), waits until the page is quiet, and then looks. Waiting for a fixed time
or a fixed number of frames instead fails on a busy machine; `races.py` finds tests that look without waiting.
"""

from playwright.sync_api import BrowserContext, Page

# Counts what scripts have put off: animation frames, and timers that are due soon. Longer timers (a request without an
# answer, a word that fades) belong to states that a test names. An interval that runs (play) is no unrest either.
WATCH = """(() => {
    const SOON = 500;
    const due = new Map();
    const { requestAnimationFrame: frame, cancelAnimationFrame: noFrame, setTimeout: timer, clearTimeout: noTimer } =
        globalThis;
    const later = (what) => String(what).slice(0, 120);
    globalThis.requestAnimationFrame = (run) => {
        const id = frame((time) => {
            due.delete(`frame ${id}`);
            run(time);
        });
        due.set(`frame ${id}`, later(run));
        return id;
    };
    globalThis.cancelAnimationFrame = (id) => {
        due.delete(`frame ${id}`);
        noFrame(id);
    };
    globalThis.setTimeout = (run, delay = 0, ...rest) => {
        if (typeof run !== "function" || delay > SOON) return timer(run, delay, ...rest);
        const id = timer(() => {
            due.delete(`timer ${id}`);
            run(...rest);
        }, delay);
        due.set(`timer ${id}`, later(run));
        return id;
    };
    globalThis.clearTimeout = (id) => {
        due.delete(`timer ${id}`);
        noTimer(id);
    };
    const fading = () => document.getAnimations().filter((one) =>
        one.playState === "running" && Number.isFinite(one.effect?.getComputedTiming().endTime));
    const next = () => new Promise((done) => frame(done));
    // Two frames in a row in which nothing was due: sizes are observed after a frame's scripts have run, and what a
    // change of size asks for comes in the next frame.
    const quiet = async (patience) => {
        const end = performance.now() + patience;
        for (let calm = 0; calm < 2; ) {
            await next();
            const moving = fading().length;
            calm = due.size || moving ? 0 : calm + 1;
            if (performance.now() > end) return [`${moving} transitions`, ...due.values()].join("; ");
        }
        return "";
    };
    Object.defineProperty(globalThis, "testsQuiet", { value: quiet });
})()"""
PATIENCE = 20_000  # milliseconds


def watch(context: BrowserContext) -> None:
    """Count in every page of `context`, from its first script on, what is still to come."""
    context.add_init_script(WATCH)


def settle(page: Page) -> None:
    """Wait until everything that `page` was asked for has been drawn; AssertionError if it does not come to rest."""
    unrest = page.evaluate("patience => globalThis.testsQuiet(patience)", PATIENCE)
    assert not unrest, f"the page did not come to rest: {unrest}"
