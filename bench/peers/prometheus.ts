import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Peer, startPeer } from "./peer-process.ts";

/** Takes remote write at `/api/v1/write`. `dir` is its data directory; null when it is not installed. */
export const startPrometheus = (dir: string): Promise<Peer | null> => {
  const config = join(dir, "prometheus.yml");
  writeFileSync(config, "global: {}\n");
  return startPeer({
    name: "prometheus",
    binary: "prometheus",
    readyPath: "/-/ready",
    args: (port) => [
      `--config.file=${config}`,
      `--storage.tsdb.path=${join(dir, "data")}`,
      `--web.listen-address=127.0.0.1:${port}`,
      "--web.enable-remote-write-receiver",
      "--log.level=error",
    ],
  });
};
