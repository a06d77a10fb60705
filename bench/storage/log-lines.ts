import type { TelemetryRow } from "@homeostat/schemas";
import { random } from "../random.ts";

/*
 * Log records as a shop's services tell them: access lines, workers' lines, a database's, now and then an error with a stack. Times rise
 * with jitter; a third of the records belongs to a trace.
 */

type Next = () => number;
interface Line {
  readonly body: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly severity: number;
}

const SEVERITY_TEXT: Readonly<Record<number, string>> = { 5: "DEBUG", 9: "INFO", 13: "WARN", 17: "ERROR" };
const VERBS = ["GET", "GET", "GET", "POST", "PUT", "DELETE"];
const ROUTES = ["/api/orders/{id}", "/api/users/{id}", "/api/cart/{id}/items", "/healthz"];
const AGENTS = ["Mozilla/5.0 (X11; Linux x86_64) Firefox/128.0", "okhttp/4.12.0", "curl/8.5.0", "kube-probe/1.30"];
const TABLES = ["orders", "users", "cart_items", "stock"];
const HEX = "0123456789abcdef";

const pick = <T>(next: Next, from: readonly [T, ...T[]] | readonly T[]): T =>
  from[Math.floor(next() * from.length)] as T;
const whole = (next: Next, below: number): number => Math.floor(next() * below);
const hex = (next: Next, length: number): string => {
  let text = "";
  for (let i = 0; i < length; i++) text += HEX[whole(next, 16)];
  return text;
};

const access = (next: Next): Line => {
  const route = pick(next, ROUTES);
  const verb = pick(next, VERBS);
  const path = route.replace("{id}", String(whole(next, 90_000)));
  const status = next() < 0.04 ? 500 : next() < 0.06 ? 404 : 200;
  const ms = (Math.exp(next() * 5) / 2).toFixed(2);
  const client = `10.${whole(next, 8)}.${whole(next, 256)}.${whole(next, 256)}`;
  return {
    body: `${client} - - "${verb} ${path} HTTP/1.1" ${status} ${whole(next, 40_000)} "-" "${pick(next, AGENTS)}" ${ms} ms`,
    attributes: {
      "http.request.method": verb,
      "http.route": route,
      "http.response.status_code": String(status),
      "client.address": client,
    },
    severity: status === 500 ? 17 : status === 404 ? 13 : 9,
  };
};

const worker = (next: Next): Line => ({
  body: `order ${whole(next, 1e7)} moved to state ${pick(next, ["paid", "packed", "shipped"])} by worker-${whole(next, 16)} in ${whole(next, 900)} ms, ${whole(next, 20)} items, attempt ${1 + whole(next, 3)}`,
  attributes: { "thread.name": `worker-${whole(next, 16)}`, "code.namespace": "com.example.shop.OrderFlow" },
  severity: 9,
});

const database = (next: Next): Line => ({
  body: `duration: ${(next() * 2000).toFixed(3)} ms  statement: SELECT * FROM ${pick(next, TABLES)} WHERE id = ${whole(next, 1e6)} LIMIT ${pick(next, [1, 10, 50])}`,
  attributes: { "db.system": "postgresql", "db.name": "shop", "process.pid": String(2000 + whole(next, 60)) },
  severity: 13,
});

const failure = (next: Next): Line => ({
  body: `java.lang.IllegalStateException: stock of article ${whole(next, 50_000)} is negative\n\tat com.example.shop.Stock.take(Stock.java:${100 + whole(next, 40)})\n\tat com.example.shop.OrderFlow.pay(OrderFlow.java:212)\n\tat java.base/java.lang.Thread.run(Thread.java:1583)`,
  attributes: { "exception.type": "java.lang.IllegalStateException", "thread.name": `worker-${whole(next, 16)}` },
  severity: 17,
});

const SERVICES = ["frontend", "orders", "users", "cart", "postgres"];
const HOSTS = 20;
/** Fingerprints: nothing about them is small. */
const RESOURCES = Array.from({ length: HOSTS * SERVICES.length }, (_, i) =>
  BigInt.asUintN(64, BigInt(i + 1) * 0x9e37_79b9_7f4a_7c15n),
);
/** About 400 records a second. */
const STEP_NS = 2_500_000n;

/** The same rows for the same number. A token that stands in `rare` records only is in the body of every `rareEvery`th. */
export function* logLines(
  rows: number,
  { startUnixMs, rareEvery = 0 }: { startUnixMs: number; rareEvery?: number },
): Generator<TelemetryRow<"logs">> {
  const next = random(77);
  let at = BigInt(startUnixMs) * 1_000_000n;
  for (let row = 0; row < rows; row++) {
    at += BigInt(whole(next, Number(STEP_NS) * 2));
    const service = pick(next, SERVICES);
    const dice = next();
    const line =
      service === "postgres" ? database(next) : dice < 0.01 ? failure(next) : dice < 0.7 ? access(next) : worker(next);
    const isTraced = service !== "postgres" && next() < 0.33;
    yield {
      timestamp: at,
      severity_number: line.severity,
      service_name: service,
      host_name: `web-${whole(next, HOSTS)}`,
      trace_id: isTraced ? hex(next, 32) : "",
      span_id: isTraced ? hex(next, 16) : "",
      body: rareEvery > 0 && row % rareEvery === 0 ? `${line.body} needle${row}` : line.body,
      attributes: line.attributes,
      observed_timestamp: at + BigInt(whole(next, 900_000_000)),
      severity_text: SEVERITY_TEXT[line.severity] ?? "",
      event_name: "",
      scope_name: service === "postgres" ? "" : "com.example.shop",
      trace_flags: isTraced ? 1 : 0,
      resource_id: RESOURCES[whole(next, RESOURCES.length)] ?? 0n,
    };
  }
}
