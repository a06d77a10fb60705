/**
 * What begins the `host` of a finding about what a sender does. A `data_health` finding vetoes remediation on the host that it names, so a sender's
 * bad telemetry must name neither the gateway's machine nor any other: no machine's name has a colon, so these never match one.
 */
export const SENDER = "sender:";
/** Of those who have not shown a token: their network address. */
export const PEER = "peer:";
