import { readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";

/** What a running platform writes to `data_dir/platform.json`. */
export const RunFile = z.strictObject({
  pid: z.int().min(1),
  url: z.url(),
  version: z.string(),
  started_at_unix_ms: z.int(),
});
export type RunFile = z.infer<typeof RunFile>;

const REQUEST_TIMEOUT_MS = 15_000;

/** Speaks to the platform that runs on this data directory. */
export interface ApiClient {
  readonly url: string;
  get<T>(path: string, shape: z.ZodType<T>): Promise<T>;
  text(path: string): Promise<string>;
  post<T>(path: string, body: unknown, shape: z.ZodType<T>): Promise<T>;
}

export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly status: number | null;
  constructor(message: string, status: number | null, cause?: unknown) {
    super(message, { cause });
    this.status = status;
  }
}

const Refusal = z.object({
  error: z.object({ message: z.string(), problems: z.array(z.string()).default([]) }),
});

/** What the API says in its one form of errors, or the beginning of whatever else answered. */
const reasonIn = (body: string): string => {
  try {
    const { message, problems } = Refusal.parse(JSON.parse(body)).error;
    return [message, ...problems.map((problem) => `  - ${problem}`)].join("\n");
  } catch {
    return body.slice(0, 500);
  }
};

/** @throws ApiError when no platform has written its address under `dataDir`. */
export const connect = (dataDir: string): ApiClient => {
  let url: string;
  try {
    url = RunFile.parse(JSON.parse(readFileSync(join(dataDir, "platform.json"), "utf8"))).url;
  } catch (cause) {
    throw new ApiError(`no platform runs on ${dataDir} (start one with: npm start)`, null, cause);
  }
  const request = async (path: string, init: RequestInit): Promise<Response> => {
    let response: Response;
    try {
      response = await fetch(new URL(path, url), { ...init, signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS) });
    } catch (cause) {
      throw new ApiError(`the platform at ${url} does not answer`, null, cause);
    }
    if (!response.ok) throw new ApiError(reasonIn(await response.text()), response.status);
    return response;
  };
  return {
    url,
    get: async (path, shape) => shape.parse(await (await request(path, {})).json()),
    text: async (path) => (await request(path, {})).text(),
    post: async (path, body, shape) => {
      const token = readFileSync(join(dataDir, "secrets", "api-token"), "utf8").trim();
      const headers = { "content-type": "application/json", authorization: `Bearer ${token}` };
      return shape.parse(await (await request(path, { method: "POST", headers, body: JSON.stringify(body) })).json());
    },
  };
};
