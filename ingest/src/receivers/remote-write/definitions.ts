import { readFileSync } from "node:fs";
import protobuf from "protobufjs";

/** What Prometheus publishes (ingest/proto/prometheus/README.md says which version). */
const FILES = ["types.proto", "remote.proto", "io/prometheus/write/v2/types.proto"];

/** Reads the published definitions: `prometheus.WriteRequest`, `io.prometheus.write.v2.Request` and what they are made of. */
export const loadDefinitions = (): protobuf.Root => {
  const root = new protobuf.Root();
  for (const file of FILES) {
    const path = new URL(`../../../proto/prometheus/${file}`, import.meta.url);
    protobuf.parse(readFileSync(path, "utf8"), root);
  }
  root.resolveAll();
  return root;
};
