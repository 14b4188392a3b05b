import { readFileSync } from "node:fs";
import { expect, test } from "@playwright/test";
import { wasm } from "../support/module.ts";

test("the module has the version of the workspace", () => {
  const manifest = readFileSync(new URL("../../../../Cargo.toml", import.meta.url), "utf8");
  const [, version] = /^\[workspace\.package\]\n(?:[^[].*\n)*?version = "(.*)"$/m.exec(manifest) ?? [];
  expect(wasm.version()).toBe(version);
});
