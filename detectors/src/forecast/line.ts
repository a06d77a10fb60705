export const meanOf = (values: Float64Array): number => {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i] as number;
  return sum / values.length;
};

/** Of the least-squares line, per row. */
export const slopeOf = (values: Float64Array): number => {
  const middle = (values.length - 1) / 2;
  let slope = 0;
  let spread = 0;
  for (let i = 0; i < values.length; i++) {
    slope += (i - middle) * (values[i] as number);
    spread += (i - middle) ** 2;
  }
  return spread > 0 ? slope / spread : 0;
};
