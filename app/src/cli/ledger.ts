import { parseArgs } from "node:util";
import { Balance } from "@homeostat/analytics";
import { z } from "zod";
import { parseDurationMs } from "../duration.ts";
import { connectTo } from "./client.ts";
import { FLAGS } from "./flags.ts";
import { style, table } from "./style.ts";
import { UsageError, type Verb } from "./verb.ts";

const Ledger = z.object({ ledger: z.array(Balance), now_unix_ms: z.number() });

const HEAD = [
  ...["sender", "topic", "state", "produced", "dropped", "spooled"],
  ...["inserted", "dead", "unreadable", "duplicate", "difference"],
];

const droppedOf = ({ told }: Balance): string => {
  const reasons = Object.entries(told?.dropped ?? {});
  return reasons.length === 0 ? "0" : reasons.map(([reason, rows]) => `${rows} ${reason}`).join(", ");
};

const line = (balance: Balance): readonly string[] => [
  balance.sender,
  balance.topic,
  balance.state,
  String(balance.told?.produced ?? "?"),
  balance.told === null ? "?" : droppedOf(balance),
  String(balance.told?.spooled ?? "?"),
  String(balance.inserted),
  String(balance.dead),
  balance.unreadable_batches === 0 ? "0" : `${balance.unreadable_batches} batches`,
  String(balance.duplicate),
  String(balance.difference ?? "?"),
];

/** `homeostat ledger`: what became of every row, by sender and topic. Exit code 1 when an account does not close. */
export const ledger: Verb = async ({ args, env, out }) => {
  const { values } = parseArgs({ args: [...args], options: FLAGS.ledger });
  const sinceMs = parseDurationMs(values.since);
  if (sinceMs === null) throw new UsageError(`--since ${values.since}: want a time like 90s, 30m, 12h or 7d`);
  const query = new URLSearchParams({
    since_ms: String(sinceMs),
    ...(values.host !== undefined && { host: values.host }),
  });
  const found = await connectTo(values, env).get(`/api/v1/ledger?${query}`, Ledger);
  const open = found.ledger.filter(({ state }) => state === "open");
  if (values.json) out(JSON.stringify(found));
  else if (found.ledger.length === 0) out("nobody has told or sent anything");
  else {
    out(table([HEAD, ...found.ledger.map(line)]));
    out(
      open.length === 0
        ? style("green", "every account closes")
        : style("red", `${open.length} of ${found.ledger.length} accounts do not close`),
    );
  }
  return open.length === 0 ? 0 : 1;
};
