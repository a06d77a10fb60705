import { isIP } from "node:net";
import { z } from "zod";

const isTimeZone = (name: string): boolean => {
  try {
    new Intl.DateTimeFormat("en", { timeZone: name });
    return true;
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
};

const isCidr = (text: string): boolean => {
  const [address = "", prefix = ""] = text.split("/");
  const bits = { 0: -1, 4: 32, 6: 128 }[isIP(address)] ?? -1;
  return text.split("/").length === 2 && /^\d{1,3}$/.test(prefix) && Number(prefix) <= bits;
};

const Port = z.int().min(0).max(65_535);

/** Syslog over TCP and UDP. Who may send follows from the network it sends from: syslog has no credentials of its own. */
export const SyslogConfig = z.strictObject({
  enabled: z.boolean().default(false),
  host: z.string().min(1).default("127.0.0.1"),
  /** Senders are named by their network; whoever sends from another is refused and counted. */
  networks: z
    .array(
      z.strictObject({
        name: z.string().regex(/^[A-Za-z0-9._-]{1,64}$/, "want 1 to 64 letters, digits, dots, dashes or underscores"),
        cidr: z.string().refine(isCidr, "want a network such as 10.0.0.0/8 or fd00::/8"),
      }),
    )
    .min(1, "want at least one network")
    .max(100)
    .default([
      { name: "local", cidr: "127.0.0.0/8" },
      { name: "local6", cidr: "::1/128" },
    ]),
  /** Of the times of RFC 3164, which name neither year nor zone. */
  time_zone: z.string().refine(isTimeZone, "want a time zone such as Europe/Berlin").default("UTC"),
  tcp: z
    .strictObject({
      enabled: z.boolean().default(true),
      /** 0 takes a free one. */
      port: Port.default(1514),
      /** Each may hold about 1.1 MiB while the bus is slow. */
      connections_max: z.int().min(1).max(10_000).default(256),
      idle_timeout_ms: z.int().min(100).max(86_400_000).default(600_000),
    })
    .prefault({}),
  udp: z
    .strictObject({
      enabled: z.boolean().default(true),
      port: Port.default(1514),
      /** Datagrams that wait to be taken; beyond it the newest are dropped, as `udp_overflow`. */
      queue_max: z.int().min(1).max(1_000_000).default(10_000),
    })
    .prefault({}),
});
export type SyslogConfig = z.infer<typeof SyslogConfig>;
