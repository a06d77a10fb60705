const WAY_OUT = "Point the configuration at a ClickHouse server instead: `store: {kind: clickhouse, url: …}`.";

/** Why the embedded store did not start. */
export class EmbeddedStoreError extends Error {
  override readonly name = "EmbeddedStoreError";
  readonly code: "unsupported" | "directory_locked" | "start_failed";
  constructor(code: EmbeddedStoreError["code"], message: string, options: { cause?: unknown } = {}) {
    super(code === "unsupported" ? `${message}. ${WAY_OUT}` : message, options);
    this.code = code;
  }
}
