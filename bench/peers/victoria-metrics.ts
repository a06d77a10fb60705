import { join } from "node:path";
import { type Peer, startPeer } from "./peer-process.ts";

/** Takes remote write at `/api/v1/write`. `dir` is its data directory; null when it is not installed. */
export const startVictoriaMetrics = (dir: string): Promise<Peer | null> =>
  startPeer({
    name: "victoria_metrics",
    binary: "victoria-metrics",
    readyPath: "/health",
    args: (port) => [
      `-storageDataPath=${join(dir, "data")}`,
      `-httpListenAddr=127.0.0.1:${port}`,
      "-retentionPeriod=12",
      "-loggerLevel=ERROR",
    ],
  });
