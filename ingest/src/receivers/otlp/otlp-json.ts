import type { Type } from "protobufjs";
import protojson from "protobufjs/ext/protojson.js";
import { parseJsonBody } from "./json-body.ts";

/**
 * OTLP/JSON (https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding) as protobuf bytes, so that one reader takes both. It is
 * ProtoJSON with unknown fields ignored, but for trace and span ids, which stand there in hexadecimal.
 * @throws Error that names the field which is wrong.
 */
export const protobufOfJson = (type: Type, body: Buffer): Buffer => {
  const json: unknown = parseJsonBody(body);
  idsAsBase64(json);
  const message = protojson.fromJson(type, json, { ignoreUnknownFields: true });
  return Buffer.from(type.encode(message).finish());
};

const listIn = (value: unknown, name: string): readonly unknown[] => {
  if (typeof value !== "object" || value === null) return [];
  const list = (value as Record<string, unknown>)[name];
  return Array.isArray(list) ? list : [];
};

/** Only log records carry ids that are kept: those of exemplars are skipped. */
const idsAsBase64 = (request: unknown): void => {
  for (const resource of listIn(request, "resourceLogs")) {
    for (const scope of listIn(resource, "scopeLogs")) {
      for (const record of listIn(scope, "logRecords")) {
        if (typeof record !== "object" || record === null) continue;
        idAsBase64(record as Record<string, unknown>, "traceId");
        idAsBase64(record as Record<string, unknown>, "spanId");
      }
    }
  }
};

const HEX = /^(?:[0-9a-fA-F]{2})*$/;

const idAsBase64 = (record: Record<string, unknown>, name: string): void => {
  const id = record[name];
  if (typeof id !== "string") return;
  if (!HEX.test(id)) throw new Error(`${name}: expected hexadecimal digits, got ${JSON.stringify(id.slice(0, 64))}`);
  record[name] = Buffer.from(id, "hex").toString("base64");
};
