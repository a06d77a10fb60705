import { anomalySpeed } from "./detectors/anomaly-speed.ts";
import { forecastSpeed } from "./detectors/forecast-speed.ts";
import { logSpeed } from "./detectors/log-speed.ts";

/** What the detectors cost: CPU time of this process for each, on generated data; log templates beside Drain3 on the same lines. */
export const run = async (options: Readonly<Record<string, string>>): Promise<void> => {
  const logs = await logSpeed(options);
  const anomaly = await anomalySpeed();
  const forecast = await forecastSpeed();
  process.stdout.write(`${JSON.stringify({ ...logs, ...anomaly, ...forecast })}\n`);
};
