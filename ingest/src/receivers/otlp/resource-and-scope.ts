import type { Resource } from "../../gateway/intake.ts";
import { readAttribute } from "./any-value.ts";
import { BYTES, enter, leave, skip, text, type Wire } from "./wire.ts";

/** An instrumentation scope: https://opentelemetry.io/docs/specs/otel/common/instrumentation-scope/ */
export interface Scope {
  readonly name: string;
  /** `otel.scope.version` and the scope's own attributes behind `otel.scope.`; without the name. */
  readonly attributes: Readonly<Record<string, string>>;
}

export const NO_RESOURCE: Resource = { host: "", service: "", attributes: {} };
export const NO_SCOPE: Scope = { name: "", attributes: {} };

const RESOURCE_ATTRIBUTES = (1 << 3) | BYTES;

/** host.name and service.name are what a resource is known by; service.namespace and service.instance.id stay attributes. */
export const resourceOf = (attributes: Readonly<Record<string, string>>): Resource => ({
  host: attributes["host.name"] ?? "",
  service: attributes["service.name"] ?? "",
  attributes,
});

export const readResource = (wire: Wire): Resource => {
  const outer = enter(wire);
  const attributes: Record<string, string> = {};
  while (wire.pos < wire.len) {
    const tag = wire.tag();
    if (tag === RESOURCE_ATTRIBUTES) readAttribute(wire, attributes);
    else skip(wire, tag);
  }
  leave(wire, outer);
  return resourceOf(attributes);
};

const SCOPE_NAME = (1 << 3) | BYTES;
const SCOPE_VERSION = (2 << 3) | BYTES;
const SCOPE_ATTRIBUTES = (3 << 3) | BYTES;

export const readScope = (wire: Wire): Scope => {
  const outer = enter(wire);
  const attributes: Record<string, string> = {};
  let name = "";
  while (wire.pos < wire.len) {
    const tag = wire.tag();
    if (tag === SCOPE_NAME) name = text(wire);
    else if (tag === SCOPE_VERSION) {
      const version = text(wire);
      if (version !== "") attributes["otel.scope.version"] = version;
    } else if (tag === SCOPE_ATTRIBUTES) readAttribute(wire, attributes, "otel.scope.");
    else skip(wire, tag);
  }
  leave(wire, outer);
  return { name, attributes };
};
