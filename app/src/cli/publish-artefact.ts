import { readFileSync } from "node:fs";
import { PluginRelease } from "@homeostat/schemas";
import { z } from "zod";
import type { ApiClient } from "./client.ts";
import { readJsonFile } from "./json-file.ts";

const LENGTH_BYTES = 4;

/** An artefact and its signed release, by default the file beside it. */
export const publishArtefact = async (
  api: ApiClient,
  path: string,
  releasePath = `${path}.release.json`,
): Promise<PluginRelease> => {
  const release = Buffer.from(JSON.stringify(readJsonFile(releasePath, z.json())));
  const length = Buffer.alloc(LENGTH_BYTES);
  length.writeUInt32BE(release.length);
  const body = Buffer.concat([length, release, readFileSync(path)]);
  const shape = z.object({ release: PluginRelease });
  return (await api.postBytes("/api/v1/plugins/releases", body, shape)).release;
};
