import type { TlsIdentity } from "./tls-identity.ts";

const END_OF_CERTIFICATE = "-----END CERTIFICATE-----\n";

/**
 * Both ends judge each other's certificate themselves (checkPeer), so OpenSSL need not: nobody sends the authority's certificate along, no
 * chain is built and none is kept. That is 6 KB of each idle agent's memory at the site server, and a signature less to verify when a
 * fleet comes back. An empty list of authorities, and not none: without one Node loads a hundred that have no say here.
 */
export const lean = (identity: TlsIdentity | null) => ({
  ca: [],
  ...(identity === null ? {} : { cert: leafOf(identity.certificatePem) }),
});

const leafOf = (pem: string): string => {
  const end = pem.indexOf(END_OF_CERTIFICATE);
  return end === -1 ? pem : pem.slice(0, end + END_OF_CERTIFICATE.length);
};
