// The bar: title, computed caption, the switches that matter most, and the buttons that every explorer has.

import { pythonCall } from "./code.js";
import { el, fill, write } from "./dom.js";
import { saveText, savePicture } from "./downloads.js";
import { createExplain } from "./explain.js";
import { icon } from "./icons.js";
import { tableView, toCsv } from "./table.js";

/** The bar.
 * @typedef {{ node: HTMLElement, explain: ReturnType<typeof createExplain>, onDismiss: (action: () => void) => void, describe: (name: string, text: string) =>
 *   void, update: () => void }} Bar */

/**
 * @param {import("./frame.js").Frame} frame
 * @returns {Bar}
 */
export function createBar(frame) {
  const { model, filling } = frame;
  const title = el("div", { class: "dw-title", role: "heading", "aria-level": 3, "data-testid": "title" });
  const caption = el("p", { class: "dw-caption", "data-testid": "caption" });
  const inBar = el("div", { class: "dw-choices" });
  const tools = el("div", { class: "dw-tools", role: "toolbar", "aria-label": "View" });
  const panel = el("div", { class: "dw-panel", role: "dialog", "data-testid": "panel", tabindex: -1, hidden: true });
  const node = el("header", { class: "dw-bar", "data-testid": "bar" }, title, inBar, tools, caption, panel);

  /** @type {HTMLButtonElement | null} */
  let opener = null;
  let refresh = () => {};

  function close() {
    if (panel.hidden) return;
    panel.hidden = true;
    opener?.setAttribute("aria-expanded", "false");
    opener?.focus({ preventScroll: true });
    opener = null;
    refresh = () => {};
  }

  /**
   * @param {HTMLButtonElement} button
   * @param {string} heading
   * @param {() => import("./dom.js").Child[]} content
   */
  function toggle(button, heading, content) {
    const again = opener === button;
    close();
    if (again) return;
    opener = button;
    button.setAttribute("aria-expanded", "true");
    panel.setAttribute("aria-label", heading);
    const body = el("div", { class: "dw-panel-body", tabindex: 0 });
    fill(body, ...content());
    const shut = el(
      "button",
      { class: "dw-button", title: "Close (Esc)", "aria-label": "Close", onclick: close },
      icon("close"),
    );
    fill(panel, el("div", { class: "dw-panel-head" }, el("strong", {}, heading), shut), body);
    panel.hidden = false;
    /** @type {HTMLElement} */ (body.querySelector("select, input, button") ?? panel).focus({ preventScroll: true });
  }

  /**
   * @param {string} label
   * @param {string} key
   * @param {string} help
   * @param {import("./icons.js").IconName} image
   * @param {(button: HTMLButtonElement) => void} run
   * @param {boolean} [named] show the label beside the icon
   */
  function tool(label, key, help, image, run, named = false) {
    const button = el(
      "button",
      {
        class: "dw-button",
        title: `${help} (${key.toUpperCase()})`,
        "aria-label": help,
        "data-testid": `tool-${label}`,
      },
      icon(image),
      named && el("span", { class: "dw-word" }, label),
    );
    frame.listen(button, "click", () => run(button));
    frame.keys.add(key, help.toLowerCase(), () => run(button), key.toUpperCase());
    tools.append(button);
    return button;
  }

  const explain = createExplain(frame);
  tool("explain", "e", "Explain this view step by step", "explain", () => explain.toggle(), true);
  const controls = filling.settings.map((setting) => ({ setting, ...control(frame, setting) }));
  fill(inBar, ...controls.filter(({ setting }) => setting.inBar).map(({ node: row }) => row));
  const behind = controls.filter(({ setting }) => !setting.inBar);

  frame.keys.add(
    "Escape",
    "close a panel; let go of what is pinned",
    () => (!panel.hidden ? close() : explain.on() ? explain.end() : dismiss()),
    "Esc",
  );
  if (behind.length) {
    tool(
      "settings",
      "s",
      "Settings of this view",
      "settings",
      (button) => toggle(button, "Settings", () => behind.map(({ node: row }) => row)),
      true,
    );
  }
  tool(
    "data",
    "d",
    "Data behind this view",
    "table",
    (button) =>
      toggle(button, "What is shown, as numbers", () => {
        let table = filling.table();
        let shown = tableView(table);
        let known = JSON.stringify(table.rows);
        // The numbers follow the view; the buttons above them keep the focus.
        refresh = () => {
          table = filling.table();
          const now = JSON.stringify(table.rows);
          if (now === known) return;
          known = now;
          const next = tableView(table);
          const top = shown.scrollTop;
          shown.replaceWith(next);
          next.scrollTop = top;
          shown = next;
        };
        return [
          el(
            "p",
            { class: "dw-row" },
            `${table.rows.length.toLocaleString("en")} rows`,
            copyButton("copy as CSV", () => toCsv(table)),
            textButton("save as CSV", () => saveText(`${filling.name}.csv`, toCsv(table), "text/csv")),
          ),
          shown,
        ];
      }),
    true,
  );
  tool(
    "code",
    "c",
    "Code that recreates this view",
    "code",
    (button) =>
      toggle(button, "Python that recreates this view", () => {
        const code = `import widgets\n\n${pythonCall(model)}`;
        return [
          el("pre", { class: "dw-code", "data-testid": "code", tabindex: 0 }, el("code", {}, code)),
          el(
            "p",
            { class: "dw-row" },
            copyButton("copy", () => code),
          ),
        ];
      }),
    true,
  );
  tool("download", "p", "Download a picture or a page", "download", (button) =>
    toggle(button, "Take it with you", () => [
      el(
        "p",
        { class: "dw-row" },
        textButton(
          "PNG picture",
          () => void savePicture(frame, filling.name).catch((error) => frame.status.fail(String(error))),
        ),
        "as it looks now",
      ),
      !frame.standalone &&
        el(
          "p",
          { class: "dw-row" },
          textButton("HTML page", () =>
            frame.requests.ask("to_html", {}, (page) => saveText(`${filling.name}.html`, page, "text/html")),
          ),
          "alive without Jupyter",
        ),
    ]),
  );
  tool("expand", "f", "Fill the screen", "expand", () => {
    if (document.fullscreenElement) void document.exitFullscreen();
    else void frame.root.requestFullscreen?.().catch(() => frame.say("this page may not fill the screen"));
  });
  tool("help", "?", "Keys", "help", (button) => toggle(button, "Keys", () => [frame.keys.list()]));

  frame.listen(frame.root, "pointerdown", (/** @type {PointerEvent} */ event) => {
    const target = /** @type {Node} */ (event.target);
    if (!panel.hidden && !panel.contains(target) && !tools.contains(target)) close();
  });

  /** @type {() => void} */
  let dismiss = () => {};
  return {
    node,
    explain,
    /** @param {() => void} action what Escape does when no panel is open */
    onDismiss(action) {
      dismiss = action;
    },
    /**
     * @param {string} name
     * @param {string} text
     */
    describe(name, text) {
      write(title, name);
      write(caption, text);
      frame.root.setAttribute("aria-label", `${name}. ${text}`);
    },
    /** Bring controls and an open panel up to date. */
    update() {
      for (const { update } of controls) update();
      refresh();
    },
  };

  /**
   * @param {string} label
   * @param {() => void} run
   */
  function textButton(label, run) {
    const button = el("button", { class: "dw-button dw-outlined" }, label);
    button.addEventListener("click", () => frame.guard(run));
    return button;
  }

  /**
   * @param {string} label
   * @param {() => string} text
   */
  function copyButton(label, text) {
    const button = textButton(label, () => {
      const written = navigator.clipboard?.writeText(text()) ?? Promise.reject(new Error("no clipboard"));
      written.then(
        () => write(button, "copied"),
        () => write(button, "select and copy by hand"),
      );
    });
    return button;
  }
}

/**
 * A control bound to a trait.
 * @param {import("./frame.js").Frame} frame
 * @param {import("./frame.js").Setting} setting
 * @returns {{ node: HTMLElement, update: () => void }}
 */
function control(frame, setting) {
  const { model } = frame;
  if (setting.kind === "switch") {
    const box = el("input", { type: "checkbox", "data-testid": `setting-${setting.trait}` });
    frame.listen(box, "change", () => frame.save({ [setting.trait]: box.checked }));
    return {
      node: el("label", { class: "dw-setting", title: setting.help }, box, el("span", {}, setting.label)),
      update: () => void (box.checked = Boolean(model.get(setting.trait))),
    };
  }
  const list = el("select", { "data-testid": `setting-${setting.trait}`, "aria-label": setting.label });
  let known = "";
  frame.listen(list, "change", () =>
    setting.save ? setting.save(list.value) : frame.save({ [setting.trait]: list.value }),
  );
  const node = el("label", { class: "dw-setting", title: setting.help }, el("span", {}, setting.label), list);
  return {
    node,
    update: () => {
      const choices = setting.choices?.() ?? [];
      const now = JSON.stringify(choices);
      if (now !== known) fill(list, ...choices.map(({ value, label }) => el("option", { value }, label)));
      known = now;
      list.value = model.get(setting.trait);
      node.hidden = choices.length < 2;
    },
  };
}
