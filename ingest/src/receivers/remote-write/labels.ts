import { isUtf8 } from "node:buffer";
import { MAP_ENTRIES_MAX } from "@homeostat/schemas";

/** A label as it stands on the wire. */
export interface LabelBytes {
  readonly name: Uint8Array;
  readonly value: Uint8Array;
}

/** Who a series is. `attributes` are all labels as they came, without `__name__`. */
export interface SeriesLabels {
  readonly name: string;
  readonly host: string;
  readonly service: string;
  readonly attributes: Readonly<Record<string, string>>;
}

/** Why labels were refused. */
export class LabelsProblem {
  readonly message: string;
  constructor(message: string) {
    this.message = message;
  }
}

/** The first of these that is there names the host, and the service. */
const HOST_LABELS = ["host.name", "host", "instance"] as const;
const SERVICE_LABELS = ["service.name", "job", "service"] as const;

const SHOWN_LENGTH_MAX = 80;

const shown = (bytes: Uint8Array): string =>
  JSON.stringify(Buffer.from(bytes.subarray(0, SHOWN_LENGTH_MAX)).toString("utf8"));

/** `web-1` of `web-1:9100`, `::1` of `[::1]:9100`; anything else stays as it is. */
export const withoutPort = (instance: string): string => {
  const match = /^(?:\[([^\]]+)\]|([^:]+))(?::\d+)?$/.exec(instance);
  return match?.[1] ?? match?.[2] ?? instance;
};

/** What the specification forbids (https://prometheus.io/docs/specs/prw/remote_write_spec_2_0/#series-labels), or null. */
const problemOf = ({ name, value }: LabelBytes, previous: Uint8Array | null): LabelsProblem | null => {
  if (!isUtf8(name) || !isUtf8(value)) return new LabelsProblem(`the label ${shown(name)} is not valid UTF-8`);
  if (name.length === 0) return new LabelsProblem("a label's name is empty");
  if (value.length === 0) return new LabelsProblem(`the label ${shown(name)} is empty`);
  if (previous === null) return null;
  const order = Buffer.compare(previous, name);
  if (order === 0) return new LabelsProblem(`the label ${shown(name)} stands twice`);
  if (order > 0) return new LabelsProblem(`labels are not sorted: ${shown(name)} stands behind ${shown(previous)}`);
  return null;
};

const first = (attributes: Readonly<Record<string, string>>, names: readonly string[]): string => {
  for (const name of names) {
    const value = attributes[name];
    if (value !== undefined) return value;
  }
  return "";
};

const text = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8");

/** A label may be called as objects call what they inherit from. */
const ownProperty = (value: string): PropertyDescriptor => ({
  value,
  enumerable: true,
  configurable: true,
  writable: true,
});

/** Checks and decodes a series' labels. */
export const readLabels = (labels: readonly LabelBytes[]): SeriesLabels | LabelsProblem => {
  if (labels.length > MAP_ENTRIES_MAX) {
    return new LabelsProblem(`a series has ${labels.length} labels, at most ${MAP_ENTRIES_MAX} are taken`);
  }
  const attributes: Record<string, string> = {};
  let name = "";
  let previous: Uint8Array | null = null;
  for (const label of labels) {
    const problem = problemOf(label, previous);
    if (problem !== null) return problem;
    previous = label.name;
    const key = text(label.name);
    if (key === "__name__") name = text(label.value);
    else if (key === "__proto__") Object.defineProperty(attributes, key, ownProperty(text(label.value)));
    else attributes[key] = text(label.value);
  }
  if (name === "") return new LabelsProblem("there is no label __name__");
  return {
    name,
    host: withoutPort(first(attributes, HOST_LABELS)),
    service: first(attributes, SERVICE_LABELS),
    attributes,
  };
};
