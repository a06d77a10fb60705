import { isIP } from "node:net";
import { connect as connectTls, createSecureContext, type SecureContext, type TLSSocket } from "node:tls";
import { checkPeer, clientTls, type Expected, type Peer, type TlsIdentity } from "./tls-identity.ts";
import { lean } from "./tls-lean.ts";

export interface DialOptions {
  /** `host:port` */
  readonly server: string;
  /** null: to enrol. Nothing is shown and nobody is believed. */
  readonly identity: TlsIdentity | null;
  readonly expected: Expected;
  readonly now: () => number;
  /** For virtual agents, which need more ports than one source address has. */
  readonly localAddress?: string | undefined;
  /** Ends the attempt. */
  readonly signal?: AbortSignal;
  /** Of an earlier connection with any server that shares its keys. Left alone when another certificate was shown then. */
  readonly session?: Resumable | undefined;
  readonly onSession?: (session: Resumable) => void;
}

/**
 * A ticket (RFC 8446, 4.6.1), and who was believed when it came: only servers that share its keys can resume it, and in a resumed session
 * neither end shows a certificate again. It speaks for the client's certificate of then, and would be refused once that has expired, though
 * it was renewed long before.
 */
export interface Resumable {
  readonly ticket: Buffer;
  readonly peer: Peer;
  /** What the client showed. PEM. */
  readonly shown: string;
}

export interface Dialled {
  readonly socket: TLSSocket;
  /** null when nobody was believed. */
  readonly peer: Peer | null;
}

/** A machine that is gone answers nothing at all: try the next one soon. */
const CONNECT_TIMEOUT_MS = 3_000;
/** A server with thousands of agents before us answers late, and trying again would only add to it. */
const SECURE_TIMEOUT_MS = 12_000;
/** Finds connections that died below us even where nothing is sent; the kernel does it alone. */
const KEEP_ALIVE_MS = 30_000;

/** To read an identity's key and certificate costs as much as the rest of a handshake: once, and not at each attempt. */
const contexts = new WeakMap<object, SecureContext>();
const NOBODY = {};
const contextOf = (identity: TlsIdentity | null): SecureContext => {
  const context =
    contexts.get(identity ?? NOBODY) ?? createSecureContext({ ...clientTls(identity), ...lean(identity) });
  contexts.set(identity ?? NOBODY, context);
  return context;
};

/** Resolves once both ends have shown who they are. */
export const dialTls = (options: DialOptions): Promise<Dialled> => {
  const { server, identity, expected, now, onSession, signal, localAddress } = options;
  const shown = identity?.certificatePem ?? "";
  const session = options.session?.shown === shown ? options.session : undefined;
  const at = server.lastIndexOf(":");
  const host = server.slice(0, at).replace(/^\[|\]$/g, "");
  return new Promise((resolve, reject) => {
    const socket = connectTls({
      ...clientTls(identity),
      secureContext: contextOf(identity),
      host,
      port: Number(server.slice(at + 1)),
      ...(localAddress === undefined ? {} : { localAddress }),
      ...(isIP(host) === 0 ? { servername: host } : {}),
      ...(session === undefined ? {} : { session: session.ticket }),
    });
    const fail = (error: Error) => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", aborted);
      socket.destroy();
      reject(error);
    };
    const late = () => fail(new Error(`${server} does not answer`));
    const aborted = () => fail(new Error("given up"));
    let timer = setTimeout(late, CONNECT_TIMEOUT_MS);
    signal?.addEventListener("abort", aborted, { once: true });
    socket.setNoDelay(true);
    socket.setKeepAlive(true, KEEP_ALIVE_MS);
    socket.on("error", fail);
    const ended = () => fail(new Error(`${server} closed the connection`));
    socket.on("close", ended);
    socket.once("connect", () => {
      clearTimeout(timer);
      timer = setTimeout(late, SECURE_TIMEOUT_MS);
    });
    socket.once("secureConnect", () => {
      clearTimeout(timer);
      const known = socket.isSessionReused() ? session?.peer : undefined;
      const peer = identity === null ? null : (known ?? checkPeer(socket, expected, { identity, nowUnixMs: now() }));
      if (peer === "none") return fail(new Error(`${server} shows no certificate`));
      if (peer !== null && "refused" in peer)
        return fail(new Error(`${server} is not to be believed: ${peer.refused}`));
      signal?.removeEventListener("abort", aborted);
      if (onSession !== undefined && peer !== null)
        socket.on("session", (ticket) => onSession({ ticket, peer, shown }));
      socket.off("error", fail);
      socket.off("close", ended);
      resolve({ socket, peer });
    });
  });
};
