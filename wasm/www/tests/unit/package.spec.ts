import { execFileSync, spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "@playwright/test";
import { publint } from "publint";
import { formatMessage } from "publint/utils";
import { greeting, install, packed, sources } from "../support/package.ts";

test("the example for Node.js prints what became of two policies", ({}, info) => {
  const folder = install("node", info);
  expect(execFileSync("node", ["main.js"], { cwd: folder, encoding: "utf8" }).trim()).toBe(greeting);
});

test("init has nothing left to do in Node.js", ({}, info) => {
  const folder = install("node", info);
  const script =
    "import init, { laneKinds } from '@flowrl/lab'; await init(); console.log(laneKinds()[0])";
  const words = ["--input-type=module", "--eval", script];
  expect(execFileSync("node", words, { cwd: folder, encoding: "utf8" }).trim()).toBe("flowrl");
});

test("publint finds nothing", async () => {
  const { messages, pkg } = await publint({ pkgDir: packed, strict: true });
  expect(messages.map((message) => formatMessage(message, pkg))).toEqual([]);
});

test("the README shows the examples as they are", () => {
  const readme = readFileSync(join(sources, "README.md"), "utf8");
  const shown = [...readme.matchAll(/```(?:html|js)\n(.*?)```/gs)].map((block) => block[1]);
  const files = ["script/index.html", "vite/main.js", "vite/vite.config.js", "node/main.js"];
  expect(shown).toEqual(files.map((file) => readFileSync(join(sources, "examples", file), "utf8")));
});

for (const [who, settings] of [
  ["Node.js", ["--module", "nodenext"]],
  ["bundlers", ["--module", "esnext", "--moduleResolution", "bundler"]],
] as const) {
  test(`TypeScript finds the types as ${who} would`, ({}, info) => {
    const folder = install("node", info);
    const use =
      'import init, { version } from "@flowrl/lab";\nawait init();\nexport const text: string = version();\n';
    writeFileSync(join(folder, "use.ts"), use);
    const tsc = fileURLToPath(new URL("../../node_modules/typescript/bin/tsc", import.meta.url));
    const words = [
      tsc,
      "--ignoreConfig",
      "--noEmit",
      "--strict",
      // The types of the language itself are TypeScript's own affair, and most of the time.
      "--skipDefaultLibCheck",
      "--target",
      "esnext",
      ...settings,
      "use.ts",
    ];
    const run = spawnSync("node", words, { cwd: folder, encoding: "utf8" });
    expect(run.stdout + run.stderr).toBe("");
    expect(run.status).toBe(0);
  });
}
