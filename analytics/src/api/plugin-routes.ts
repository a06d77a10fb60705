import { PluginRelease, PluginWish, TargetSelector } from "@homeostat/schemas";
import { z } from "zod";
import type { Access } from "./access.ts";
import { ApiError, ErrorBody } from "./api-error.ts";
import type { ApiInstance } from "./api-instance.ts";
import type { PluginPort } from "./fleet-ports.ts";
import { orRefuse } from "./refusal.ts";

/** An artefact is held in memory while it is checked. */
const ARTEFACT_BYTES_MAX = 64 * 1_048_576;
/** The release, as JSON, stands before the artefact; its length, as u32be, before it. */
const LENGTH_BYTES = 4;
const RELEASE_BYTES_MAX = 262_144;
const errors = { "4xx": ErrorBody, "5xx": ErrorBody };
const PluginName = z.string().min(1).max(64);

/** Release and artefact of one body. @throws ApiError when it is not made so. */
const split = (body: Buffer): { release: unknown; artefact: Buffer } => {
  const length = body.length < LENGTH_BYTES ? 0 : body.readUInt32BE(0);
  if (length === 0 || length > RELEASE_BYTES_MAX || LENGTH_BYTES + length > body.length)
    throw new ApiError("bad_request", "want the release's length (u32be), the release as JSON, then the artefact");
  try {
    const release: unknown = JSON.parse(body.toString("utf8", LENGTH_BYTES, LENGTH_BYTES + length));
    return { release, artefact: body.subarray(LENGTH_BYTES + length) };
  } catch (error) {
    if (error instanceof SyntaxError) throw new ApiError("bad_request", `the release is not JSON: ${error.message}`);
    throw error;
  }
};

/** Under a scope that checks who reads. */
export const pluginReadRoutes = (api: ApiInstance, plugins: PluginPort): void => {
  api.get(
    "/plugins",
    {
      schema: {
        summary: "Published releases of plugins, and which hosts should have which",
        response: {
          200: z.strictObject({
            releases: z.array(PluginRelease).readonly(),
            wishes: z.array(PluginWish).readonly(),
          }),
          ...errors,
        },
      },
    },
    async () => ({ releases: plugins.releases(), wishes: plugins.wishes() }),
  );
};

const publishRoute = (api: ApiInstance, plugins: PluginPort, access: Access): void => {
  api.addContentTypeParser(
    "application/octet-stream",
    { parseAs: "buffer", bodyLimit: ARTEFACT_BYTES_MAX },
    (_request, body, done) => done(null, body),
  );
  api.post(
    "/plugins/releases",
    {
      bodyLimit: ARTEFACT_BYTES_MAX,
      schema: {
        summary:
          "Publishes a release: its length (u32be), itself as JSON, then the artefact (application/octet-stream)",
        security: [{ token: [] }],
        response: { 201: z.strictObject({ release: PluginRelease }), ...errors },
      },
    },
    async (request, reply) => {
      if (!Buffer.isBuffer(request.body)) throw new ApiError("unsupported_media_type", "want application/octet-stream");
      const { release, artefact } = split(request.body);
      const published = orRefuse(await plugins.publish(release, artefact, access.known(request)));
      return reply.code(201).send({ release: published });
    },
  );
};

/** Under a scope that wants an admin. */
export const pluginWriteRoutes = (api: ApiInstance, plugins: PluginPort, access: Access): void => {
  publishRoute(api, plugins, access);
  api.post(
    "/plugins/wishes",
    {
      schema: {
        summary: "Says which hosts should have a plugin; replaces what was said of the same plugin and hosts",
        security: [{ token: [] }],
        body: z.strictObject({
          name: PluginName,
          version: z.string().max(64).nullable().default(null).describe("null: what ships with the agent"),
          targets: TargetSelector,
          config: PluginWish.shape.config,
          pinned: z.boolean().default(false).describe("stays at this version, also when a newer default is published"),
          enabled: z.boolean().default(true),
          at_once: z.boolean().default(false).describe("to all hosts at once, without steps"),
        }),
        response: { 200: z.strictObject({ wish: PluginWish }), ...errors },
      },
    },
    async (request) => {
      const { at_once, ...asked } = request.body;
      return { wish: orRefuse(await plugins.wish({ ...asked, atOnce: at_once }, access.known(request))) };
    },
  );
  api.post(
    "/plugins/unwish",
    {
      schema: {
        summary: "Takes back what was said of a plugin and these hosts",
        security: [{ token: [] }],
        body: z.strictObject({ name: PluginName, targets: TargetSelector }),
        response: { 200: z.strictObject({ wish: PluginWish }), ...errors },
      },
    },
    async (request) => ({
      wish: orRefuse(await plugins.unwish(request.body.name, request.body.targets, access.known(request))),
    }),
  );
};
