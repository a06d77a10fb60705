import { BlockList, isIPv4 } from "node:net";
import type { SyslogConfig } from "./syslog-config.ts";

/** The name of the first network that an address is in, or null. */
export type SenderOf = (address: string) => string | null;

export const networksOf = (networks: SyslogConfig["networks"]): SenderOf => {
  const lists = networks.map(({ name, cidr }) => {
    const [address = "", prefix = "0"] = cidr.split("/");
    const list = new BlockList();
    list.addSubnet(address, Number(prefix), isIPv4(address) ? "ipv4" : "ipv6");
    return { name, list };
  });
  return (address) => {
    const family = isIPv4(address) ? "ipv4" : "ipv6";
    return lists.find(({ list }) => list.check(address, family))?.name ?? null;
  };
};
