// What Python sends to a FeatureSimilarityExplorer; content.py makes it.

/** One comparison of two networks; mirrors `_pair` in explorer.py.
 * @typedef {object} Pair
 * @property {string} name_a
 * @property {string} name_b
 * @property {string} title
 * @property {string[]} layers_a
 * @property {string[]} layers_b
 * @property {number[]} slices for each position of the timeline the leading index into this pair's arrays
 * @property {number[]} own_epochs
 * @property {Record<string, { values: string, intervals: string | null, per_class: string | null, classes:
 *   string[], n: number, computed: string[], masked: Record<string, string> }>} measures
 * @property {Views | null} views_a
 * @property {Views | null} views_b
 */

/** @typedef {{ projections: string, explained: string, grams: string, gram_examples: string }} Views */

/** @typedef {{ layer: string, first: number, second: number }} Match one row (or column) that both maps have */

/** @typedef {object} Content
 * @property {Pair[]} pairs
 * @property {number[]} epochs
 * @property {string[]} measures
 * @property {string[]} classes
 * @property {{ labels: string, images: string | null, index: string | null } | null} examples
 * @property {{ rows: Match[], columns: Match[], how: string } | { reason: string } | null} difference
 * @property {string} note
 */

export {};
