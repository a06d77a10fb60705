import type { Log } from "@homeostat/schemas";
import type { FastifyError, FastifyReply, FastifyRequest } from "fastify";
import { hasZodFastifySchemaValidationErrors } from "fastify-type-provider-zod";
import { z } from "zod";
import { StoreError } from "../store/store-error.ts";

/** The body of every answer that is not a success. */
export const ErrorBody = z.strictObject({
  error: z.strictObject({
    /** One of API_ERROR_CODES. */
    code: z.string(),
    message: z.string(),
    /** Which parameters are wrong, each with its path. */
    problems: z.array(z.string()).optional(),
    /** Why a part of the platform refused: its own word for it, such as `no_targets`. */
    refusal: z.string().optional(),
  }),
});
type ErrorBody = z.infer<typeof ErrorBody>;

export const API_ERROR_CODES = {
  bad_request: 400,
  unauthorized: 401,
  forbidden: 403,
  not_found: 404,
  method_not_allowed: 405,
  refused: 409,
  too_large: 413,
  unsupported_media_type: 415,
  misdirected_request: 421,
  too_much: 422,
  internal: 500,
  store_unavailable: 503,
  not_leading: 503,
  timed_out: 504,
} as const;
export type ApiErrorCode = keyof typeof API_ERROR_CODES;

export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly code: ApiErrorCode;
  readonly problems: readonly string[];
  readonly refusal: string;
  constructor(code: ApiErrorCode, message: string, problems: readonly string[] = [], refusal = "") {
    super(message);
    this.code = code;
    this.problems = problems;
    this.refusal = refusal;
  }
}

const zodProblems = (error: z.ZodError): readonly string[] =>
  error.issues.map(({ path, message }) => (path.length === 0 ? message : `${path.join(".")}: ${message}`));

const ofStore = ({ code, message }: StoreError): ApiError => {
  if (code === "too_much") return new ApiError("too_much", "the answer is too large: narrow the range or the filter");
  if (code === "timed_out") return new ApiError("timed_out", "the store took too long: narrow the range or the filter");
  if (code === "unreachable" || code === "overloaded") return new ApiError("store_unavailable", message);
  return new ApiError("internal", "the store refused a query of ours; the log has it");
};

const FASTIFY_CODES: Readonly<Record<number, ApiErrorCode>> = {
  400: "bad_request",
  404: "not_found",
  405: "method_not_allowed",
  413: "too_large",
  415: "unsupported_media_type",
};

export const toApiError = (error: FastifyError | Error): ApiError => {
  if (error instanceof ApiError) return error;
  if (error instanceof StoreError) return ofStore(error);
  if (error instanceof z.ZodError) return new ApiError("bad_request", "the parameters do not fit", zodProblems(error));
  if (hasZodFastifySchemaValidationErrors(error)) {
    const problems = error.validation.map(
      ({ instancePath, message }) => `${instancePath.replace(/^\//, "").replaceAll("/", ".")}: ${message}`,
    );
    return new ApiError("bad_request", "the request does not fit", problems);
  }
  const code = "statusCode" in error && error.statusCode !== undefined ? FASTIFY_CODES[error.statusCode] : undefined;
  return code === undefined
    ? new ApiError("internal", "something broke here; the log has it")
    : new ApiError(code, error.message);
};

export const errorBody = ({ code, message, problems, refusal }: ApiError): ErrorBody => ({
  error: {
    code,
    message,
    ...(problems.length > 0 && { problems: [...problems] }),
    ...(refusal !== "" && { refusal }),
  },
});

export const answerError =
  (log: Log) =>
  (error: FastifyError | Error, request: FastifyRequest, reply: FastifyReply): void => {
    const answer = toApiError(error);
    if (answer.code === "internal")
      log.error({ err: error, method: request.method, route: request.routeOptions.url }, "a request failed");
    void reply
      .code(API_ERROR_CODES[answer.code])
      .type("application/json")
      .send(JSON.stringify(errorBody(answer)));
  };
