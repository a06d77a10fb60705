/** The newest values of a series in order, as cells of one array: a median costs a look, a new value one shift. NaN has no place here. */

/** The first place whose value is not below `value`. */
const placeOf = (sorted: Float32Array, at: number, count: number, value: number): number => {
  let low = at;
  let high = at + count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sorted[middle] as number) < value) low = middle + 1;
    else high = middle;
  }
  return low;
};

/** Puts a value among the `count` that are in order from `at`. */
export const insertSorted = (sorted: Float32Array, at: number, count: number, value: number): void => {
  const place = placeOf(sorted, at, count, value);
  sorted.copyWithin(place + 1, place, at + count);
  sorted[place] = value;
};

/** Takes out a value that is there. */
export const removeSorted = (sorted: Float32Array, at: number, count: number, value: number): void => {
  const place = placeOf(sorted, at, count, value);
  sorted.copyWithin(place, place + 1, at + count);
};

/** The upper median. */
export const sortedMedian = (sorted: Float32Array, at: number, count: number): number =>
  sorted[at + (count >>> 1)] as number;
