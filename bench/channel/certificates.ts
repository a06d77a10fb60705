import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** PEM files, and what they hold. */
export interface KeyAndCertificate {
  readonly keyPath: string;
  readonly certificatePath: string;
  readonly key: string;
  readonly certificate: string;
}

export interface Certificates {
  readonly authorityPath: string;
  readonly authority: string;
  readonly server: KeyAndCertificate;
  readonly client: KeyAndCertificate;
}

const DAYS = "2";

const openssl = (dir: string, args: readonly string[]): void => {
  execFileSync("openssl", args, { cwd: dir, stdio: ["ignore", "ignore", "pipe"] });
};

const newKey = (dir: string, name: string): void =>
  openssl(dir, ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", `${name}.key`]);

const issue = (dir: string, name: string, usage: string): KeyAndCertificate => {
  newKey(dir, name);
  openssl(dir, ["req", "-new", "-key", `${name}.key`, "-subj", `/CN=${name}`, "-out", `${name}.csr`]);
  writeFileSync(
    join(dir, `${name}.ext`),
    `subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=${usage}\nkeyUsage=digitalSignature\n`,
  );
  const from = ["-in", `${name}.csr`, "-CA", "authority.pem", "-CAkey", "authority.key", "-CAcreateserial"];
  openssl(dir, ["x509", "-req", ...from, "-days", DAYS, "-extfile", `${name}.ext`, "-out", `${name}.pem`]);
  const [keyPath, certificatePath] = [join(dir, `${name}.key`), join(dir, `${name}.pem`)];
  return {
    keyPath,
    certificatePath,
    key: readFileSync(keyPath, "utf8"),
    certificate: readFileSync(certificatePath, "utf8"),
  };
};

/** An authority and two leaves on P-256, as both sides of every comparison have them. */
export const makeCertificates = (dir: string): Certificates => {
  newKey(dir, "authority");
  const subject = ["-subj", "/CN=authority", "-addext", "keyUsage=critical,keyCertSign,cRLSign"];
  openssl(dir, ["req", "-x509", "-new", "-key", "authority.key", ...subject, "-days", DAYS, "-out", "authority.pem"]);
  const authorityPath = join(dir, "authority.pem");
  return {
    authorityPath,
    authority: readFileSync(authorityPath, "utf8"),
    server: issue(dir, "server", "serverAuth"),
    client: issue(dir, "client", "clientAuth"),
  };
};
