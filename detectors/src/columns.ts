/** What a new slot holds, and how many numbers a slot has. */
export type Layout = Readonly<Record<string, { readonly fill: number; readonly width?: number }>>;

/** Numbers by slot, one array per name: no object per series, and a save that is a copy. */
export interface Columns<L extends Layout> {
  slots: number;
  readonly at: { [Name in keyof L]: Float64Array };
}

const names = <L extends Layout>(layout: L): readonly (keyof L & string)[] => Object.keys(layout);
const widthOf = (layout: Layout, name: string): number => layout[name]?.width ?? 1;

const allocate = <L extends Layout>(layout: L, capacity: number): Columns<L>["at"] => {
  const arrays = names(layout).map((name) => [
    name,
    new Float64Array(capacity * widthOf(layout, name)).fill(layout[name]?.fill ?? 0),
  ]);
  return Object.fromEntries(arrays) as Columns<L>["at"];
};

export const makeColumns = <L extends Layout>(layout: L): Columns<L> => ({ slots: 0, at: allocate(layout, 0) });

/** Makes room by doubling; what is there stays. */
export const growColumns = <L extends Layout>(columns: Columns<L>, layout: L, slots: number): void => {
  if (slots <= columns.slots) return;
  const [first] = names(layout);
  const capacity = first === undefined ? 0 : columns.at[first].length / widthOf(layout, first);
  if (slots > capacity) {
    const larger = allocate(layout, Math.max(4, slots, capacity * 2));
    for (const name of names(layout)) larger[name].set(columns.at[name]);
    Object.assign(columns.at, larger);
  }
  columns.slots = slots;
};

export const pickColumns = <L extends Layout>(columns: Columns<L>, layout: L, kept: Uint32Array): Columns<L> => {
  const picked = allocate(layout, kept.length);
  for (const name of names(layout)) {
    const width = widthOf(layout, name);
    kept.forEach((slot, index) => {
      picked[name].set(columns.at[name].subarray(slot * width, (slot + 1) * width), index * width);
    });
  }
  return { slots: kept.length, at: picked };
};

export const saveColumns = <L extends Layout>(columns: Columns<L>, layout: L): Record<string, Float64Array> =>
  Object.fromEntries(
    names(layout).map((name) => [name, columns.at[name].slice(0, columns.slots * widthOf(layout, name))]),
  );

/** @throws RangeError when the arrays are not of this layout. */
export const loadColumns = <L extends Layout>(saved: Readonly<Record<string, Float64Array>>, layout: L): Columns<L> => {
  const slots = new Set(names(layout).map((name) => (saved[name]?.length ?? Number.NaN) / widthOf(layout, name)));
  const [count] = slots;
  if (slots.size !== 1 || count === undefined || !Number.isInteger(count)) {
    throw new RangeError(`saved columns do not agree: ${[...slots].join(", ")} slots`);
  }
  const columns = makeColumns(layout);
  growColumns(columns, layout, count);
  for (const name of names(layout)) columns.at[name].set(saved[name] ?? []);
  return columns;
};
