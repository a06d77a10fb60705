export { type Control, type ControlOptions, createControl } from "./control/control.ts";
export { ControlConfig } from "./control/control-config.ts";
export type { Identities } from "./control/identity/identities.ts";
export { labelSelector } from "./control/labels.ts";
export { createPluginCatalog, type PluginCatalogOptions } from "./control/plugins/catalog.ts";
export type { PluginCatalog, PluginHostView, WishRequest } from "./control/plugins/catalog-types.ts";
export { PackError, type Packed, packPlugin } from "./control/plugins/pack.ts";
export { createRecordProof } from "./control/record-proof.ts";
export { isRefused, type JobEvent, type Principal } from "./control/views.ts";
