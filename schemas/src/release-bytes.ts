/** Smaller ones are cheap to collect, and often share memory with others. */
const BYTES_MIN = 65_536;

/**
 * Gives memory back at once; whoever still holds a view on it reads nothing any more. The garbage collector knows little of memory outside of its
 * heap: where each request or batch brings some hundred kilobytes, it takes a quarter of the time (measured on remote write).
 */
export const releaseBytes = (bytes: Uint8Array): void => {
  const { buffer } = bytes;
  const isItsOwn = buffer instanceof ArrayBuffer && buffer.byteLength === bytes.length;
  if (bytes.length >= BYTES_MIN && isItsOwn) buffer.transfer(0);
};
