import type { Gateway, HistogramPoint, SeriesIdentity, SeriesRef, Submission } from "../../gateway/intake.ts";
import type { Answer, IntakeRequest } from "../../gateway/receiver-route.ts";
import { loadDefinitions } from "./definitions.ts";
import { createRemoteWrite } from "./remote-write.ts";

export const MEDIA_TYPES = {
  v1: "application/x-protobuf",
  v2: "application/x-protobuf;proto=io.prometheus.write.v2.Request",
} as const;

const definitions = loadDefinitions();
export const WriteRequest = definitions.lookupType("prometheus.WriteRequest");
export const WriteRequestV2 = definitions.lookupType("io.prometheus.write.v2.Request");

export const encodeV1 = (message: object): Buffer =>
  Buffer.from(WriteRequest.encode(WriteRequest.fromObject(message)).finish());

export const encodeV2 = (message: object): Buffer =>
  Buffer.from(WriteRequestV2.encode(WriteRequestV2.fromObject(message)).finish());

/** What a submission was given, each series by its identity. */
export interface Received {
  readonly samples: {
    readonly series: SeriesIdentity;
    readonly at: number;
    readonly value: number;
    readonly start: number;
  }[];
  readonly histograms: { readonly series: SeriesIdentity; readonly point: HistogramPoint; readonly start: number }[];
  readonly rejected: Record<string, number>;
}

/** A receiver whose gateway takes everything (but samples at 13 ms, which are late) and writes it down. */
export const recordingReceiver = () => {
  const identities = new Map<SeriesRef, SeriesIdentity>();
  const identityOf = (ref: SeriesRef): SeriesIdentity => {
    const identity = identities.get(ref);
    if (identity === undefined) throw new Error("a series that was never told");
    return identity;
  };
  const gateway: Gateway = {
    resource: () => {
      throw new Error("remote write has no resources");
    },
    series: (identity) => {
      const ref = {} as SeriesRef;
      identities.set(ref, identity);
      return ref;
    },
    admit: () => null,
  };
  const handle = createRemoteWrite(gateway);
  const send = (
    version: "v1" | "v2",
    body: Buffer,
    contentType: string = MEDIA_TYPES[version],
  ): { answer: Answer; received: Received } => {
    const received: Received = { samples: [], histograms: [], rejected: {} };
    const submission: Submission = {
      log: () => "bad_value",
      sample: (ref, at, value, start = 0) => {
        if (at === 13) return "late";
        received.samples.push({ series: identityOf(ref), at, value, start });
        return null;
      },
      histogram: (ref, point, start = 0) => {
        received.histograms.push({ series: identityOf(ref), point, start });
        return null;
      },
      reject: (reason, records) => {
        received.rejected[reason] = (received.rejected[reason] ?? 0) + records;
      },
      commit: () => Promise.resolve(),
      abandon: () => undefined,
    };
    const request: IntakeRequest = {
      body,
      contentType: contentType.split(";")[0] ?? "",
      headers: { "content-type": contentType },
      params: {},
      query: {},
      sender: "test",
      nowUnixMs: 1_700_000_000_000,
    };
    return { answer: handle(request, submission), received };
  };
  return { send };
};
