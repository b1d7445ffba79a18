// Numbers on axes and in sentences: ticks, powers of ten, and any size in few letters.

/**
 * Round numbers between two ends.
 * @param {number} low
 * @param {number} high
 * @param {number} count about how many
 * @param {boolean} [whole]
 */
export function ticks(low, high, count, whole = false) {
  const raw = (high - low) / Math.max(1, count);
  if (!(raw > 0) || !Number.isFinite(raw)) return { at: [low], digits: 2 };
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = Math.max(
    whole ? 1 : 0,
    power * ((whole ? [1, 2, 5, 10] : [1, 2, 2.5, 5, 10]).find((factor) => factor * power >= raw * 0.999) ?? 10),
  );
  const at = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) at.push(k * step);
  const digits = whole
    ? 0
    : Math.max(0, Math.min(8, Math.ceil(-Math.log10(step) - 1e-9) + (Math.abs(step / power - 2.5) < 1e-9 ? 1 : 0)));
  return { at, digits };
}

/**
 * Powers of ten between two ends, every second or third where there are many.
 * @param {number} low
 * @param {number} high
 * @param {number} count
 */
export function powers(low, high, count) {
  const [first, last] = [Math.ceil(Math.log10(low) - 1e-9), Math.floor(Math.log10(high) + 1e-9)];
  const stride = Math.max(1, Math.ceil((last - first + 1) / Math.max(1, count)));
  const at = [];
  for (let k = first; k <= last; k += stride) at.push(10 ** k);
  return at;
}

/**
 * A number of any size, short: 0.0123, 1.2e−7, 340.
 * @param {number | null | undefined} value
 * @param {number} [digits] significant ones
 */
export function short(value, digits = 3) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (value === 0) return "0";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  const text =
    size >= 1e-3 && size < 1e5
      ? String(Number(size.toPrecision(digits)))
      : size
          .toExponential(Math.max(0, digits - 2))
          .replace("e-", "e−")
          .replace("e+", "e");
  return value < 0 ? `−${text}` : text;
}

const SUPERS = "⁰¹²³⁴⁵⁶⁷⁸⁹";

/** @param {number} value a power of ten */
export function powerName(value) {
  const exponent = Math.round(Math.log10(value));
  if (exponent >= -2 && exponent <= 3) return String(Number(value.toPrecision(1)));
  return `10${exponent < 0 ? "⁻" : ""}${[...String(Math.abs(exponent))].map((digit) => SUPERS[Number(digit)]).join("")}`;
}
