// The closed form in use, with the term that a slider changes lit, and the numbers that stand in it.

import { formula, fraction, row, sub, subsup, sup, term } from "../../parts/math.js";
import { el, fill } from "../../parts/dom.js";
import { short } from "../../parts/numbers.js";

/**
 * @typedef {{ approach: "data" | "distribution", limit: boolean, constant: boolean, mixing: number, noise: number,
 *   step: number }} Form
 */

const K = () => term("kernel", "K");
const d = () => term("kernel", "d");
const V = () => term("kernel", "V");
const gamma = () => term("noise", "γ");
const alpha = () => term("mixing", "α");
const tau = () => term("step", "τ");
const y = () => term("points", "y");
const near = () => term("kernel", subsup("k", "∗", "⊤"));
const inverse = (/** @type {import("../../parts/math.js").Part[]} */ ...inside) =>
  sup(row("(", ...inside, ")"), row("−", "1"));
const mean = (/** @type {import("../../parts/math.js").Part} */ at) => row(sub("f", at), "(", sub("x", "∗"), ")", "=");

/**
 * @param {Form} form
 * @returns {Element}
 */
function meanFormula({ approach, limit, mixing, constant }) {
  if (approach === "distribution") {
    if (limit) return formula(mean("∞"), near(), sup(K(), "+"), y());
    const noise = constant
      ? fraction(gamma(), tau())
      : inverse(sub("∑", row("s", "≤", tau())), sup(sub(gamma(), "s"), row("−", "1")));
    return formula(mean(tau()), near(), inverse(K(), "+", noise, "I"), y());
  }
  if (limit)
    return mixing > 0
      ? formula(mean("∞"), near(), inverse(K(), "+", fraction(gamma(), alpha()), "I"), y())
      : formula(mean("∞"), "0");
  if (mixing === 0) {
    const power = constant
      ? sup(row("(", fraction(d(), row(d(), "+", gamma())), ")"), row(tau(), "−", "1"))
      : row(sub("∏", row("s", "<", tau())), fraction(d(), row(d(), "+", sub(gamma(), "s"))));
    return formula(
      mean(tau()),
      near(),
      V(),
      "diag",
      "(",
      fraction("1", row(d(), "+", gamma())),
      power,
      ")",
      sup(V(), "⊤"),
      y(),
    );
  }
  return formula(mean(tau()), near(), V(), "diag", "(", fraction(sub("b", tau()), d()), ")", sup(V(), "⊤"), y());
}

/** @param {Form} form */
function filterFormula({ approach, limit, mixing }) {
  if (approach !== "data" || limit || mixing === 0) return null;
  return formula(
    sub("b", tau()),
    "=",
    fraction(d(), row(d(), "+", gamma())),
    "(",
    alpha(),
    "+",
    "(",
    "1",
    "−",
    alpha(),
    ")",
    sub("b", row(tau(), "−", "1")),
    ")",
  );
}

/** @param {Form} form */
function varianceFormula({ approach, limit, constant }) {
  const noise =
    approach === "data" ? gamma() : limit ? null : constant ? fraction(gamma(), tau()) : sub(gamma(), "eff");
  const inside = noise ? inverse(K(), "+", noise, "I") : sup(K(), "+");
  return formula(
    sup("σ", "2"),
    "(",
    sub("x", "∗"),
    ")",
    "=",
    term("kernel", sub("k", "∗∗")),
    "−",
    near(),
    inside,
    term("kernel", sub("k", "∗")),
  );
}

/**
 * What a step of a classification is, by approach and mode: there is no closed form, but there is a posterior.
 * @param {string} approach
 * @param {string} mode
 * @returns {Element[]}
 */
export function lawFormulas(approach, mode) {
  const at = (/** @type {string} */ symbol) => sub(symbol, "i");
  const likelihood = () => row("p", "(", sub(y(), "i"), "|", at("f"), ")");
  const product = () => sub("∏", "i");
  if (approach === "data") {
    const targets = formula(
      sup(y(), row("(", tau(), ")")),
      "=",
      alpha(),
      y(),
      "+",
      "(",
      "1",
      "−",
      alpha(),
      ")",
      sup("π", row("(", tau(), "−", "1", ")")),
    );
    const density = formula(
      "log",
      "p",
      "(",
      y(),
      "|",
      "f",
      ")",
      "=",
      y(),
      "f",
      "−",
      "log",
      fraction(row(sup("e", "f"), "−", "1"), "f"),
    );
    return [targets, density];
  }
  const prior = (/** @type {import("../../parts/math.js").Part} */ gram) =>
    row("N", "(", "f", ";", "0", ",", gram, ")");
  const posterior = row(sub("p", tau()), "(", "f", "|", y(), ")", "∝");
  if (mode === "scaled") return [formula(posterior, prior(row(tau(), K())), product(), likelihood())];
  if (mode === "sequential")
    return [
      formula(
        sub("q", tau()),
        "(",
        "f",
        ")",
        "≈",
        sub("q", row(tau(), "−", "1")),
        "(",
        "f",
        ")",
        product(),
        likelihood(),
      ),
    ];
  return [formula(posterior, prior(K()), product(), sup(likelihood(), tau()))];
}

/**
 * Light all terms of one name below a node, and no others.
 * @param {Element} node
 * @param {string | null} name
 */
export function lightUp(node, name) {
  for (const part of node.querySelectorAll("[data-term]"))
    part.classList.toggle("dw-lit", part.getAttribute("data-term") === name);
}

export function createFormula() {
  const body = el("div", { class: "dw-formula", "data-testid": "formula" });
  let shown = "";
  return {
    node: body,
    /**
     * @param {Form[]} forms one per approach that is seen
     * @param {string | null} lit name of the term under the slider in use
     */
    update(forms, lit) {
      const key = JSON.stringify(
        forms.map(({ approach, limit, constant, mixing }) => [approach, limit, constant, mixing > 0]),
      );
      if (key !== shown) {
        shown = key;
        fill(
          body,
          ...forms.flatMap((form) => [
            el(
              "div",
              { class: "dw-formula-row" },
              forms.length > 1 && el("span", { class: "dw-formula-name" }, `${form.approach}-centric`),
              meanFormula(form),
              filterFormula(form),
              varianceFormula(form),
            ),
          ]),
          el("p", { class: "dw-quiet dw-formula-values" }),
        );
      }
      lightUp(body, lit);
      const [{ noise, mixing, step, limit }] = forms;
      const values = [
        `τ = ${limit ? "∞" : step}`,
        `γ = ${short(noise)}`,
        forms.some(({ approach }) => approach === "data") ? `α = ${short(mixing)}` : "",
        "K = V diag(d) Vᵀ",
      ];
      const line = body.querySelector(".dw-formula-values");
      if (line) fill(line, values.filter(Boolean).join(" · "));
    },
  };
}
