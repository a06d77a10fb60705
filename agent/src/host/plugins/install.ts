import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { PluginRelease } from "@homeostat/schemas";
import { type FetchSetting, fetchArtefact } from "../fetch-artefact.ts";
import type { PluginStore } from "./store.ts";
import { flawOf, unpack } from "./unpack.ts";

/** Of an artefact, packed: an agent that is told more is told nonsense. */
export const ARTEFACT_BYTES_MAX = 64 * 1_048_576;

/** What became of an installation. */
export interface Installed {
  /** `unavailable` may go better another time; `corrupt` may, when the bytes come from somebody else; `refused` never will. */
  readonly outcome: "installed" | "unavailable" | "corrupt" | "refused";
  /** Why; of an installation its directory. */
  readonly detail: string;
}

/** Fetches, checks, unpacks, and puts it in its place. Whoever is killed in between leaves nothing but what the next start clears away. */
export const install = async (
  release: PluginRelease,
  options: FetchSetting & { readonly store: PluginStore; readonly unpackMs: number },
): Promise<Installed> => {
  const { store, unpackMs } = options;
  if (release.size_bytes > ARTEFACT_BYTES_MAX)
    return { outcome: "refused", detail: `an artefact of more than ${ARTEFACT_BYTES_MAX} bytes` };
  const temporary = store.makeTemporary();
  try {
    const artefact = join(temporary, "artefact");
    const flaw = await fetchArtefact(artefact, release, options);
    if (flaw !== null) return flaw;
    const root = join(temporary, "root");
    await mkdir(root, { mode: 0o755 });
    const unpacked = await unpack(artefact, { into: root, timeoutMs: unpackMs });
    if ("refused" in unpacked) return { outcome: "refused", detail: `its artefact: ${unpacked.refused}` };
    const wrong = flawOf(root, release.manifest);
    if (wrong !== null) return { outcome: "refused", detail: wrong };
    store.place(release, root, temporary);
    return { outcome: "installed", detail: store.directoryOf(release) };
  } catch (error) {
    // The disk, or the child: neither says anything about the release.
    return {
      outcome: "unavailable",
      detail: `cannot install: ${error instanceof Error ? error.message : String(error)}`,
    };
  } finally {
    store.discard(temporary);
  }
};
