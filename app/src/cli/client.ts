import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { UsageError } from "./verb.ts";
import { dataDirOf } from "./where-data-is.ts";

/** What a running platform writes to `data_dir/platform.json`. */
export const RunFile = z.strictObject({
  pid: z.int().min(1),
  url: z.url(),
  version: z.string(),
  started_at_unix_ms: z.int(),
});
export type RunFile = z.infer<typeof RunFile>;

const UNAUTHORIZED = 401;
const REQUEST_TIMEOUT_MS = 15_000;
/** A stream says something every few seconds; one that is silent for so long is broken. */
const SILENCE_MS_MAX = 15_000;
/** A line of a stream may hold a result with all its output, as JSON. */
const LINE_CHARS_MAX = 32 * 1_048_576;

/** Where a platform is, and with what to be let in. */
export interface Where {
  /** Of the platform that runs on this machine, where `api` is not given; by default where a start here would put it. */
  readonly "data-dir"?: string | undefined;
  readonly api?: string | undefined;
  readonly "token-file"?: string | undefined;
}

interface Asking {
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

/** Speaks to a platform. */
export interface ApiClient {
  readonly url: string;
  get<T>(path: string, shape: z.ZodType<T>, asking?: Asking): Promise<T>;
  text(path: string): Promise<string>;
  /** With its headers. */
  response(path: string): Promise<Response>;
  post<T>(path: string, body: unknown, shape: z.ZodType<T>, asking?: Asking): Promise<T>;
  postBytes<T>(path: string, body: Buffer, shape: z.ZodType<T>): Promise<T>;
  /** A line of JSON each, until the other side ends it. @throws ApiError with status null when it breaks. */
  lines<T>(path: string, shape: z.ZodType<T>, signal: AbortSignal): AsyncIterable<T>;
}

export class ApiError extends Error {
  override readonly name = "ApiError";
  /** null: nobody answered. */
  readonly status: number | null;
  /** Why a part of the platform refused, in its own word. */
  readonly refusal: string;
  constructor(
    message: string,
    status: number | null,
    { cause, refusal = "" }: { cause?: unknown; refusal?: string } = {},
  ) {
    super(message, { cause });
    this.status = status;
    this.refusal = refusal;
  }
}

const Refusal = z.object({
  error: z.object({ message: z.string(), problems: z.array(z.string()).default([]), refusal: z.string().default("") }),
});

/** What the API says in its one form of errors, or the beginning of whatever else answered. */
const errorIn = (body: string, status: number): ApiError => {
  try {
    const { message, problems, refusal } = Refusal.parse(JSON.parse(body)).error;
    return new ApiError([message, ...problems.map((problem) => `  - ${problem}`)].join("\n"), status, { refusal });
  } catch {
    return new ApiError(body.slice(0, 500), status);
  }
};

const runningOn = (dataDir: string): string => {
  try {
    return RunFile.parse(JSON.parse(readFileSync(join(dataDir, "platform.json"), "utf8"))).url;
  } catch (cause) {
    throw new ApiError(`no platform runs on ${dataDir} (start one with: npm start, or name one with --api)`, null, {
      cause,
    });
  }
};

const tokenOf = (where: Where, env: Readonly<Record<string, string | undefined>>, isElsewhere: boolean): string => {
  const file = where["token-file"];
  if (file !== undefined) {
    const token = readFileSync(file, "utf8").trim();
    if (token === "") throw new UsageError(`--token-file ${file}: it is empty`);
    return token;
  }
  if (env.HOMEOSTAT_TOKEN !== undefined && env.HOMEOSTAT_TOKEN !== "") return env.HOMEOSTAT_TOKEN;
  // The token of this machine's platform is nobody else's to see.
  if (isElsewhere) return "";
  const local = join(dataDirOf(where["data-dir"]), "secrets", "api-token");
  return existsSync(local) ? readFileSync(local, "utf8").trim() : "";
};

const baseOf = (text: string): string => {
  const url = URL.parse(text);
  if (url === null || !/^https?:$/.test(url.protocol))
    throw new UsageError(`the API at ${text}: want a URL such as https://homeostat.example:7070`);
  return url.href;
};

/** Splits at line ends; the last piece without one is a line, too. */
async function* linesOf(body: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of body) {
    rest += decoder.decode(chunk, { stream: true });
    const lines = rest.split("\n");
    rest = lines.pop() ?? "";
    if (rest.length > LINE_CHARS_MAX) throw new ApiError("a line of the stream is too long", null);
    yield* lines.filter((line) => line !== "");
  }
  if (rest !== "") yield rest;
}

/** In words for whoever gave the token: the API's own are of headers. */
const unauthorized = (token: string, url: string, cause: ApiError): ApiError =>
  new ApiError(
    token === ""
      ? `the platform at ${url} wants a token: --token-file FILE or HOMEOSTAT_TOKEN`
      : `the platform at ${url} does not know this token (of --token-file, HOMEOSTAT_TOKEN or the data directory)`,
    UNAUTHORIZED,
    { cause, refusal: cause.refusal },
  );

/** The platform that runs on this data directory. @throws ApiError when none has written its address there. */
export const connect = (dataDir: string): ApiClient => connectTo({ "data-dir": dataDir }, {});

/** As `connect`, or to a platform elsewhere. @throws UsageError for an address that is none. */
export const connectTo = (where: Where, env: Readonly<Record<string, string | undefined>>): ApiClient => {
  const elsewhere = where.api ?? env.HOMEOSTAT_API;
  const isElsewhere = elsewhere !== undefined && elsewhere !== "";
  const url = isElsewhere ? baseOf(elsewhere) : runningOn(dataDirOf(where["data-dir"]));
  const token = tokenOf(where, env, isElsewhere);
  const request = async (path: string, init: RequestInit, { timeoutMs, signal }: Asking = {}): Promise<Response> => {
    const headers = { ...init.headers, ...(token !== "" && { authorization: `Bearer ${token}` }) };
    const timeout = AbortSignal.timeout(timeoutMs ?? REQUEST_TIMEOUT_MS);
    const until = signal === undefined ? timeout : AbortSignal.any([signal, timeout]);
    let response: Response;
    try {
      response = await fetch(new URL(path, url), { ...init, headers, signal: until });
    } catch (cause) {
      throw new ApiError(`the platform at ${url} does not answer`, null, { cause });
    }
    if (!response.ok) {
      const failure = errorIn(await response.text(), response.status);
      throw response.status === UNAUTHORIZED ? unauthorized(token, url, failure) : failure;
    }
    return response;
  };
  const json = { "content-type": "application/json" };
  return {
    url,
    get: async (path, shape, asking) => shape.parse(await (await request(path, {}, asking)).json()),
    text: async (path) => (await request(path, {})).text(),
    response: (path) => request(path, {}),
    post: async (path, body, shape, asking) => {
      const init = { method: "POST", headers: json, body: JSON.stringify(body) };
      return shape.parse(await (await request(path, init, asking)).json());
    },
    postBytes: async (path, body, shape) => {
      const init = {
        method: "POST",
        headers: { "content-type": "application/octet-stream" },
        body: new Uint8Array(body),
      };
      return shape.parse(await (await request(path, init, { timeoutMs: 4 * REQUEST_TIMEOUT_MS })).json());
    },
    lines: async function* (path, shape, signal) {
      const silent = new AbortController();
      const timer = setTimeout(() => silent.abort(), SILENCE_MS_MAX);
      const until = AbortSignal.any([signal, silent.signal]);
      try {
        const { body } = await request(path, {}, { timeoutMs: 2 ** 31 - 1, signal: until });
        if (body === null) return;
        for await (const line of linesOf(body)) {
          timer.refresh();
          yield shape.parse(JSON.parse(line));
        }
      } catch (error) {
        if (error instanceof ApiError || error instanceof z.ZodError) throw error;
        throw new ApiError(`the stream of ${url} broke off`, null, { cause: error });
      } finally {
        clearTimeout(timer);
      }
    },
  };
};
