import type { FastifyPluginAsync } from "fastify";
import type { Gateway, ResourceRef, Submission } from "../../gateway/intake.ts";
import { type ReceiverPorts, receive } from "../../gateway/receive.ts";
import { type Answer, type IntakeRequest, type ReceiverRoute, RequestError } from "../../gateway/receiver-route.ts";
import { bulkAnswer, failure } from "./answers.ts";
import { type BulkError, type BulkItem, decodeBulk } from "./bulk-request.ts";
import type { ShippedDocument } from "./document.ts";
import { startUpProbes } from "./start-up-probes.ts";

/**
 * As much of Elasticsearch as Filebeat, Fluent Bit, Fluentd and Vector need to ship logs: _bulk with index and create, and what they ask for
 * before. Nothing can be searched here, an `_id` does not supersede, and ingest pipelines are taken and not run.
 */
export const elasticsearchReceiver =
  (ports: ReceiverPorts): FastifyPluginAsync =>
  async (server) => {
    for (const route of startUpProbes) receive(server, ports, route);
    for (const method of ["POST", "PUT"] as const) {
      for (const path of ["/_bulk", "/:index/_bulk"]) receive(server, ports, bulkRoute(ports.gateway, method, path));
    }
  };

const bulkRoute = (gateway: Gateway, method: ReceiverRoute["method"], path: string): ReceiverRoute => ({
  method,
  path,
  receiver: "elasticsearch",
  handle: (request, submission) => bulk(gateway, request, submission),
  refusal: failure,
});

const CONTENT_TYPES: ReadonlySet<string> = new Set([
  "application/x-ndjson",
  "application/json",
  "application/vnd.elasticsearch+x-ndjson",
  "application/vnd.elasticsearch+json",
]);

const bulk = (gateway: Gateway, request: IntakeRequest, submission: Submission): Answer => {
  const { body, contentType, params, query } = request;
  if (!CONTENT_TYPES.has(contentType)) {
    throw new RequestError(415, `Content-Type header [${contentType}] is not supported, application/x-ndjson is`);
  }
  const items = decodeBulk(body);
  const resources = new Map<string, ResourceRef>();
  const results = items.map((item) => ({ item, error: append(gateway, submission, item, resources) }));
  return bulkAnswer(results, { index: params.index ?? "", isShort: query.filter_path !== undefined });
};

const append = (
  gateway: Gateway,
  submission: Submission,
  { outcome }: BulkItem,
  resources: Map<string, ResourceRef>,
): BulkError | null => {
  if ("error" in outcome) {
    submission.reject(outcome.error.type === "mapper_parsing_exception" ? "malformed" : "unsupported_action", 1);
    return outcome.error;
  }
  const refusal = submission.log(resourceOf(gateway, outcome.document, resources), outcome.document.record);
  return refusal === null ? null : { type: "illegal_argument_exception", reason: `refused: ${refusal}` };
};

/** Documents of one request mostly share a resource: it is looked up once. */
const resourceOf = (gateway: Gateway, { resource }: ShippedDocument, known: Map<string, ResourceRef>): ResourceRef => {
  const key = JSON.stringify(resource.attributes);
  const ref = known.get(key) ?? gateway.resource(resource);
  known.set(key, ref);
  return ref;
};
