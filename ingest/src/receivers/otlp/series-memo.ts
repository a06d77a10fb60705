import type { Resource, SeriesRef } from "../../gateway/intake.ts";
import type { Scope } from "./resource-and-scope.ts";

/** The series of one set of point attributes within a metric. The refs are asked for when the first point is appended. */
export interface PointSeries {
  readonly labels: Readonly<Record<string, string>>;
  /** By the name's ending and, for a summary, the quantile: `""`, `_count`, `_sum`, `0.99`. */
  readonly refs: Map<string, SeriesRef>;
}

/** What has been read of one resource, and of one scope within it, by the bytes that said it. */
export interface ResourceNode {
  readonly resource: Resource;
  readonly scopes: Map<string, ScopeNode>;
}
export interface ScopeNode {
  /** Of the resource and the scope; a point's own attributes go over them. */
  readonly labels: Readonly<Record<string, string>>;
  readonly metrics: Map<string, MetricNode>;
}
export interface MetricNode {
  readonly series: Map<string, PointSeries>;
}

/** Of keys, labels and the maps around them; at this it forgets everything and starts anew, which costs one decoding per series. */
const MEMO_BYTES_MAX = 48 * 1_048_576;
/** A map's entry, the node behind it and its objects. */
const ENTRY_BYTES = 300;

/**
 * Who a point belongs to, by the very bytes of its resource, scope, metric and attributes: a sender says the same bytes each time, so
 * that attributes are decoded and a fingerprint is made once per series, not once per point.
 */
export class SeriesMemo {
  #resources = new Map<string, ResourceNode>();
  #bytes = 0;

  resource(key: string, read: () => Resource): ResourceNode {
    return this.#at(this.#resources, key, () => {
      const resource = read();
      this.#note(resource.attributes);
      return { resource, scopes: new Map() };
    });
  }

  scope(node: ResourceNode, key: string, read: () => Scope): ScopeNode {
    return this.#at(node.scopes, key, () => {
      const { name, attributes } = read();
      const scopeName: Record<string, string> = name === "" ? {} : { "otel.scope.name": name };
      return { labels: { ...node.resource.attributes, ...scopeName, ...attributes }, metrics: new Map() };
    });
  }

  metric(node: ScopeNode, key: string): MetricNode {
    return this.#at(node.metrics, key, () => ({ series: new Map() }));
  }

  series(node: MetricNode, key: string, read: () => Readonly<Record<string, string>>): PointSeries {
    return this.#at(node.series, key, () => {
      const labels = read();
      this.#note(labels);
      return { labels, refs: new Map() };
    });
  }

  /** Called between requests: what a request holds stays valid. */
  trim(): void {
    if (this.#bytes <= MEMO_BYTES_MAX) return;
    this.#resources = new Map();
    this.#bytes = 0;
  }

  #at<V>(map: Map<string, V>, key: string, make: () => V): V {
    const known = map.get(key);
    if (known !== undefined) return known;
    const made = make();
    this.#bytes += key.length + ENTRY_BYTES;
    map.set(key, made);
    return made;
  }

  #note(texts: Readonly<Record<string, string>>): void {
    for (const key of Object.keys(texts)) this.#bytes += key.length + (texts[key]?.length ?? 0) + 32;
  }
}
