export { dialTls } from "./channel/tls-dial.ts";
export type { TlsIdentity } from "./channel/tls-identity.ts";
export { enrol } from "./host/enrol.ts";
export { exchangeThrough } from "./host/enrol-exchange.ts";
export { openIdentityFiles, tlsIdentityOf } from "./host/identity-files.ts";
export { openSiteIdentity } from "./site/site-identity.ts";
export { createSiteServer, type SiteServer, type SiteServerOptions } from "./site/site-server.ts";
