import { Job } from "@homeostat/schemas";
import { z } from "zod";
import type { Access } from "./access.ts";
import { ApiError, ErrorBody } from "./api-error.ts";
import type { ApiInstance } from "./api-instance.ts";
import { type ShellPort, ShellRequest, TranscriptRow } from "./fleet-ports.ts";
import { orRefuse } from "./refusal.ts";

/** What is typed or pasted in one request; a longer paste comes in several. */
const INPUT_CHARS_MAX = 65_536;
const errors = { "4xx": ErrorBody, "5xx": ErrorBody };
const SessionPath = z.strictObject({ session_id: z.string().min(1).max(100) });
const Taken = z.strictObject({ next_sequence: z.int().min(0) });
const Sequence = z.int().min(0).describe("counts from 0; what was taken already is answered and not done again");

/** Under a scope that wants somebody with the role `shell`. */
export const shellRoutes = (api: ApiInstance, shell: ShellPort, access: Access): void => {
  api.post(
    "/shell",
    {
      schema: {
        summary: "Opens a recorded session on a host; its output is the job's stream (/jobs/…/events)",
        security: [{ token: [] }],
        body: ShellRequest,
        response: { 201: z.strictObject({ job: Job }), ...errors },
      },
    },
    async (request, reply) =>
      reply.code(201).send({ job: orRefuse(await shell.open(request.body, access.known(request))) }),
  );
  api.post(
    "/shell/:session_id/input",
    {
      schema: {
        summary: "Types into a session",
        security: [{ token: [] }],
        params: SessionPath,
        body: z.strictObject({ sequence: Sequence, data: z.base64().max(INPUT_CHARS_MAX) }),
        response: { 200: Taken, ...errors },
      },
    },
    async (request) => {
      const { sequence, data } = request.body;
      const input = { sequence, data: Buffer.from(data, "base64") };
      return orRefuse(shell.input(request.params.session_id, input, access.known(request)));
    },
  );
  api.post(
    "/shell/:session_id/resize",
    {
      schema: {
        summary: "Says how large the terminal is",
        security: [{ token: [] }],
        params: SessionPath,
        body: z.strictObject({
          sequence: Sequence,
          columns: z.int().min(1).max(1_000),
          rows: z.int().min(1).max(1_000),
        }),
        response: { 200: Taken, ...errors },
      },
    },
    async (request) => orRefuse(shell.resize(request.params.session_id, request.body, access.known(request))),
  );
  api.post(
    "/shell/:session_id/close",
    {
      schema: {
        summary: "Ends a session and all that runs in it",
        security: [{ token: [] }],
        params: SessionPath,
        body: z.strictObject({}),
        response: { 200: z.strictObject({ job: Job }), ...errors },
      },
    },
    async (request) => ({ job: orRefuse(await shell.close(request.params.session_id, access.known(request))) }),
  );
};

/** Under a scope that wants an approver or an admin: whatever was typed stands in a transcript. */
export const transcriptRoutes = (api: ApiInstance, shell: ShellPort): void => {
  api.get(
    "/transcripts",
    {
      schema: {
        summary: "Transcripts of sessions, newest first, and whether they are as the audit log has them",
        security: [{ token: [] }],
        response: { 200: z.strictObject({ transcripts: z.array(TranscriptRow).readonly() }), ...errors },
      },
    },
    async () => ({ transcripts: await shell.transcripts() }),
  );
  api.get(
    "/transcripts/:session_id",
    {
      schema: {
        summary:
          "A transcript, as asciicast v2 (application/x-asciicast); the header x-transcript-state says whether it was altered",
        security: [{ token: [] }],
        params: SessionPath,
      },
    },
    async ({ params: { session_id } }, reply) => {
      const found = await shell.transcript(session_id);
      if (found === null) throw new ApiError("not_found", `no transcript ${JSON.stringify(session_id)}`);
      return reply
        .type("application/x-asciicast; charset=utf-8")
        .header("x-transcript-state", found.row.state)
        .send(found.text);
    },
  );
};
