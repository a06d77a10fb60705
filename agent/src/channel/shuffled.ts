/** Fisher and Yates: agents with the same configuration do not all begin with the same server. */
export const shuffled = <Item>(items: readonly Item[], random: () => number): Item[] => {
  const mixed = [...items];
  for (let last = mixed.length - 1; last > 0; last -= 1) {
    const other = Math.floor(random() * (last + 1));
    mixed.splice(last, 1, ...mixed.splice(other, 1, ...mixed.slice(last, last + 1)));
  }
  return mixed;
};
