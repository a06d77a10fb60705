/** What the inspector's Profiler gives (https://chromedevtools.github.io/devtools-protocol/tot/Profiler/#type-Profile). */
export interface Profile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  }[];
  readonly samples?: readonly number[];
  readonly timeDeltas?: readonly number[];
}

type Frame = Profile["nodes"][number]["callFrame"];

const FUNCTIONS_SHOWN = 25;

/** Which part of the way a function belongs to, by its file; what the engine does itself has no file. */
const PARTS: readonly (readonly [string, RegExp])[] = [
  ["receiver", /\/ingest\/src\/receivers\/|protobufjs/],
  ["gateway", /\/ingest\/src\/gateway\//],
  ["batch codec", /\/schemas\//],
  ["bus", /\/app\/src\/|node:sqlite/],
  ["decompression and compression", /node:zlib|snappy/],
  ["HTTP", /fastify|node:_http|node:http|node:net|node:internal\/(stream|http)|node:events|find-my-way|light-my/],
  ["buffers", /node:(internal\/)?buffer/],
];

const partOf = ({ functionName, url }: Frame): string => {
  if (functionName === "(garbage collector)") return "garbage collection";
  return PARTS.find(([, pattern]) => pattern.test(url))?.[0] ?? "other";
};

const add = (sums: Map<string, number>, key: string, value: number): void => {
  sums.set(key, (sums.get(key) ?? 0) + value);
};

const shares = (sums: ReadonlyMap<string, number>, total: number, shown: number): string[] =>
  [...sums]
    .toSorted(([, a], [, b]) => b - a)
    .slice(0, shown)
    .map(([name, value]) => `${((value / total) * 100).toFixed(1).padStart(6)} %  ${name}`);

/** Self time on the main thread, idle time left out: by part of the way, then by function. */
export const profileSummary = ({ nodes, samples = [], timeDeltas = [] }: Profile): string[] => {
  const frames = new Map(nodes.map(({ id, callFrame }) => [id, callFrame]));
  const byPart = new Map<string, number>();
  const byFunction = new Map<string, number>();
  let total = 0;
  for (const [index, id] of samples.entries()) {
    const frame = frames.get(id);
    const time = timeDeltas[index] ?? 0;
    // Nor does the profiler's own start count.
    if (frame === undefined || frame.functionName === "(idle)" || frame.url === "node:inspector") continue;
    total += time;
    add(byPart, partOf(frame), time);
    const file = frame.url.split("/").slice(-2).join("/");
    add(byFunction, `${frame.functionName || "(anonymous)"} ${file}:${frame.lineNumber + 1}`, time);
  }
  return [...shares(byPart, total, PARTS.length + 2), "", ...shares(byFunction, total, FUNCTIONS_SHOWN)];
};
