/** An IPv4 address as an IPv6 socket tells it (`::ffff:10.0.0.1`, RFC 4291, section 2.5.5.2) is one all the same. */
export const plainAddress = (address: string | undefined): string => (address ?? "").replace(/^::ffff:(?=\d+\.)/i, "");
