/* What takes bytes from others, for tests and benchmarks that try it with damaged ones. Not for products. */
export { Connection, type ConnectionOwner } from "./channel/connection.ts";
export { FRAME, jsonBody } from "./channel/frame.ts";
export { FromAgent, fromAgentOf, saidToAgent, ToAgent } from "./channel/messages.ts";
export { acceptHandshake, beginHandshake, SealError } from "./channel/sealed.ts";
export { EnrolError, enrol } from "./host/enrol.ts";
export type { IdentityFiles, StoredIdentity } from "./host/identity-files.ts";
export { flawOf, MANIFEST_FILE, unpack } from "./host/plugins/unpack.ts";
