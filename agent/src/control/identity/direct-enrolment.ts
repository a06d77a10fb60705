import { X509Certificate } from "node:crypto";
import type { EnrolmentToken } from "@homeostat/schemas";
import { type EnrolRefused, EnrolRequest } from "../../channel/enrolment.ts";
import { roleOf } from "../../channel/tls-identity.ts";
import { refuse } from "./request-checks.ts";

const roleIn = (pem: string): string | null => {
  try {
    return roleOf(new X509Certificate(pem))?.kind ?? null;
  } catch {
    return null;
  }
};

/**
 * Why control does not answer this request at its own listener, or null: it is there for site servers, agents go through their site.
 * Nothing is proved by that; what is let through is checked as any other.
 */
export const whyNotDirectly = (request: unknown, tokens: readonly EnrolmentToken[]): EnrolRefused | null => {
  const parsed = EnrolRequest.safeParse(request);
  if (!parsed.success) return null;
  const asked = parsed.data;
  const isAgent =
    asked.type === "enrol"
      ? tokens.find(({ id }) => id === asked.token_id)?.for === "agent"
      : roleIn(asked.certificate) === "agent";
  return isAgent ? refuse("wrong_site", "agents are enrolled at a server of their site, not here") : null;
};
