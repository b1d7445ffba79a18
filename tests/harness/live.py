"""A page whose model talks to an explorer in this process: the round trip to Python without a Jupyter server."""

import base64
import json
import queue
import time

from harness.pages import unfold
from harness.quiet import settle

MODEL = """(state) => {
    const handlers = new Map();
    const on = (name, run) => handlers.set(name, [...(handlers.get(name) ?? []), run]);
    const fire = (name, ...values) => (handlers.get(name) ?? []).forEach((run) => run(...values));
    const revive = (arrays) => {
        for (const packed of Object.values(arrays)) {
            if (typeof packed.data === "string") {
                packed.data = new DataView(Uint8Array.from(atob(packed.data), (c) => c.charCodeAt(0)).buffer);
            }
        }
        return arrays;
    };
    const bulky = (name) => /(^|_)arrays$/.test(name);
    for (const name of Object.keys(state)) if (bulky(name)) revive(state[name]);
    globalThis.outbox = [];
    const changed = new Set();
    const model = {
        get: (name) => state[name],
        set(name, value) {
            if (JSON.stringify(state[name]) === JSON.stringify(value)) return;
            state[name] = value;
            changed.add(name);
            fire(`change:${name}`);
        },
        save_changes() {
            globalThis.outbox.push({ update: Object.fromEntries([...changed].map((name) => [name, state[name]])) });
            changed.clear();
        },
        on,
        off: (name, run) => handlers.set(name, (handlers.get(name) ?? []).filter((one) => one !== run)),
        send: (content) => globalThis.outbox.push({ message: content }),
    };
    globalThis.fromPython = ({ state: news, message }) => {
        if (message) return fire("msg:custom", message, []);
        for (const [name, value] of Object.entries(news)) state[name] = bulky(name) ? revive(value) : value;
        for (const name of Object.keys(news)) fire(`change:${name}`);
    };
    return model;
}"""


class Wire:
    """Carries what the page says to the explorer and what the explorer says to the page, when `pump` is called."""

    def __init__(self, page, explorer):
        self.page, self.explorer = page, explorer
        self.part = page.get_by_test_id
        self.problems = []
        self.inbox = queue.Queue()
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        explorer.send = explorer._jobs._send = lambda content, buffers=None: self.inbox.put({"message": content})
        names = [name for name in explorer._state_names() if name != "protocol"]
        explorer.observe(lambda change: self.inbox.put({"state": change.name}), names)

    def pump(self):
        """Carry what waits on either side; returns whether there was anything."""
        sent = self.page.evaluate("() => globalThis.outbox.splice(0)")
        for said in sent:
            if "update" in said:
                self.explorer.set_state(said["update"])
            else:
                self.explorer._answer(self.explorer, said["message"], [])
        waiting = []
        while not self.inbox.empty():
            waiting.append(self.inbox.get())
        names = {item["state"] for item in waiting if "state" in item}
        if names:
            self.page.evaluate(
                "news => globalThis.fromPython({ state: news })", {n: plain(self.explorer, n) for n in names}
            )
        for item in waiting:
            if "message" in item:
                self.page.evaluate("message => globalThis.fromPython({ message })", item["message"])
        return bool(sent or waiting)

    def unfold(self, name):
        """Open a part that is behind a line."""
        unfold(self.page, name)
        self.settle()

    def until(self, condition, seconds=60):
        """Carry messages until `condition()` is true. Of anything else it says nothing: `settle` before looking."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"still not so after {seconds} s; error: {self.explorer.error}"
            self.pump()
            self.page.wait_for_timeout(15)

    def settle(self, seconds=60):
        """Wait until nothing is computed, carried or to be drawn: both halves know the same and the page shows it."""
        end = time.monotonic() + seconds
        calm = False
        while not calm:
            assert time.monotonic() < end, f"still at work after {seconds} s: {list(self.explorer._jobs._running)}"
            idle = not self.explorer._jobs._running  # looked at first: a job that has ended has sent everything
            settle(self.page)
            calm = not self.pump() and idle


def plain(explorer, name):
    value = getattr(explorer, name)
    if name != "arrays" and not name.endswith("_arrays"):
        return value
    return {key: packed | {"data": base64.b64encode(packed["data"]).decode()} for key, packed in value.items()}


def live_html(explorer):
    """The page of `to_html`, with a model that listens to Python in place of the stand-in."""
    text = explorer.to_html()
    text = text.replace("part_parts_standalone.standaloneModel(", f"({MODEL})(")
    state = json.dumps("standalone")
    return text.replace(f"{state}: true", f"{state}: false")
