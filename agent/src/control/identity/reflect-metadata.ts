/**
 * The three functions of the metadata proposal that @peculiar/x509 (by way of tsyringe) asks of `Reflect` before it loads. It decorates a
 * handful of classes of its own; nothing else here uses metadata.
 */
const metadata = new WeakMap<object, Map<unknown, unknown>>();

const getOwnMetadata = (key: unknown, target: object): unknown => metadata.get(target)?.get(key);

const getMetadata = (key: unknown, target: object): unknown => {
  for (let at: object | null = target; at !== null; at = Reflect.getPrototypeOf(at)) {
    if (metadata.get(at)?.has(key) === true) return getOwnMetadata(key, at);
  }
  return undefined;
};

const defineMetadata = (key: unknown, value: unknown, target: object): void => {
  const known = metadata.get(target) ?? new Map<unknown, unknown>();
  metadata.set(target, known.set(key, value));
};

/** Leaves alone what is there already. */
export const provideReflectMetadata = (): void => {
  if ("getMetadata" in Reflect) return;
  Object.assign(Reflect, { getOwnMetadata, getMetadata, defineMetadata });
};
