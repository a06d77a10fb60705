import { fork } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { engineLibraryPath } from "../../app/src/embedded/store/engine-library.ts";
import { freePort } from "../fixtures/free-port.ts";

/** An engine that is a cluster of two shards by itself: it finds both at loopback addresses of its own, the second as if it were another. */
export interface ClusterEngine {
  readonly url: string;
  stop(): Promise<void>;
}

const READY_MS_MAX = 120_000;

const shard = (host: string, port: number): string =>
  `<shard><replica><host>${host}</host><port>${port}</port></replica></shard>`;

const configuration = (cluster: string, usersPath: string, port: number): string => `<clickhouse>
  <users_config>${usersPath}</users_config>
  <tcp_port>${port}</tcp_port>
  <logger><level>error</level><console>1</console></logger>
  <remote_servers><${cluster}>${shard("127.0.0.1", port)}${shard("127.0.0.2", port)}</${cluster}></remote_servers>
</clickhouse>`;

const USERS = `<clickhouse><profiles><default/></profiles><quotas><default/></quotas>
  <users><default><no_password/><networks><ip>127.0.0.0/8</ip></networks></default></users></clickhouse>`;

export const startClusterEngine = async (cluster: string): Promise<ClusterEngine> => {
  const dir = await mkdtemp(join(tmpdir(), "homeostat-cluster-"));
  const data = join(dir, "data");
  await mkdir(data);
  const port = await freePort();
  await writeFile(join(dir, "users.xml"), USERS);
  await writeFile(join(dir, "config.xml"), configuration(cluster, join(dir, "users.xml"), port));
  const portPath = join(dir, "http-port");
  const child = fork(new URL("../../app/src/embedded/store/child.ts", import.meta.url), [String(process.pid)], {
    stdio: ["ignore", "ignore", "ignore", "ipc"],
    execArgv: ["--disable-warning=ExperimentalWarning"],
  });
  const ended = once(child, "exit");
  child.send({
    libraryPath: engineLibraryPath(),
    dirs: [dir],
    engineArguments: [
      "clickhouse",
      `--path=${data}`,
      `--config-file=${join(dir, "config.xml")}`,
      "--listen_host=0.0.0.0",
      "--http_port=0",
      `--tcp_port=${port}`,
      "--interactive",
      "--disable_suggestion",
      "--history_file=/dev/null",
      `--query=SYSTEM START LISTEN HTTP; SYSTEM START LISTEN TCP; SELECT getServerPort('http_port') INTO OUTFILE '${portPath}' FORMAT TSV`,
    ],
  });
  const stop = async (): Promise<void> => {
    child.kill("SIGKILL");
    await ended;
    await rm(dir, { recursive: true, force: true });
  };
  for (const end = performance.now() + READY_MS_MAX; performance.now() < end; await delay(20)) {
    const text = await readFile(portPath, "utf8").catch(() => "");
    if (/^\d+\n$/.test(text)) return { url: `http://127.0.0.1:${Number(text)}`, stop };
  }
  await stop();
  throw new Error(`the engine of the cluster did not start within ${READY_MS_MAX} ms`);
};
