/** Round trips longer than this say nothing about a clock. */
const ROUND_TRIP_MS_MAX = 10_000;

/** This host's clock less control's, half the round trip taken off (RFC 5905, 8, with one stamp of the server); null: not to be told. */
export const clockSkewMs = (
  answer: { readonly asked_at_unix_ms: number; readonly control_unix_ms: number },
  nowUnixMs: number,
): number | null => {
  const roundTripMs = nowUnixMs - answer.asked_at_unix_ms;
  if (roundTripMs < 0 || roundTripMs > ROUND_TRIP_MS_MAX) return null;
  return answer.asked_at_unix_ms + roundTripMs / 2 - answer.control_unix_ms;
};
