import { LEVEL, RESIDUAL_SPANS, VARIABILITY, type Verdict } from "./state.ts";

/** Members by the name that a finding tells. */
export const memberName = (member: number): string => {
  if (member === LEVEL) return "level";
  if (member === VARIABILITY) return "variability";
  return member === 0 ? "residual" : `residual_${RESIDUAL_SPANS[member]}`;
};

const timesText = (times: number): string => (times >= 1000 ? "over 1000" : String(Number(times.toPrecision(2))));

const rarenessText = (surprise: number): string =>
  `about one moment in ${Math.round(10 ** Math.min(surprise, 6)).toLocaleString("en")}${surprise > 6 ? " or fewer" : ""}`;

const residualText = (
  { expected, deviation, member }: Verdict,
  value: number,
  text: (value: number) => string,
): string => {
  const span = RESIDUAL_SPANS[member] ?? 1;
  const size = `${timesText(Math.abs(deviation))} times the usual deviation`;
  const side = deviation > 0 ? "above" : "below";
  return span === 1
    ? `is ${text(value)}, expected about ${text(expected)} (${size})`
    : `is ${text(value)} and has been ${side} the expected ${text(expected)} over some ${span} points (${size})`;
};

const variabilityText = ({ deviation }: Verdict): string =>
  deviation > 0
    ? `swings ${timesText(1 + deviation)} times as much as usual`
    : `has almost stopped moving: a ${timesText(1 - deviation)}th of the usual`;

/** Why the last step found what it found, as the rest of a sentence that begins with the metric's name. `text` writes a value in its unit. */
export const reasonOf = (verdict: Verdict, value: number, text: (value: number) => string): string => {
  const { member, deviation, levelBefore, levelRecent, surprise } = verdict;
  const what =
    member === LEVEL
      ? `${deviation > 0 ? "rose" : "fell"} from a level of ${text(levelBefore)} to ${text(levelRecent)} (${timesText(Math.abs(deviation))} times the usual change)`
      : member === VARIABILITY
        ? variabilityText(verdict)
        : residualText(verdict, value, text);
  return `${what}; ${rarenessText(surprise)}`;
};
