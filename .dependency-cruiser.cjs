/**
 * The import table of docs/ARCHITECTURE.md as rules. Where `builtins` is given (schemas; detectors, which are pure), no other module of
 * Node itself is reached either.
 */
const TABLE = require("./test/house/import-table.json");

/** A folder's front door, and second ones that its package.json names. */
const DOORS = ["^[^/]+/src/index\\.ts$", "^ingest/src/receivers\\.ts$", "^agent/src/(control|site|simulate)\\.ts$"];

const FOLDERS = Object.keys(TABLE).join("|");
const TESTS = "\\.(test|fixture)\\.ts$";
const NPM = ["npm", "npm-dev", "npm-optional", "npm-peer", "npm-no-pkg", "npm-unknown"];
const packagePath = (name) => `node_modules/${name.replaceAll(".", "\\.")}/`;

const forFolder = ([folder, { folders, packages, builtins }]) => [
  {
    name: `${folder}-imports-folders`,
    comment: `${folder} may import ${folders.join(", ") || "no other folder"}`,
    severity: "error",
    from: { path: `^${folder}/` },
    to: { path: `^(${FOLDERS})/`, pathNot: [folder, ...folders].map((name) => `^${name}/`) },
  },
  {
    name: `${folder}-imports-packages`,
    comment: `${folder} may import ${["zod", ...packages].join(", ")}`,
    severity: "error",
    from: { path: `^${folder}/`, pathNot: TESTS },
    to: { dependencyTypes: NPM, pathNot: ["zod", ...packages].map(packagePath) },
  },
  ...(builtins === undefined
    ? []
    : [
        {
          name: `${folder}-imports-builtins`,
          comment: `${folder} may import of Node itself ${builtins.join(", ")}`,
          severity: "error",
          from: { path: `^${folder}/`, pathNot: TESTS },
          to: { dependencyTypes: ["core"], pathNot: `^(node:)?(${builtins.join("|")})$` },
        },
      ]),
];

module.exports = {
  forbidden: [
    ...Object.entries(TABLE).flatMap(forFolder),
    {
      name: "front-doors",
      comment: "another folder is entered by its src/index.ts, or by a second door that its package.json names",
      severity: "error",
      from: { path: "^([^/]+)/", pathNot: ["^test/(contract|kafka)/", "^bench/fuzz/"] },
      to: { path: `^(${FOLDERS})/`, pathNot: ["^$1/", ...DOORS] },
    },
    {
      name: "front-doors-of-fuzzing",
      comment: "what is tried with damaged bytes has a door of its own, for that alone",
      severity: "error",
      from: { path: "^bench/fuzz/" },
      to: { path: `^(${FOLDERS})/`, pathNot: [...DOORS, "^agent/src/testing\\.ts$"] },
    },
    {
      name: "front-doors-of-contracts",
      comment:
        "contract tests run on both makes of a seam, and on both ends of the channel: they alone may reach what makes them",
      severity: "error",
      from: { path: "^test/(contract|kafka)/" },
      to: {
        path: `^(${FOLDERS})/`,
        pathNot: [
          ...DOORS,
          "^app/src/(embedded|kafka|bus)/",
          "^agent/src/.*\\.fixture\\.ts$",
          "^agent/src/(channel|control/identity|host)/",
        ],
      },
    },
    {
      name: "sources-without-tests",
      comment: "what ships does not import what tests",
      severity: "error",
      from: { path: `^(${FOLDERS})/`, pathNot: TESTS },
      to: { path: ["^(test|bench|docs|examples)/", TESTS] },
    },
    {
      name: "no-circles",
      comment: "two files that import each other are one file",
      severity: "error",
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ["type-only"] } },
    },
    {
      name: "resolvable",
      comment: "an import leads somewhere",
      severity: "error",
      from: {},
      to: { couldNotResolve: true },
    },
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    exclude: { path: "^(grafana-plugin|node_modules/@homeostat)/" },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: "tsconfig.json" },
    enhancedResolveOptions: {
      exportsFields: ["exports"],
      conditionNames: ["node", "import", "types", "default"],
      extensions: [".ts", ".mjs", ".js", ".cjs", ".json", ".d.ts"],
    },
    cache: false,
  },
};
