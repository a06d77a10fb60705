import { ApiError, type ApiErrorCode } from "./api-error.ts";
import type { Refused } from "./api-ports.ts";

/** What else a part refuses is a conflict with how things stand. */
const CODES: Readonly<Record<string, ApiErrorCode>> = {
  not_found: "not_found",
  unknown_token: "not_found",
  not_enrolled: "not_found",
  not_allowed: "forbidden",
  invalid: "bad_request",
  malformed: "bad_request",
  bad_request: "bad_request",
  bad_artefact: "bad_request",
  unavailable: "timed_out",
};

/** @throws ApiError when it was refused. */
export const orRefuse = <T extends object>(answer: T | Refused): T => {
  if (!("refused" in answer)) return answer;
  throw new ApiError(CODES[answer.refused] ?? "refused", answer.message, [], answer.refused);
};
