import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const repository = fileURLToPath(new URL("../../../../", import.meta.url));

/** The npm package as `cargo xtask web` puts it together. */
export const packed = join(repository, "target/npm/flowrl-core");

/** Sources of the npm package: its README and the examples. */
export const sources = join(repository, "wasm/npm");

/** What the examples say. */
export const greeting = "FlowRL keeps 4 of 4 peaks, GRPO 1";

/** Copies an example into `folder` and installs the package there, from the archive npm would publish. */
export function install(example: string, folder: string): void {
  cpSync(join(sources, "examples", example), folder, { recursive: true });
  const installed = join(folder, "node_modules/@flowrl/core");
  mkdirSync(installed, { recursive: true });
  const npm = process.platform === "win32" ? "npm.cmd" : "npm";
  const archive = execFileSync(npm, ["pack", "--silent", "--pack-destination", folder], {
    cwd: packed,
    encoding: "utf8",
  });
  execFileSync("tar", ["-xzf", join(folder, archive.trim()), "--strip-components=1", "-C", installed]);
  if (!existsSync(join(installed, "package.json"))) throw new Error(`${archive} holds no package`);
}
