import type { LogRecord, Resource } from "../../gateway/intake.ts";
import { severityNumberOf } from "../loki/log-level.ts";
import { dateNanoseconds } from "./date-nanoseconds.ts";
import { flatFields } from "./flat-fields.ts";

/** A document as a log record, and the resource that it tells of. */
export interface ShippedDocument {
  readonly resource: Resource;
  readonly record: LogRecord;
}

/** Where shippers put things, best first: ECS (https://www.elastic.co/docs/reference/ecs), then what Fluent Bit, Fluentd and Vector write. */
const TIME_FIELDS = ["@timestamp", "timestamp"];
const BODY_FIELDS = ["message", "log", "MESSAGE", "msg"];
const HOST_FIELDS = ["host.name", "host.hostname", "host", "hostname", "agent.hostname", "kubernetes.host"];
const SERVICE_FIELDS = [
  "service.name",
  "service",
  "app",
  "kubernetes.container.name",
  "kubernetes.container_name",
  "container.name",
  "event.module",
];
const LEVEL_FIELDS = ["log.level", "level", "severity", "log_level", "loglevel"];
const TRACE_FIELDS = ["trace.id", "trace_id"];
const SPAN_FIELDS = ["span.id", "span_id"];

/** What says where a record comes from, not what it is: told once as a resource, not in every record. */
const RESOURCE_PREFIX = /^(?:agent|cloud|container|data_stream|ecs|host|kubernetes|orchestrator|service)\./;

const TRACE_ID = /^[0-9a-f]{32}$/i;
const SPAN_ID = /^[0-9a-f]{16}$/i;

/** @returns why not, for a document that cannot be a record. */
export const documentOf = (document: Readonly<Record<string, unknown>>): ShippedDocument | string => {
  const fields = flatFields(document);
  if (typeof fields === "string") return fields;
  const taken = new Fields(fields);
  const time = taken.take(TIME_FIELDS);
  const timeUnixNano = time === "" ? 0n : dateNanoseconds(time);
  if (timeUnixNano === null) return `failed to parse date field [${time.slice(0, 60)}]`;
  const body = taken.take(BODY_FIELDS);
  const host = taken.told(HOST_FIELDS);
  const service = taken.told(SERVICE_FIELDS);
  const severityText = taken.take(LEVEL_FIELDS);
  const traceId = taken.takeIf(TRACE_FIELDS, TRACE_ID).toLowerCase();
  const spanId = taken.takeIf(SPAN_FIELDS, SPAN_ID).toLowerCase();
  const { attributes, resource } = taken.rest();
  if (host !== "") resource["host.name"] = host;
  if (service !== "") resource["service.name"] = service;
  return {
    resource: { host, service, attributes: resource },
    record: {
      timeUnixNano,
      observedUnixNano: 0n,
      severityNumber: severityNumberOf(severityText),
      severityText,
      eventName: "",
      scopeName: "",
      traceId,
      spanId,
      traceFlags: 0,
      body,
      attributes,
    },
  };
};

/** The fields of one document, and which of them have found their place. */
class Fields {
  readonly #fields: Readonly<Record<string, string>>;
  readonly #taken = new Set<string>();

  constructor(fields: Readonly<Record<string, string>>) {
    this.#fields = fields;
  }

  /** The first of them that is there and not empty. */
  #first(names: readonly string[]): string | undefined {
    return names.find((name) => Object.hasOwn(this.#fields, name) && this.#fields[name] !== "");
  }

  #text(name: string | undefined): string {
    return name === undefined ? "" : (this.#fields[name] ?? "");
  }

  take(names: readonly string[]): string {
    const name = this.#first(names);
    if (name !== undefined) this.#taken.add(name);
    return this.#text(name);
  }

  /** What is said in a dotted field stays there too: it may be more than a host's or service's name. */
  told(names: readonly string[]): string {
    const name = this.#first(names);
    return name?.includes(".") === true ? this.#text(name) : this.take(names);
  }

  /** What does not look right stays where it is. */
  takeIf(names: readonly string[], form: RegExp): string {
    return form.test(this.#text(this.#first(names))) ? this.take(names) : "";
  }

  rest(): { attributes: Record<string, string>; resource: Record<string, string> } {
    const rest = Object.entries(this.#fields).filter(([name]) => !this.#taken.has(name));
    return {
      attributes: Object.fromEntries(rest.filter(([name]) => !RESOURCE_PREFIX.test(name))),
      resource: Object.fromEntries(rest.filter(([name]) => RESOURCE_PREFIX.test(name))),
    };
  }
}
