import { z } from "zod";

/**
 * What a person or a program may do. Whoever has any of them may read the fleet; beyond that none of them implies another.
 * operator: starts and cancels jobs. approver: decides on what waits for a second person. shell: opens sessions on hosts.
 * admin: identities, plugins, audit, configuration.
 */
export const Role = z.enum(["viewer", "operator", "approver", "admin", "shell"]);
export type Role = z.infer<typeof Role>;

/** Who asks. The name goes into grants and into the audit log. */
export interface Principal {
  readonly name: string;
  readonly roles: readonly Role[];
}

/** Somebody who is known by a token. */
export interface ApiUser extends Principal {
  readonly token: string;
}

/** Holds the token of the data directory: whoever can read that file is the machine's administrator. */
export const LOCAL_ADMIN: Principal = { name: "local-admin", roles: Role.options };

/** Who decides: a user, by the name of the token; with the data directory's token, which has no name of its own, whoever is told. */
export const deciderOf = (principal: Principal, told: string): string =>
  principal.name === LOCAL_ADMIN.name ? told : principal.name;
