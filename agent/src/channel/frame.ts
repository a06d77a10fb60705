import { z } from "zod";

/**
 * Frames of the channel: u32 (big-endian) length of what follows, u8 type, body. Between site server and control plane the body of
 * SEALED, HANDSHAKE, AGENT_UP, AGENT_DOWN and CLOSE begins with a u32 session, which tells the agents of one uplink apart.
 */
export const FRAME = {
  hello: 1,
  welcome: 2,
  sealed: 3,
  handshake: 4,
  batches: 5,
  batchesAck: 6,
  fetch: 7,
  chunk: 8,
  enrol: 9,
  enrolled: 10,
  ping: 11,
  pong: 12,
  control: 13,
  goaway: 14,
  agentUp: 15,
  agentDown: 16,
  close: 17,
  revoked: 18,
} as const;

export const PROTOCOL = 1;
/** Of what follows the length. */
export const FRAME_BYTES_MAX = 1_048_576;
/** For a peer that has not said who it is. */
export const HELLO_BYTES_MAX = 65_536;
export const HEADER_BYTES = 5;
/** A range of an artefact, small enough that commands are not held up behind it. */
export const CHUNK_BYTES_MAX = 262_144;
/** The servers that an agent is told of, or finds in its configuration. */
export const SERVERS_MAX = 64;

const Name = z.string().min(1).max(255);
/** `host:port`; an IPv6 address in brackets. */
export const ServerAddress = z
  .string()
  .max(262)
  .regex(/^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}$/, "want host:port");
export type ServerAddress = z.infer<typeof ServerAddress>;

const Sha256 = z.string().regex(/^[0-9a-f]{64}$/, "want 64 hex digits");
const Request = z.int().min(0).max(0xffff_ffff);

/** Agent → site. */
export const AgentHello = z.object({
  protocol: z.literal(PROTOCOL),
  host: Name,
  agent_version: z.string().max(64),
});
export type AgentHello = z.infer<typeof AgentHello>;

/** Site → agent. `epoch` changes whenever the site's way to control is a new one: the handshake has to be made again. */
export const ControlState = z.object({
  up: z.boolean(),
  epoch: z.int().min(0),
  /** Agents spread their handshakes over this. */
  spread_ms: z.int().min(0).max(600_000),
});
export type ControlState = z.infer<typeof ControlState>;

export const SiteWelcome = z.object({
  site: Name,
  server: Name,
  servers: z.array(ServerAddress).max(SERVERS_MAX),
  control: ControlState,
});
export type SiteWelcome = z.infer<typeof SiteWelcome>;

export const GoAway = z.object({ reason: z.string().max(500), retry_after_ms: z.int().min(0).max(3_600_000) });
export type GoAway = z.infer<typeof GoAway>;

/** Agent → site → control; the answer is a CHUNK with the same request. */
export const FetchRequest = z.object({
  request: Request,
  sha256: Sha256,
  offset: z.int().min(0),
  length: z.int().min(1).max(CHUNK_BYTES_MAX),
});
export type FetchRequest = z.infer<typeof FetchRequest>;

/** Site → control. */
export const SiteHello = z.object({ protocol: z.literal(PROTOCOL), site: Name, server: Name });
export type SiteHello = z.infer<typeof SiteHello>;

export const AgentUp = z.object({
  host: Name,
  address: z.string().max(128),
});
export type AgentUp = z.infer<typeof AgentUp>;

export const REVOKED_PER_FRAME_MAX = 10_000;
/** Control → site: all that is revoked, at connect and whenever it changes, in as many frames as it takes. */
export const RevokedList = z.object({
  /** The list is whole with this frame, and takes the place of the one before. */
  is_last: z.boolean(),
  /** Hex, lower case, without leading zeros or colons. */
  serials: z.array(z.string().max(64)).max(REVOKED_PER_FRAME_MAX),
  hosts: z.array(Name).max(REVOKED_PER_FRAME_MAX),
});
export type RevokedList = z.infer<typeof RevokedList>;

/** u8 after the request of BATCHES_ACK and CHUNK. */
export const STATUS = { taken: 0, busy: 1, refused: 2 } as const;

export const jsonBody = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));

/** null for what is not JSON, which no message is. */
export const jsonOrNull = (bytes: Uint8Array): unknown => {
  try {
    return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("utf8"));
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
};

export type Parsed<Value> = { readonly value: Value } | { readonly flaw: string };

/** What a peer sends is not trusted: a flaw is a value, and names the place. */
export const parseJsonBody = <Value>(schema: z.ZodType<Value>, body: Uint8Array): Parsed<Value> => {
  const parsed = schema.safeParse(jsonOrNull(body));
  if (parsed.success) return { value: parsed.data };
  const [issue] = parsed.error.issues;
  return { flaw: `${issue?.path.join(".") ?? ""}: ${issue?.message ?? "malformed"}` };
};

export const u32 = (value: number): Buffer => {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt32BE(value, 0);
  return bytes;
};
