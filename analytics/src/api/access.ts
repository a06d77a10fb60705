import { createHash, timingSafeEqual } from "node:crypto";
import type { FastifyRequest } from "fastify";
import { ApiError } from "./api-error.ts";
import { type ApiUser, LOCAL_ADMIN, type Principal, type Role } from "./principal.ts";

const digest = (text: string): Buffer => createHash("sha256").update(text).digest();

/** What a route wants of whoever asks. */
export type Check = (request: FastifyRequest) => void;

export interface Access {
  /** Who asks; null for somebody unknown. */
  of(request: FastifyRequest): Principal | null;
  /** @throws ApiError `unauthorized` for somebody unknown. */
  known(request: FastifyRequest): Principal;
  /** Wants somebody with at least one of these roles; without roles, somebody known. */
  want(...roles: readonly Role[]): Check;
  /** The fleet may be read by whoever is known, and by everybody on this machine while there are no users. */
  readonly readFleet: Check;
}

export interface AccessOptions {
  /** Of the data directory. */
  readonly token: string;
  readonly users: readonly ApiUser[];
  readonly isLoopback: boolean;
}

/** Compares digests, all of them each time, so that neither the time nor the length tells anything about a token. */
export const createAccess = ({ token, users, isLoopback }: AccessOptions): Access => {
  const known = [{ ...LOCAL_ADMIN, token }, ...users].map(({ name, roles, token: bearer }) => ({
    principal: { name, roles },
    expected: digest(`Bearer ${bearer}`),
  }));
  const find = ({ headers }: FastifyRequest): Principal | null => {
    const shown = digest(headers.authorization ?? "");
    let found: Principal | null = null;
    for (const { principal, expected } of known) if (timingSafeEqual(shown, expected)) found = principal;
    return found;
  };
  const access = {
    of: find,
    known: (request: FastifyRequest): Principal => {
      const principal = find(request);
      if (principal === null)
        throw new ApiError("unauthorized", "want the header `Authorization: Bearer …` with the API token");
      return principal;
    },
    want:
      (...roles: readonly Role[]): Check =>
      (request) => {
        const principal = access.known(request);
        if (roles.length > 0 && !roles.some((role) => principal.roles.includes(role)))
          throw new ApiError("forbidden", `${principal.name} has not the role ${roles.join(" or ")} that this wants`);
      },
  };
  const isOpen = isLoopback && users.length === 0;
  return { ...access, readFleet: isOpen ? () => undefined : access.want() };
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
