import { existsSync } from "node:fs";
import { type Project, defineConfig, devices } from "@playwright/test";
import { type Faces, fontconfig } from "./tests/support/fonts.ts";

// A browser of the system; without one, whatever Playwright has installed.
const chromium = [process.env["CHROMIUM"], "/usr/bin/chromium", "/usr/bin/chromium-browser"].find(
  (path) => path && existsSync(path),
);

/** Tests in a browser that has these faces, and no others of the machine's. */
const page = (faces: Faces): Project => ({
  testDir: "tests/e2e",
  use: {
    ...devices["Desktop Chrome"],
    // What moves by itself takes the processor from what a test is about. One about that asks for it.
    contextOptions: { reducedMotion: "reduce" },
    // A page that has the module compiled opens in half the time. What a page of this kind can leave behind is reset:
    // storage, clock, media, viewport.
    reuseContext: true,
    launchOptions: {
      ...(chromium && { executablePath: chromium }),
      args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking"],
      env: { ...process.env, FONTCONFIG_FILE: fontconfig(faces) },
    },
  },
});

export default defineConfig({
  globalSetup: "tests/support/fonts.ts",
  // A test that passes only at the second attempt hides a fault.
  retries: 0,
  workers: 2,
  fullyParallel: true,
  forbidOnly: process.env["CI"] !== undefined,
  // A machine that compiles something else at the same time is slow.
  timeout: 60_000,
  expect: { timeout: 10_000 },
  reporter: "list",
  projects: [
    { name: "unit", testDir: "tests/unit" },
    { name: "page", ...page("recommended") },
    // What is tagged so depends on how wide letters are.
    { name: "bare", ...page("bare"), grep: /@narrow/ },
    // The page of a program of its own: the step `watch` of `cargo xtask test` names it.
    ...(process.env["FLOWRL_CLI"] ? [{ name: "watch", ...page("recommended"), testDir: "tests/watch" }] : []),
  ],
});
