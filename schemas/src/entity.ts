import { z } from "zod";

const Name = z.string().min(1).max(255);

/** What a finding, an incident or a command is about. `host` is always known; the rest narrows it down. */
export const Entity = z.strictObject({
  host: Name,
  /** The service's name (OpenTelemetry `service.name`). */
  service: Name.optional(),
  /** A mount point or a declared path, for findings about storage. */
  path: z.string().min(1).max(4096).optional(),
});
export type Entity = z.infer<typeof Entity>;

/** One string per entity, for keys and grouping. */
export const entityKey = (entity: Entity): string =>
  JSON.stringify([entity.host, entity.service ?? null, entity.path ?? null]);
