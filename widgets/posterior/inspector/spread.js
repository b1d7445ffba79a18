// The range of curves over the steps, as the inspector and the timeline draw them.

/**
 * The range of curves over the steps. A limit far outside does not flatten what the steps do: it lies beyond the edge.
 * @param {number[][]} curves
 * @param {number} steps
 * @param {number} [floor]
 * @returns {[number, number]}
 */
export function spread(curves, steps, floor) {
  const within = curves.flatMap((values) => values.slice(0, steps)).filter(Number.isFinite);
  let [low, high] = [Math.min(...within), Math.max(...within)];
  const span = Math.max(high - low, 0.02 * Math.abs(high), 1e-12);
  for (const values of curves) {
    const end = values[steps];
    if (end !== undefined && Math.abs(end - (low + high) / 2) < 2 * span)
      [low, high] = [Math.min(low, end), Math.max(high, end)];
  }
  const pad = 0.14 * Math.max(high - low, span);
  return [floor ?? Math.max(0, low - pad), high + pad];
}
