import { type AgentIdentity, CERTIFICATES_MAX, type IssuedCertificate } from "@homeostat/schemas";

const DAY_MS = 86_400_000;
/** How long after its end a certificate may still ask for its successor: a machine that was off for a month need not be enrolled again. */
export const RENEWAL_GRACE_MS = 30 * DAY_MS;
/** Sites are told of a withdrawn certificate for so long after its end, since their clocks are not ours. */
const WITHDRAWN_AFTER_MS = DAY_MS;

/** Who did it, when and why. */
export interface Change {
  readonly by: string;
  readonly reason: string;
  readonly nowUnixMs: number;
}

const changed = (identity: AgentIdentity, { by, reason, nowUnixMs }: Change): AgentIdentity => ({
  ...identity,
  changed_at_unix_ms: nowUnixMs,
  changed_by: by,
  reason,
});

/** Of two changes the later counts, also by a clock that has been set back in between: a revocation must not look older than what it ends. */
export const laterThan = (before: AgentIdentity, after: AgentIdentity): AgentIdentity => ({
  ...after,
  changed_at_unix_ms: Math.max(after.changed_at_unix_ms, before.changed_at_unix_ms + 1),
});

/** Without what is past all use. */
const pruned = (identity: AgentIdentity, nowUnixMs: number): AgentIdentity => ({
  ...identity,
  certificates: identity.certificates.filter(
    ({ not_after_unix_ms }) => not_after_unix_ms + RENEWAL_GRACE_MS > nowUnixMs,
  ),
  withdrawn: identity.withdrawn.filter(({ not_after_unix_ms }) => not_after_unix_ms + WITHDRAWN_AFTER_MS > nowUnixMs),
});

/** The certificate counts from now on. Of more than CERTIFICATES_MAX the oldest does not any more. */
export const withCertificate = (
  identity: AgentIdentity,
  issued: IssuedCertificate,
  nowUnixMs: number,
): AgentIdentity => {
  const { certificates, ...rest } = pruned(identity, nowUnixMs);
  const others = certificates.filter(({ serial }) => serial !== issued.serial);
  return { ...rest, certificates: [issued, ...others].slice(0, CERTIFICATES_MAX) };
};

/** None of its certificates counts any more. */
export const withoutCertificates = (identity: AgentIdentity, nowUnixMs: number): AgentIdentity => {
  const { certificates, withdrawn, ...rest } = pruned(identity, nowUnixMs);
  return { ...rest, certificates: [], withdrawn: [...certificates, ...withdrawn].slice(0, 2 * CERTIFICATES_MAX) };
};

export const revoked = (identity: AgentIdentity, change: Change): AgentIdentity =>
  changed({ ...withoutCertificates(identity, change.nowUnixMs), state: "revoked" }, change);

export const quarantined = (identity: AgentIdentity, change: Change): AgentIdentity =>
  changed({ ...identity, state: "quarantined" }, change);

/** From quarantine it goes on with its certificates; after a revocation it has none, and needs a token. */
export const readmitted = (identity: AgentIdentity, change: Change): AgentIdentity =>
  changed({ ...identity, state: "active" }, change);

/**
 * The certificate that this key has already, while more than a third of its life is left: whoever lost the reply asks again with the
 * same key and gets the same, so that asking again and again pushes out nothing.
 */
export const certificateFor = (
  identity: AgentIdentity,
  spkiSha256: string,
  nowUnixMs: number,
): IssuedCertificate | undefined =>
  identity.certificates.find(
    ({ spki_sha256, not_before_unix_ms: from, not_after_unix_ms: to }) =>
      spki_sha256 === spkiSha256 && nowUnixMs < to - (to - from) / 3,
  );

/** Nothing of it is of use any more: the host has been gone for longer than it could come back from. */
export const isForgotten = (identity: AgentIdentity, nowUnixMs: number): boolean =>
  identity.state === "active" &&
  pruned(identity, nowUnixMs).certificates.length === 0 &&
  identity.changed_at_unix_ms + RENEWAL_GRACE_MS < nowUnixMs;
