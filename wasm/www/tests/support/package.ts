import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { TestInfo } from "@playwright/test";

const repository = fileURLToPath(new URL("../../../../", import.meta.url));

/** The npm package as `cargo xtask web` puts it together. */
export const packed = join(repository, "target/npm/flowrl-lab");

/** Sources of the npm package: its README and the examples. */
export const sources = join(repository, "wasm/npm");

/** What the examples say. */
export const greeting = "FlowRL keeps 4 of 4 peaks, GRPO 1";

/** Copies an example into the folder of a test and installs the package there; gives the folder. */
export function install(example: string, info: TestInfo): string {
  const folder = info.outputPath(example);
  cpSync(join(sources, "examples", example), folder, { recursive: true });
  cpSync(unpacked(info), join(folder, "node_modules/@flowrl/lab"), { recursive: true });
  return folder;
}

/** What is in the archive that npm would publish: each of Playwright's workers packs it once. */
function unpacked({ project, workerIndex }: TestInfo): string {
  const folder = join(project.outputDir, `packed-${workerIndex}`);
  const content = join(folder, "package");
  if (existsSync(content)) return content;
  mkdirSync(folder, { recursive: true });
  const npm = process.platform === "win32" ? "npm.cmd" : "npm";
  const archive = execFileSync(npm, ["pack", "--silent", "--pack-destination", folder], { cwd: packed, encoding: "utf8" });
  execFileSync("tar", ["-xzf", archive.trim()], { cwd: folder });
  if (!existsSync(join(content, "package.json"))) throw new Error(`${archive} holds no package`);
  return content;
}
