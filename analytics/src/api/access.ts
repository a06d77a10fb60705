import { createHash, timingSafeEqual } from "node:crypto";
import type { FastifyRequest } from "fastify";
import { ApiError } from "./api-error.ts";

const digest = (text: string): Buffer => createHash("sha256").update(text).digest();

/** Compares digests, so that neither the time nor the length tells anything about the token. */
export const bearerTest = (token: string): ((request: FastifyRequest) => boolean) => {
  const expected = digest(`Bearer ${token}`);
  return ({ headers }) => timingSafeEqual(digest(headers.authorization ?? ""), expected);
};

export const bearerCheck = (token: string): ((request: FastifyRequest) => void) => {
  const bears = bearerTest(token);
  return (request) => {
    if (!bears(request))
      throw new ApiError("unauthorized", "want the header `Authorization: Bearer …` with the API token");
  };
};

const LOOPBACK_NAMES: ReadonlySet<string> = new Set(["localhost", "127.0.0.1", "[::1]"]);

const hostName = (header: string): string => header.replace(/:\d{1,5}$/, "").toLowerCase();

/**
 * On a loopback listener only loopback names are answered: a page of evil.example that is made to resolve to 127.0.0.1
 * (DNS rebinding) still sends its own name.
 */
export const checkLoopbackHost = ({ headers }: FastifyRequest): void => {
  const host = headers.host ?? "";
  if (!LOOPBACK_NAMES.has(hostName(host)))
    throw new ApiError(
      "misdirected_request",
      `this listener answers to localhost only, not to ${JSON.stringify(host.slice(0, 100))}`,
    );
};
