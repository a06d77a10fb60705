import { createHash, createPublicKey, hash, type KeyObject, sign, verify } from "node:crypto";
import { canonicalJson } from "./canonical-json.ts";
import {
  type AgentOrder,
  type Cancel,
  Command,
  type CommandArgs,
  type Dispatch,
  type Grant,
  SignedCancel,
  type SignedGrant,
} from "./command.ts";
import { HostTree, isAmong } from "./host-tree.ts";
import { isCommand } from "./is-command.ts";

/** A key's name is asked for with every command. */
const keyIds = new WeakMap<KeyObject, string>();

/** Names a key: the first 16 hex digits of SHA-256 over its SPKI form. */
export const keyId = (key: KeyObject): string => {
  const known = keyIds.get(key);
  if (known !== undefined) return known;
  const id = keyIdOf(key);
  keyIds.set(key, id);
  return id;
};

const keyIdOf = (key: KeyObject): string => {
  const spki = (key.type === "private" ? createPublicKey(key) : key).export({ type: "spki", format: "der" });
  return createHash("sha256").update(spki).digest("hex").slice(0, 16);
};

export const argsSha256 = (args: CommandArgs): string => hash("sha256", canonicalJson(args));

export const signGrant = (grant: Grant, privateKey: KeyObject): SignedGrant => ({
  grant,
  key_id: keyId(privateKey),
  signature: sign(null, Buffer.from(canonicalJson(grant)), privateKey).toString("base64"),
});

/** A grant without what follows from the arguments and the hosts. */
export type GrantTerms = Omit<Grant, "args_sha256" | "targets"> & {
  readonly targets: Pick<Grant["targets"], "sites">;
};

/** Of dispatches that were made here, whose hosts nobody changes any more. */
const trees = new WeakMap<Dispatch, HostTree>();

/** Deterministic: the same terms give the same bytes (RFC 8032). */
export const dispatchOf = (
  terms: GrantTerms,
  { args, hosts, privateKey }: { args: CommandArgs; hosts: readonly string[]; privateKey: KeyObject },
): Dispatch => {
  const tree = new HostTree(hosts);
  const targets = { root: tree.root, count: hosts.length, sites: terms.targets.sites };
  const grant: Grant = { ...terms, args_sha256: argsSha256(args), targets };
  const dispatch = { signed: signGrant(grant, privateKey), args, hosts: [...hosts] };
  Object.freeze(dispatch.hosts);
  trees.set(Object.freeze(dispatch), tree);
  return dispatch;
};

/** What each host of a dispatch is sent. The tree is made once, with the grant where the dispatch was made here. */
export const commandsOf = (dispatch: Dispatch): ((index: number) => Command) => {
  const tree = trees.get(dispatch) ?? new HostTree(dispatch.hosts);
  return (index) => {
    const host = dispatch.hosts[index];
    if (host === undefined) throw new RangeError(`a dispatch to ${dispatch.hosts.length} hosts has no host ${index}`);
    const { path } = tree.proof(index);
    return { signed: dispatch.signed, args: dispatch.args, host, proof: { index, path: [...path] } };
  };
};

export interface VerifiedCommand {
  /** What was checked, without anything that came beside it. */
  readonly command: Command;
  readonly grant: Grant;
  readonly args: CommandArgs;
  /** Of grant and arguments as canonical JSON. */
  readonly bytes: number;
}

/** What has no canonical form (a lone surrogate), or is nested deeper than the stack, is malformed like anything else. */
const failingClosed = <T>(verify: () => T | { readonly refused: string }): T | { readonly refused: string } => {
  try {
    return verify();
  } catch (error) {
    if (error instanceof TypeError || error instanceof RangeError)
      return { refused: `malformed: ${error.message}`.slice(0, 200) };
    throw error;
  }
};

/**
 * The grant, when one of the trusted keys signed exactly it, for exactly these arguments, and for this host among others; or the reason
 * for refusing it. Fails closed. Expiry, policy and repetition are the caller's to check.
 */
export const verifyCommand = (
  value: unknown,
  options: { host: string; trustedKeys: readonly KeyObject[] },
): VerifiedCommand | { readonly refused: string } => failingClosed(() => checkCommand(value, options));

const checkCommand = (
  value: unknown,
  { host, trustedKeys }: { host: string; trustedKeys: readonly KeyObject[] },
): VerifiedCommand | { readonly refused: string } => {
  const command = isCommand(value) ? value : Command.safeParse(value).data;
  if (command === undefined) return { refused: "malformed command" };
  const { signed, args, proof } = command;
  const { grant, key_id, signature } = signed;
  const key = trustedKeys.find((trusted) => keyId(trusted) === key_id);
  if (key === undefined) return { refused: `signed by an unknown key ${key_id}` };
  const grantBytes = Buffer.from(canonicalJson(grant));
  if (!verify(null, grantBytes, key, Buffer.from(signature, "base64")))
    return { refused: "the signature does not match the grant" };
  const argsBytes = Buffer.from(canonicalJson(args));
  if (hash("sha256", argsBytes) !== grant.args_sha256)
    return { refused: "the arguments are not those that were granted" };
  if (command.host !== host || !isAmong(host, proof, grant.targets)) return { refused: `the grant is not for ${host}` };
  return { command, grant, args, bytes: grantBytes.length + argsBytes.length };
};

/** Why what stands on `agent.commands` was not asked for by one of these keys, as it stands there; null when it was. Fails closed. */
export const orderDistrust = (order: AgentOrder, trustedKeys: readonly KeyObject[]): string | null => {
  const whole = failingClosed(() =>
    "cancel" in order ? checkSigned(order, order.cancel, trustedKeys) : checkDispatch(order, trustedKeys),
  );
  return "refused" in whole ? whole.refused : null;
};

const checkDispatch = (
  { signed, args, hosts }: Dispatch,
  trustedKeys: readonly KeyObject[],
): object | { readonly refused: string } => {
  const { args_sha256, targets } = signed.grant;
  const checked = checkSigned(signed, signed.grant, trustedKeys);
  if ("refused" in checked) return checked;
  if (argsSha256(args) !== args_sha256) return { refused: "the arguments are not those that were granted" };
  if (hosts.length !== targets.count || new HostTree(hosts).root !== targets.root)
    return { refused: "the hosts are not those that were granted" };
  return checked;
};

const checkSigned = (
  { key_id, signature }: { readonly key_id: string; readonly signature: string },
  what: Grant | Cancel,
  trustedKeys: readonly KeyObject[],
): object | { readonly refused: string } => {
  const key = trustedKeys.find((trusted) => keyId(trusted) === key_id);
  if (key === undefined) return { refused: `signed by an unknown key ${key_id}` };
  if (verify(null, Buffer.from(canonicalJson(what)), key, Buffer.from(signature, "base64"))) return {};
  return { refused: "the signature does not match" };
};

export const signCancel = (cancel: Cancel, privateKey: KeyObject): SignedCancel => ({
  cancel,
  key_id: keyId(privateKey),
  signature: sign(null, Buffer.from(canonicalJson(cancel)), privateKey).toString("base64"),
});

/** As `verifyCommand`. */
export const verifyCancel = (
  value: unknown,
  options: { host: string; trustedKeys: readonly KeyObject[] },
): { readonly cancel: Cancel } | { readonly refused: string } => failingClosed(() => checkCancel(value, options));

const checkCancel = (
  value: unknown,
  { host, trustedKeys }: { host: string; trustedKeys: readonly KeyObject[] },
): { readonly cancel: Cancel } | { readonly refused: string } => {
  const parsed = SignedCancel.safeParse(value);
  if (!parsed.success) return { refused: "malformed cancellation" };
  const { cancel, key_id, signature } = parsed.data;
  const key = trustedKeys.find((trusted) => keyId(trusted) === key_id);
  if (key === undefined) return { refused: `signed by an unknown key ${key_id}` };
  if (!verify(null, Buffer.from(canonicalJson(cancel)), key, Buffer.from(signature, "base64")))
    return { refused: "the signature does not match the cancellation" };
  if (cancel.hosts.length > 0 && !cancel.hosts.includes(host))
    return { refused: `the cancellation is not for ${host}` };
  return { cancel };
};
