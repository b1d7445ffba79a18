// What Python sends to a DistilledImagesExplorer; content.py makes it.

/** Real images beside the distilled ones; mirrors `real_pairs` in pairs.py.
 * @typedef {{ pixels: string, rows: string, index: string, labels: string, distance?: string }} RealPairs */

/** One set; mirrors `_set` in content.py.
 * @typedef {object} SetContent
 * @property {string} name
 * @property {string} method
 * @property {number} count
 * @property {number} ipc
 * @property {boolean} soft
 * @property {string} pixels uint8 (moments, n, channels, height, width)
 * @property {number} low raw value of byte 0
 * @property {number} high raw value of byte 255
 * @property {string} labels
 * @property {string | null} soft_labels
 * @property {string | null} label_course
 * @property {number[]} iterations of the moments
 * @property {number} left_out moments that were not sent
 * @property {Record<string, { values: string, at: string }>} curves
 * @property {string | null} accuracy one per moment
 * @property {string | null} source
 * @property {number} bytes
 * @property {number} seconds
 * @property {string} device
 * @property {number} iterations_done
 * @property {boolean} interrupted
 * @property {Record<string, any>} view
 * @property {import("./inspector/crops.js").Choices | null} choices where the images are mosaics of crops
 * @property {{ nearest?: RealPairs, start?: RealPairs }} real
 */

/**
 * @typedef {{ sets: SetContent[], classes: string[], shape: [number, number, number], trainable: boolean }} Content
 *   trainable: there is data to train and test on
 */

export {};
