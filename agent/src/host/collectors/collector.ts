/** One source of metrics. It keeps its series from the sink, and records into them whenever it is called. */
export interface Collector {
  readonly name: string;
  /** How often it wants to be called; less often than the tick. */
  readonly everyMs: number;
  collect(nowUnixMs: number): void;
  /** It is still at work off the main thread for this call, and records a little later. */
  readonly isPending?: boolean;
  close?(): void;
}
