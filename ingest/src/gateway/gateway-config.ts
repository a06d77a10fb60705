import { z } from "zod";
import { SyslogConfig } from "../receivers/syslog/syslog-config.ts";
import { TOKEN_FORM } from "./authenticate.ts";

const MIB = 1_048_576;
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/** How the gateway makes batches of what receivers bring. */
export const GatewayConfig = z.strictObject({
  /** Hosts are spread over this many lanes; each is published in order. The same number on all gateways keeps a host in one partition. */
  lanes: z.int().min(1).max(64).default(4),
  /** How long rows may gather before they are published. */
  linger_ms: z.int().min(0).max(5000).default(25),
  /** How long a sender waits for the bus; then it is told to try again, and its retry joins what is still under way. */
  commit_timeout_ms: z.int().min(10).max(300_000).default(10_000),
  /** Of bodies and of batches that the bus has not taken yet, together; beyond it senders are told to come back. */
  in_flight_bytes_max: z
    .int()
    .min(MIB)
    .max(4096 * MIB)
    .default(64 * MIB),
  /** Log records or points that one request may bring; the rest of it is refused as `too_many`. */
  records_per_request_max: z.int().min(1).max(10_000_000).default(1_000_000),
  /** As in `ingest`: older records are refused one by one, so that they never condemn a batch. */
  late_max_ms: z
    .int()
    .min(60_000)
    .max(3650 * DAY_MS)
    .default(7 * DAY_MS),
  future_max_ms: z.int().min(1000).max(DAY_MS).default(600_000),
  /** What series and resources may take in memory while they are remembered, estimated; the ones unused longest are told anew when they come again. */
  identities_bytes_max: z
    .int()
    .min(MIB)
    .max(4096 * MIB)
    .default(128 * MIB),
  /** New series that one metric may bring within the window; samples of others are counted into its overflow series. */
  series_per_metric_max: z.int().min(1).max(10_000_000).default(10_000),
  cardinality_window_ms: z.int().min(1000).max(DAY_MS).default(HOUR_MS),
});
export type GatewayConfig = z.infer<typeof GatewayConfig>;

const Sender = z.strictObject({
  /** What the sender is called in counts and findings; the user of Basic authentication. */
  name: z.string().regex(/^[A-Za-z0-9._-]{1,64}$/, "want 1 to 64 letters, digits, dots, dashes or underscores"),
  token: z.string().regex(TOKEN_FORM, "want 16 to 512 visible ASCII characters"),
});

const Switch = z.strictObject({ enabled: z.boolean().default(true) });

/** Where senders of other makes (OpenTelemetry, Prometheus, Fluent Bit, …) send to. Their own receivers can be switched off one by one. */
export const ReceiversConfig = z.strictObject({
  http: z
    .strictObject({
      host: z.string().min(1).default("127.0.0.1"),
      /** 4318 is OTLP's over HTTP; 0 takes a free port. */
      port: z.int().min(0).max(65_535).default(4318),
      tls: z.strictObject({ cert_file: z.string().min(1).max(4096), key_file: z.string().min(1).max(4096) }).optional(),
      /** Open at once; more are closed as they come. */
      connections_max: z.int().min(1).max(100_000).default(1024),
      /** How long a request's head, and all of a request, may take to arrive: a sender that trickles does not hold a connection. */
      headers_timeout_ms: z.int().min(100).max(300_000).default(10_000),
      request_timeout_ms: z.int().min(100).max(600_000).default(60_000),
    })
    .refine((http) => http.headers_timeout_ms <= http.request_timeout_ms, {
      path: ["headers_timeout_ms"],
      error: "want at most request_timeout_ms",
    })
    .prefault({}),
  senders: z
    .array(Sender)
    .min(1, "want at least one sender with a token: nobody sends without")
    .max(200)
    .superRefine((senders, context) => {
      const names = senders.map(({ name }) => name);
      names.forEach((name, index) => {
        if (names.indexOf(name) < index)
          context.addIssue({ code: "custom", path: [index, "name"], message: `${name} is the name of another sender` });
      });
    }),
  /** Of a body as it comes, and unpacked. */
  body_bytes_max: z
    .int()
    .min(1024)
    .max(256 * MIB)
    .default(16 * MIB),
  uncompressed_bytes_max: z
    .int()
    .min(1024)
    .max(512 * MIB)
    .default(64 * MIB),
  otlp: Switch.prefault({}),
  prometheus_remote_write: Switch.prefault({}),
  loki: Switch.prefault({}),
  elasticsearch: Switch.prefault({}),
  syslog: SyslogConfig.prefault({}),
  gateway: GatewayConfig.prefault({}),
});
export type ReceiversConfig = z.infer<typeof ReceiversConfig>;
