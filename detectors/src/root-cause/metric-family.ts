/** What a metric's name says about how its changes travel: the words are those of the field, not of any one system. */
export type MetricFamily = "resource" | "latency" | "client_latency" | "errors" | "health" | "requests" | "other";

const CLIENT = /client|outbound|upstream|egress/;
const LATENCY = /laten|duration|response_?time|elapsed|\bp[59]\d{1,2}\b|_p[59]\d{1,2}/;
const HEALTH = /availab|success|healthy|uptime/;
const ERRORS = /err|fail|fault|exception|reject|timeout|[45]xx/;
const REQUESTS = /request|\breqs?\b|_reqs?|\bops\b|calls|\brps\b|\bqps\b|throughput/;
const RESOURCE = /cpu|processor|mem|heap|rss|disk|storage|file_?desc|thread|load|saturation|queue|\bgc\b/;

/** Errors before requests: `request_errors` counts errors. */
export const familyOf = (kind: string): MetricFamily => {
  const name = kind.toLowerCase();
  if (HEALTH.test(name)) return "health";
  if (ERRORS.test(name)) return "errors";
  if (LATENCY.test(name)) return CLIENT.test(name) ? "client_latency" : "latency";
  if (REQUESTS.test(name)) return "requests";
  if (RESOURCE.test(name)) return "resource";
  return "other";
};

/** The mean tells where time went; a far percentile only that some calls were slow. Lower is better. */
export const latencyPreference = (kind: string): number => {
  const name = kind.toLowerCase();
  if (/av(era)?ge?|mean/.test(name)) return 0;
  const percentile = /p([59]\d{1,2})/.exec(name)?.[1];
  return percentile === undefined ? 1 : 1 + Number(percentile.padEnd(3, "0")) / 1000;
};
